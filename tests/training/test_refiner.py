import json

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fulldeck.cli import main
from fulldeck.data.compose import compose, read_scenes
from fulldeck.errors import ConfigError, DataError
from fulldeck.inference import image
from fulldeck.inference.locate import REFINER_MARGIN, REFINER_SIZE, Found, Locator
from fulldeck.inference.quads import overlap
from fulldeck.inference.rectify import unit_corners
from fulldeck.training.locator_data import SceneBatches
from fulldeck.training.refiner_data import A_SCENE, Outlines
from fulldeck.training.refiner_module import losses_of
from fulldeck.training.refiner_network import RefinerNetwork
from fulldeck.training.refiner_train import train_refiner


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    compose(folder, scenes=12, seed=3, drawn=1, side=320, cards=(1, 3))
    return folder


def test_an_item_is_squares_cut_out_by_rough_corners_and_the_true_ones(scenes):
    pixels, truth = Outlines([scenes], seed=1)[list(range(12))]
    assert pixels.shape == (12 * A_SCENE, REFINER_SIZE, REFINER_SIZE, 3)
    assert truth.shape == (12 * A_SCENE, 9)
    assert pixels.dtype == torch.uint8
    there = truth[:, 8] > 0
    assert 12 * (A_SCENE - 1) <= there.sum() < 12 * A_SCENE  # every scene has a card, and about half an empty place
    assert (truth[~there] == 0).all()
    rough = unit_corners(REFINER_MARGIN)
    overlaps = [overlap(row[:8].numpy().reshape(4, 2), rough) for row in truth[there]]
    assert 0.2 < min(overlaps) < max(overlaps) < 0.999
    assert 0.6 < np.mean(overlaps) < 0.95


def test_the_true_corners_are_where_the_card_is(tmp_path):
    """On a dark table, what is inside the true corners is the card, and what is outside is not."""
    folder = tmp_path / "scenes"
    (folder / "images").mkdir(parents=True)
    card = np.float32([(120, 90), (190, 110), (160, 215), (90, 195)])
    photo = np.zeros((300, 300, 3), np.uint8)
    cv2.fillConvexPoly(photo, card.astype(np.int32), (255, 255, 255))
    cv2.imwrite(str(folder / "images" / "0.png"), photo)
    scene = {"file": "images/0.png", "size": [300, 300], "things": [], "cards": [
        {"label": "ace of spades", "deck": "d", "corners": card.tolist(), "visible": 1.0, "index_visible": True,
         "centre": [140, 150]}]}  # fmt: skip
    (folder / "scenes.jsonl").write_text(json.dumps(scene) + "\n")
    assert len(read_scenes(folder)) == 1
    outlines = Outlines([folder], seed=2)
    for epoch in range(8):
        outlines.epoch = epoch
        pixels, truth = (part[1:] for part in outlines[[0]])  # the first square may have no card in it
        mask = np.zeros((REFINER_SIZE, REFINER_SIZE), np.uint8)
        cv2.fillConvexPoly(mask, (truth[0, :8].reshape(4, 2).numpy() * REFINER_SIZE).round().astype(np.int32), 1)
        white = pixels[0].numpy().mean(2) > 128
        assert (white & (mask > 0)).sum() / (white | (mask > 0)).sum() > 0.9


def test_training_errs_anew_each_epoch_and_validation_never(scenes):
    def first(outlines, epoch):
        outlines.epoch = epoch
        return outlines[[0, 1]][1]

    training, validation = Outlines([scenes], seed=1), Outlines([scenes], seed=None)
    assert not torch.equal(first(training, 0), first(training, 1))
    assert torch.equal(first(training, 1), first(Outlines([scenes], seed=1), 1))
    assert torch.equal(first(validation, 0), first(validation, 1))


def test_an_epoch_has_every_scene_once(scenes):
    loader = SceneBatches(Outlines([scenes], seed=1), batch_size=4, seed=1)
    assert len(loader) == 3
    assert sorted(position for batch in loader.sampler for position in batch) == list(range(12))


def test_where_no_card_shows_no_square_has_one(tmp_path):
    for name, cards in (("empty", (0, 0)), ("one", (1, 1))):
        compose(tmp_path / name, scenes=2, seed=1, drawn=1, side=160, cards=cards)
    _, truth = Outlines([tmp_path / "empty", tmp_path / "one"], seed=1)[[0, 1]]
    assert (truth == 0).all()


def test_scenes_without_cards_teach_nothing(tmp_path):
    compose(tmp_path / "empty", scenes=2, seed=1, drawn=1, side=96, cards=(0, 0))
    with pytest.raises(DataError, match="there are no cards in"):
        Outlines([tmp_path / "empty"], seed=1)


def test_what_is_right_costs_nothing():
    truth = torch.tensor([[*unit_corners(0.25).ravel(), 1], [0.0] * 9])
    corners = torch.stack([truth[0, :8].view(4, 2), torch.rand(4, 2)])
    sure = torch.tensor([20.0, -20.0])
    right = losses_of((corners, sure), truth)
    assert max(right.values()) < 1e-6
    assert losses_of((corners + 0.1, sure), truth)["corners"] > 1
    assert losses_of((corners, -sure), truth)["card"] > 10
    assert losses_of((corners, sure), torch.zeros(2, 9))["corners"] == 0


def test_it_begins_with_the_rough_corners(one_thread):
    network = RefinerNetwork(pretrained=False).eval()
    with torch.no_grad():
        corners, card = network(torch.rand(2, 3, REFINER_SIZE, REFINER_SIZE))
    assert card.shape == (2,)
    np.testing.assert_allclose(corners[0], unit_corners(REFINER_MARGIN), atol=0.1)


@pytest.mark.slow
def test_trained_and_exported_it_refines_as_torch_does(scenes, tmp_path, one_thread):
    cli = CliRunner()
    words = [f"scenes=[{scenes}]", f"validation={scenes}", "max_epochs=1", "batch_size=4", f"runs={tmp_path}"]
    words.append("logger=none")
    result = cli.invoke(main, ["train-refiner", *words, "name=refiner"])
    assert result.exit_code == 0, result.output
    result = cli.invoke(main, ["train-locator", *words, "name=locator", "size=96", "width=16"])
    assert result.exit_code == 0, result.output
    locator_run, refiner_run = (next(tmp_path.glob(f"*-{name}")) for name in ("locator", "refiner"))
    metrics = json.loads((refiner_run / "metrics.json").read_text())
    assert 0 < metrics["val/overlap"] < 1
    sizes = []
    for half in ([], ["--half"]):
        out = tmp_path / f"located{len(half)}.onnx"
        result = cli.invoke(
            main, ["export-locator", str(locator_run), "--refiner", str(refiner_run), "--out", str(out), *half]
        )
        assert result.exit_code == 0, result.output
        sizes.append(out.stat().st_size)
        locator = Locator(out, threads=1)
        assert locator.refines
        assert locator.info.metrics["refiner"]["val/overlap"] == metrics["val/overlap"]
        (scene, *_) = read_scenes(scenes)
        photo = image.load(scenes / scene["file"])
        quad = np.array(scene["cards"][0]["corners"], np.float32)
        (mended,) = locator.refine(photo, [Found(quad, score=1.0, visible=1.0)])
        assert mended.quad.shape == (4, 2)
        locator.find(photo)
    assert sizes[1] < 0.6 * sizes[0]
    again = train_refiner([f"init={refiner_run}", *words, "name=more"])
    assert again.metrics["epochs"] == 1
    with pytest.raises(ConfigError, match="holds another network"):
        train_refiner([f"init={locator_run}", *words, "name=other"])
