import numpy as np
import onnx
import pytest
import torch

from fulldeck.data.dataset import to_float
from fulldeck.errors import ConfigError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import champion_path
from fulldeck.training.cascade_graph import last_network
from fulldeck.training.export import write_model
from fulldeck.training.from_model import start_from_model
from fulldeck.training.module import CardModule

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    """The champion's large network by itself, from which training starts."""
    file = tmp_path_factory.mktemp("large") / "large.onnx"
    write_model(last_network(onnx.load(champion_path())), Classifier(champion_path(), threads=1).info, file)
    return Classifier(file, threads=1)


@pytest.fixture(scope="module")
def pixels(champion):
    from fulldeck.data.deck import draw_card
    from fulldeck.data.render import rendered_style
    from fulldeck.inference.image import resize

    cards = [draw_card(label, rendered_style(2, 1), (224, 224)) for label in champion.info.labels[:16]]
    return np.stack([resize(card, champion.info.size) for card in cards])


def test_a_network_that_starts_from_the_champion_answers_as_it_does(champion, pixels):
    module = CardModule(champion.info.name, champion.info.labels, pretrained=False)
    images = to_float(torch.from_numpy(pixels))
    start_from_model(module, champion_path(), [images[:8], images[8:]])
    module.eval()
    with torch.no_grad():
        ours = torch.softmax(module(images) / champion.info.temperature, 1).numpy()
    theirs, _ = champion.run(pixels)
    assert np.abs(ours - theirs).max() < 1e-4


def test_its_statistics_are_those_of_the_images(champion, pixels):
    """So that in training mode, which normalises by the batch's own statistics, it answers much as before."""
    module = CardModule(champion.info.name, champion.info.labels, pretrained=False, drop_rate=0, drop_path_rate=0)
    images = to_float(torch.from_numpy(pixels))
    start_from_model(module, champion_path(), [images])
    module.train()
    with torch.no_grad():
        ours = module(images).argmax(1).numpy()
    theirs, _ = champion.run(pixels)
    assert (ours == theirs.argmax(1)).mean() > 0.9


@pytest.mark.parametrize(
    ("backbone", "labels", "says"),
    [("tf_efficientnet_lite0", ("cat", "dog"), "other labels"), ("test_efficientnet", None, "another network")],
)
def test_another_network_is_refused(champion, pixels, backbone, labels, says):
    module = CardModule(backbone, labels or champion.info.labels, pretrained=False)
    with pytest.raises(ConfigError, match=says):
        start_from_model(module, champion_path(), [to_float(torch.from_numpy(pixels))])
