import numpy as np
import pytest
import torch

from fulldeck.data.compose import compose
from fulldeck.errors import ConfigError, ModelError
from fulldeck.inference.locate import CARDS, CORNERS, REFINED, REFINER_SIZE, SCORE, Locator
from fulldeck.inference.model_file import INPUT, champion_path, locator_beside
from fulldeck.training.from_locator import start_from_locator
from fulldeck.training.locator_data import SceneBatches, Scenes
from fulldeck.training.locator_network import LocatorNetwork
from fulldeck.training.locator_train import train_locator
from fulldeck.training.refiner_network import RefinerNetwork

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shipped():
    return Locator(locator_beside(champion_path()), threads=1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    compose(folder, scenes=4, seed=5, drawn=1, side=320, cards=(1, 3))
    return folder


def pictures(count, side):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def as_float(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def test_a_network_that_starts_from_the_file_finds_as_it_does(shipped):
    pixels = pictures(4, 96)
    network = LocatorNetwork(pretrained=False)
    start_from_locator(network, "network", shipped.path, [as_float(pixels)])
    score, corners, _ = network.eval()(as_float(pixels))
    theirs = shipped.outputs([SCORE, CORNERS], {INPUT: pixels})
    np.testing.assert_allclose(torch.sigmoid(score), theirs[0], atol=1e-4)
    np.testing.assert_allclose(corners, theirs[1], atol=0.05)


@torch.no_grad()
def test_a_network_that_starts_from_the_file_refines_as_it_does(shipped):
    pixels = pictures(4, REFINER_SIZE)
    network = RefinerNetwork(pretrained=False)
    start_from_locator(network, "refiner", shipped.path, [as_float(pixels)])
    corners, _ = network.eval()(as_float(pixels))
    np.testing.assert_allclose(corners, shipped.outputs([REFINED], {CARDS: pixels})[0], atol=1e-3)


def test_its_statistics_are_those_of_the_pictures(shipped):
    """So that in training mode, which normalises by the batch's own statistics, it answers much as before."""
    pixels = pictures(4, 96)
    network = LocatorNetwork(pretrained=False)
    start_from_locator(network, "network", shipped.path, [as_float(pixels)])
    with torch.no_grad():
        trained, same = network.train()(as_float(pixels))[1], network.eval()(as_float(pixels))[1]
    assert (trained - same).abs().median() < 0.1


def test_a_network_of_another_width_is_refused(shipped):
    with pytest.raises(ConfigError, match="another network: it has no lateral"):
        start_from_locator(LocatorNetwork(16, pretrained=False), "network", shipped.path, [as_float(pictures(1, 96))])


def test_a_file_that_is_no_locator_is_refused():
    with pytest.raises(ModelError):
        start_from_locator(LocatorNetwork(pretrained=False), "network", champion_path(), [])


def test_a_training_starts_from_the_shipped_locator(scenes, tmp_path):
    """And one with a learning rate of nothing ends with it."""
    words = [f"scenes=[{scenes}]", f"validation={scenes}", "size=96", "batch_size=2", "logger=none", "max_epochs=1"]
    run = train_locator([*words, "init=champion", "lr=0.0"], out=tmp_path / "run")
    new = train_locator([*words, "lr=0.0"], out=tmp_path / "new")
    assert run.metrics["val/loss"] < 0.8 * new.metrics["val/loss"]


def test_batches_that_are_fetched_ahead_are_the_same(scenes, tmp_path):
    words = [f"scenes=[{scenes}]", f"validation={scenes}", "size=96", "batch_size=2", "logger=none", "max_epochs=2"]
    words += ["init=champion", "lr=1.0e-4"]
    alone = train_locator([*words], out=tmp_path / "alone")
    ahead = train_locator([*words, "workers=2"], out=tmp_path / "ahead")
    assert ahead.metrics["val/loss"] == pytest.approx(alone.metrics["val/loss"], rel=1e-4)
    assert ahead.metrics["train/loss"] == pytest.approx(alone.metrics["train/loss"], rel=1e-4)


def test_fetching_ahead_begins_with_the_epoch_that_is_asked_for(scenes):
    """That of a resumed run: its workers begin before Lightning says which epoch it is."""
    ahead = SceneBatches(Scenes([scenes], 96, seed=1), 2, seed=1, workers=1, epoch=3)
    alone = SceneBatches(Scenes([scenes], 96, seed=1), 2, seed=1)
    alone.sampler.set_epoch(3)
    for ours, theirs in zip(ahead, alone, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
