import lightning as L  # noqa: N812 - Lightning's own custom
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - the field's own name
from torch.utils.data import DataLoader, TensorDataset

from fulldeck.errors import ConfigError
from fulldeck.training.calibrate import fit_temperature
from fulldeck.training.module import CardModule

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*LeafSpec"),
]

LABELS = ("blue", "green", "red")


def make(**options):
    torch.manual_seed(0)
    return CardModule("test_efficientnet", LABELS, **({"pretrained": False, "drop_path_rate": 0.0} | options))


def batches(n=6, batch_size=3):
    generator = torch.Generator().manual_seed(0)
    images, targets = torch.rand(n, 3, 32, 32, generator=generator), torch.arange(n) % 3
    return DataLoader(TensorDataset(images, targets), batch_size)


def fit(module, loader, epochs=1, **options):
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, loader, loader)
    return trainer


def test_logits_and_embedding():
    module = make().eval()
    images = torch.rand(2, 3, 32, 32)
    logits, embedding = module.embed(images)
    assert logits.shape == (2, 3)
    assert embedding.shape == (2, module.network.get_classifier().in_features)
    assert torch.equal(module(images), logits)
    assert torch.allclose(module.network.get_classifier()(embedding), logits)


def test_it_normalises_what_it_is_given():
    module = make().eval()
    config = module.network.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(module(images), module.network((images - mean) / std), atol=1e-5)


def test_the_normalisation_is_no_part_of_the_checkpoint():
    assert not {"mean", "std"} & make().state_dict().keys()


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_last_is_a_matter_of_memory_alone(channels_last):
    kernel = make(channels_last=channels_last).network.conv_stem.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last) == channels_last
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        one, other = (make(channels_last=last).eval()(images) for last in (True, False))
    assert torch.allclose(one, other, atol=1e-5)


def test_matrices_are_decayed_and_the_rest_is_not():
    module = make(weight_decay=0.3, lr=0.5)
    fit(module, batches())
    [optimiser] = module.trainer.optimizers
    decayed, plain = optimiser.param_groups
    assert decayed["weight_decay"] == 0.3
    assert plain["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(module.parameters()))


class Rates(L.Callback):
    def __init__(self):
        self.found = []

    def on_train_batch_start(self, trainer, *_):
        self.found.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_the_rate_warms_up_to_its_peak_and_falls_to_nearly_nothing():
    rates = Rates()
    fit(make(lr=0.01, warmup=0.25), batches(), epochs=10, callbacks=[rates])
    peak = rates.found.index(max(rates.found))
    assert len(rates.found) == 20
    assert rates.found[0] == pytest.approx(0.01 / 20)
    assert max(rates.found) == pytest.approx(0.01)
    assert peak == 4
    assert rates.found[: peak + 1] == sorted(rates.found[: peak + 1])
    assert rates.found[peak:] == sorted(rates.found[peak:], reverse=True)
    assert rates.found[-1] < 0.01 / 100


def test_the_figures_are_those_of_the_whole_set():
    loader = batches(n=8, batch_size=3)  # batches of 3, 3 and 2
    module = make(label_smoothing=0.1)
    trainer = fit(module, loader)
    images, targets = loader.dataset.tensors
    with torch.no_grad():
        logits = module.eval()(images)
    logged = trainer.logged_metrics | trainer.callback_metrics
    temperature = fit_temperature(logits, targets)
    assert logged["val/loss"] == pytest.approx(F.cross_entropy(logits / temperature, targets).item(), rel=1e-4)
    assert logged["val/loss"] < F.cross_entropy(logits, targets).item()
    assert logged["val/accuracy"] == pytest.approx((logits.argmax(1) == targets).float().mean().item())
    assert 0 <= logged["val/f1"] <= 1
    assert {"train/loss", "train/accuracy"} <= logged.keys()


def test_labels_are_smoothed_in_training_only():
    images, targets = batches(n=3).dataset.tensors
    module = make(label_smoothing=0.5, drop_rate=0.0, lr=0.0)
    trainer = fit(module, DataLoader(TensorDataset(images, targets), 3))
    with torch.no_grad():
        logits = module.train()(images)
    wanted = F.cross_entropy(logits, targets, label_smoothing=0.5).item()
    assert trainer.callback_metrics["train/loss"] == pytest.approx(wanted, rel=1e-4)
    assert wanted != pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-3)


def test_it_learns():
    module = make(lr=0.01, drop_rate=0.0)
    loader = batches(n=6, batch_size=6)
    images, _ = loader.dataset.tensors
    images[:] = torch.eye(3).repeat(2, 1).view(6, 3, 1, 1)  # red, green and blue
    trainer = fit(module, loader, epochs=30)
    assert trainer.callback_metrics["train/accuracy"] == 1
    assert trainer.callback_metrics["train/loss"] < 0.5


def test_what_is_frozen_stays_and_the_rest_learns():
    module = make(freeze=1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fit(module, batches())
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    frozen = ("network.conv_stem.", "network.bn1.", "network.blocks.0.")
    assert moved
    assert not [name for name in moved if name.startswith(frozen)]
    assert {"network.blocks.1.0.conv_exp.weight", "network.classifier.weight"} <= moved


@pytest.mark.parametrize(("backbone", "stages"), [("test_efficientnet", 99), ("test_vit", 1)])
def test_no_more_is_frozen_than_there_is(backbone, stages):
    with pytest.raises(ConfigError, match=f"model.freeze={stages}: {backbone} can keep"):
        CardModule(backbone, LABELS, pretrained=False, freeze=stages)


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ConfigError, match="no network named"):
        CardModule("resnetto", LABELS)


def test_what_has_no_label_asks_for_no_answer():
    """On an outlier the loss is the surprise of the uniform distribution: least where all answers are as likely."""
    module = make(label_smoothing=0.0, outlier_weight=0.5).eval()
    module.log_dict = lambda *_, **__: None
    images, targets = torch.rand(4, 3, 32, 32), torch.tensor([0, -1, 2, -1])
    logits = module(images)
    known = F.cross_entropy(logits[[0, 2]], targets[[0, 2]], reduction="sum")
    uniform = -F.log_softmax(logits[[1, 3]], 1).mean(1).sum()
    loss = module.training_step((images, targets), 0)
    assert loss.item() == pytest.approx(((known + 0.5 * uniform) / 4).item(), rel=1e-5)


def test_a_batch_of_outliers_alone_is_no_trouble():
    module = make()
    module.log_dict = lambda *_, **__: None
    loss = module.training_step((torch.rand(3, 3, 32, 32), torch.full((3,), -1)), 0)
    assert torch.isfinite(loss)
    loss.backward()
