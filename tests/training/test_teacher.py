from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.errors import ConfigError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.training.export import export, load_run
from fulldeck.training.module import CardModule, distillation_loss
from fulldeck.training.teacher import load_teacher
from fulldeck.training.train import train

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]

LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    return Path(export(trained.folder, tmp_path_factory.mktemp("models") / "teacher.onnx").model)


def student(**options):
    torch.manual_seed(0)
    module = CardModule("test_efficientnet", LABELS, **({"pretrained": False, "drop_path_rate": 0.0} | options))
    module.log_dict = lambda *_, **__: None
    return module


def test_the_loss_is_hintons():
    ours, theirs = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    soft, wanted = torch.softmax(ours / 4, 1), torch.softmax(theirs / 4, 1)
    expected = 16 * (wanted * (wanted.log() - soft.log())).sum()
    assert distillation_loss(ours, theirs, 4.0).item() == pytest.approx(expected.item())
    assert distillation_loss(ours, ours + 3, 4.0).item() == pytest.approx(0, abs=1e-6)


def test_labels_and_teacher_share_the_loss():
    module = student(label_smoothing=0.0, distil_weight=0.25, distil_temperature=3.0).eval()
    images, targets = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 2])
    answers = torch.randn(3, 3)
    module.learn_from(lambda _: answers)
    logits = module(images)
    wanted = 0.75 * F.cross_entropy(logits, targets) + 0.25 * distillation_loss(logits, answers, 3.0)
    assert module.training_step((images, targets), 0).item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.slow
def test_a_model_file_teaches_at_its_own_size(model, colours):
    pixels = np.stack([np.array(Image.open(file)) for file in sorted(colours.rglob("*.png"))[::4]])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    teacher = load_teacher(model, LABELS, [images])
    classifier = Classifier(model, threads=1)
    answers = torch.softmax(teacher(images) / classifier.info.temperature, 1).numpy()
    assert np.abs(answers - classifier.run(pixels)[0]).max() < 1e-3
    small = teacher(F.interpolate(images, size=(16, 16)))
    assert (small.argmax(1).numpy() == answers.argmax(1)).mean() > 0.8
    assert not small.requires_grad


@pytest.mark.slow
def test_a_student_of_smaller_images_learns_from_its_teacher(model, tiny, tmp_path):
    alone = ["trainer.max_epochs=12", "model.distil_weight=1.0", "data.size=16", "model.label_smoothing=0"]
    run = train(tiny(tmp_path / "runs", *alone, f"teacher={model}"))
    assert run.metrics["val/accuracy"] > 0.8  # though no label had a say
    _, module = load_run(run.folder)
    assert not [name for name in module.state_dict() if "teacher" in name]
    assert module.network.conv_stem.weight.shape == student().network.conv_stem.weight.shape


@pytest.mark.slow
def test_teachers_that_cannot_teach_are_refused(model, tiny, tmp_path):
    with pytest.raises(ConfigError, match="other labels"):
        load_teacher(model, ("cat", "dog"), [torch.rand(2, 3, 32, 32)])
    with pytest.raises(ModelError, match="no such model file"):
        train(tiny(tmp_path / "runs", f"teacher={tmp_path / 'absent.onnx'}"))
    assert not list(tmp_path.glob("runs/*"))
