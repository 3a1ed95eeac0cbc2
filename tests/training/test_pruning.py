from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from fulldeck.errors import ConfigError
from fulldeck.inference.classifier import Classifier
from fulldeck.training.export import export, load_run
from fulldeck.training.module import CardModule
from fulldeck.training.train import train

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]

LABELS = ("blue", "green", "red")


def make(backbone="test_efficientnet", seed=0, **options):
    torch.manual_seed(seed)
    return CardModule(backbone, LABELS, **({"pretrained": False} | options))


def size(module):
    return sum(parameter.numel() for parameter in module.network.parameters())


def shapes(module):
    return [tuple(parameter.shape) for parameter in module.network.parameters()]


@pytest.mark.parametrize("backbone", ["test_efficientnet", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_a_pruned_network_is_smaller_and_answers_and_learns(backbone):
    whole, pruned = make(backbone), make(backbone, prune=0.5)
    assert size(pruned) < 0.6 * size(whole)
    logits, embedding = pruned.embed(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 3)
    assert embedding.shape[1] == pruned.network.get_classifier().in_features
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.network.parameters())


def test_its_shapes_follow_from_the_share_alone():
    assert shapes(make(seed=0, prune=0.4)) == shapes(make(seed=1, prune=0.4))
    assert shapes(make(prune=0.0)) == shapes(make())
    convolutions = [
        (name, part) for name, part in make(prune=0.4).network.named_modules() if isinstance(part, nn.Conv2d)
    ]
    assert all(part.out_channels % 8 == 0 for name, part in convolutions if "reduce" not in name)


def test_the_weakest_channels_go():
    module = make()
    with torch.no_grad():
        stem = module.network.conv_stem.weight
        for other in module.network.modules():  # what hangs together with the stem is alike in all channels
            if isinstance(other, nn.Conv2d | nn.Linear):
                other.weight.fill_(0.01)
        strong = torch.arange(len(stem)) % 2 == 0
        stem[strong] = 1.0
    module.prune(0.5)
    assert (module.network.conv_stem.weight == 1).all()


@pytest.mark.slow
def test_a_run_is_pruned_tuned_and_exported(trained, tiny, tmp_path):
    overrides = [f"init={trained.folder}", "model.prune=0.5", "name=pruned", "trainer.max_epochs=4"]
    run = train(tiny(tmp_path / "runs", *overrides))
    whole, pruned = load_run(trained.folder)[1], load_run(run.folder)[1]
    assert size(pruned) < 0.6 * size(whole)
    report = export(run.folder)
    assert report.same_label == report.images
    info = Classifier(report.model, threads=1).info
    assert info.config["model"]["prune"] == 0.5

    # what is pruned already can be trained on, from the run or from the file, and is not pruned again
    for start in (run.folder, Path(report.model)):
        again = train(tiny(tmp_path / "runs", f"init={start}", "model.prune=0.5", "trainer.max_epochs=1"))
        assert shapes(load_run(again.folder)[1]) == shapes(pruned)
    with pytest.raises(ConfigError, match="another network"):
        train(tiny(tmp_path / "runs", f"init={run.folder}", "model.prune=0.2"))


@pytest.mark.slow
def test_pruning_begins_from_the_trained_weights(trained, tiny, tmp_path):
    """With a learning rate of nothing, what is kept of the head's rows is the trained run's."""
    overrides = [f"init={trained.folder}", "model.prune=0.5", "model.lr=0", "trainer.max_epochs=1"]
    run = train(tiny(tmp_path / "runs", *overrides, "trainer.average=0"))
    assert OmegaConf.load(run.folder / "config.yaml").model.prune == 0.5
    before = load_run(trained.folder)[1].network.conv_stem.weight.flatten(1).detach().numpy()
    after = load_run(run.folder)[1].network.conv_stem.weight.flatten(1).detach().numpy()
    assert len(after) < len(before)
    assert all(np.isclose(before, kernel).all(1).any() for kernel in after)
