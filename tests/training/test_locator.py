import json

import numpy as np
import onnxruntime as ort
import pytest
import torch

from fulldeck.cli import main
from fulldeck.data.compose import compose
from fulldeck.errors import ConfigError, DataError
from fulldeck.inference.locate import Locator
from fulldeck.training.locator_data import MOST, SceneBatches, Scenes, heatmap
from fulldeck.training.locator_export import export_locator
from fulldeck.training.locator_module import losses_of, quad_overlap
from fulldeck.training.locator_network import STRIDE, LocatorNetwork
from fulldeck.training.locator_train import train_locator


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    compose(folder, scenes=12, seed=3, drawn=1, side=200, cards=(1, 3))
    return folder


def card(middle=(100, 90), corners=((60, 50), (140, 50), (140, 130), (60, 130)), visible=1.0, flag=1.0):
    return torch.tensor([*middle, *np.ravel(corners), visible, flag])


def batch(*rows):
    cards = torch.zeros(1, MOST, 12)
    for i, row in enumerate(rows):
        cards[0, i] = row
    return cards


def perfect(cards, side=192):
    """What a network that knows all would give."""
    h = w = side // STRIDE
    peaks, _ = heatmap(cards, h, w)
    score = torch.logit(peaks.clamp(1e-6, 1 - 1e-6))
    corners, visible = torch.zeros(1, h, w, 4, 2), torch.zeros(1, h, w)
    for row in cards[0]:
        if row[11] > 0:
            x, y = int(row[0] // STRIDE), int(row[1] // STRIDE)
            corners[0, y - 1 : y + 2, x - 1 : x + 2] = row[2:10].view(4, 2)
            visible[0, y - 1 : y + 2, x - 1 : x + 2] = torch.logit(row[10].clamp(1e-6, 1 - 1e-6))
    return score, corners, visible


def test_a_batch_is_pictures_and_cards(scenes):
    pixels, cards = Scenes([scenes], 128, seed=None)[[0, 1, 2]]
    assert pixels.shape == (3, 128, 128, 3)
    assert pixels.dtype == torch.uint8
    assert cards.shape == (3, MOST, 12)
    middles = cards[:, :, :2][cards[:, :, 11] != 0]
    assert len(middles)
    assert ((middles >= 0) & (middles < 128)).all()


def test_changes_are_new_each_epoch_and_the_same_again(scenes):
    def first(epoch):
        loader = SceneBatches(Scenes([scenes], 96, seed=1), 4, seed=1)
        loader.sampler.set_epoch(epoch)
        return next(iter(loader))[0]

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_corners_move_as_the_pixels_do(tmp_path):
    """A white rectangle on black: wherever it goes, its mean lies in the middle of its corners."""
    import cv2

    (tmp_path / "images").mkdir()
    picture = np.zeros((160, 200, 3), np.uint8)
    picture[60:120, 80:120] = 255
    cv2.imwrite(str(tmp_path / "images" / "0.png"), picture)
    truth = {"label": "joker", "deck": "d", "corners": [[80, 60], [120, 60], [120, 120], [80, 120]], "visible": 1.0,
             "index_visible": True, "centre": [100, 90]}  # fmt: skip
    scene = {"file": "images/0.png", "size": [200, 160], "cards": [truth], "things": []}
    (tmp_path / "scenes.jsonl").write_text(json.dumps(scene))
    dataset = Scenes([tmp_path], 128, seed=5)
    seen = 0
    for epoch in range(12):
        dataset.epoch = epoch
        pixels, cards = dataset[[0]]
        if cards[0, 0, 11] == 0 or cards[0, 0, 10] < 0:
            continue
        corners = cards[0, 0, 2:10].view(4, 2).numpy()
        bright = np.argwhere(pixels[0].numpy().min(2) > 200)[:, ::-1] + 0.5
        assert bright.mean(0) == pytest.approx(corners.mean(0), abs=1.5)
        assert len(bright) == pytest.approx(cv2.contourArea(corners), rel=0.25)
        first, second = corners[1] - corners[0], corners[3] - corners[0]
        assert first[0] * second[1] - first[1] * second[0] > 0  # never mirrored
        seen += 1
    assert seen >= 3


def test_a_folder_without_scenes_is_refused(tmp_path):
    (tmp_path / "scenes.jsonl").write_text("")
    with pytest.raises(DataError, match="no scenes"):
        Scenes([tmp_path], 128, seed=None)


def test_the_peak_is_the_cell_of_the_middle():
    peaks, weights = heatmap(batch(card()), 24, 24)
    assert peaks[0, 90 // STRIDE, 100 // STRIDE] == 1
    assert (peaks == 1).sum() == 1
    assert (weights == 1).all()


def test_nothing_is_asked_where_a_card_counts_for_nothing():
    peaks, weights = heatmap(batch(card(flag=-1.0)), 24, 24)
    assert peaks.max() == 0
    assert weights[0, 90 // STRIDE, 100 // STRIDE] == 0
    assert weights.mean() > 0.9


def test_what_is_right_costs_little_and_what_is_wrong_more():
    cards = batch(card(), card(middle=(40, 150), corners=((20, 130), (60, 130), (60, 170), (20, 170)), visible=0.8))
    right = losses_of(perfect(cards), cards)
    assert right["corners"] < 1e-6
    assert right["score"] < 0.5
    score, corners, visible = perfect(cards)
    assert losses_of((score, corners + 10, visible), cards)["corners"] > 0.1
    assert losses_of((-score, corners, visible), cards)["score"] > 10
    assert losses_of((score, corners, -visible), cards)["visible"] > right["visible"] + 1


def test_a_card_may_be_given_upside_down():
    cards = batch(card())
    score, corners, visible = perfect(cards)
    assert losses_of((score, corners.roll(2, dims=3), visible), cards)["corners"] < 1e-6
    assert losses_of((score, corners.roll(1, dims=3), visible), cards)["corners"] > 0.1


def test_a_picture_without_cards_asks_for_no_corners():
    losses = losses_of(perfect(batch()), batch())
    assert losses["corners"] == 0
    assert torch.isfinite(torch.stack(list(losses.values()))).all()


def test_overlap_of_quads():
    square = [[0, 0], [10, 0], [10, 10], [0, 10]]
    assert quad_overlap(square, square) == pytest.approx(1)
    assert quad_overlap(square, np.add(square, [5, 0])) == pytest.approx(1 / 3)
    assert quad_overlap(square, np.add(square, [20, 0])) == 0


def test_the_network_answers_for_every_eighth_pixel(one_thread):
    network = LocatorNetwork(16, pretrained=False).eval()
    with torch.no_grad():
        score, corners, visible = network(torch.rand(2, 3, 64, 96))
    assert score.shape == visible.shape == (2, 64 // STRIDE, 96 // STRIDE)
    assert corners.shape == (2, 64 // STRIDE, 96 // STRIDE, 4, 2)


def test_folding_leaves_the_backbones_answers(one_thread):
    from fulldeck.training.backbone import PACKAGED, create_backbone

    plain = create_backbone(PACKAGED, 1, pretrained=True).eval()
    network = LocatorNetwork(16, pretrained=True).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        theirs = plain.blocks[0:5](plain.bn1(plain.conv_stem(images)))
        ours = network.stages[1](network.stages[0](network.stem(images)))
    assert torch.allclose(theirs, ours, atol=1e-3)


@pytest.mark.parametrize(("override", "says"), [("widht=3", "does not compose"), ("max_epochs=[", "does not compose")])
def test_an_override_that_fits_nothing_is_refused(override, says):
    with pytest.raises(ConfigError, match=says):
        train_locator([override])


@pytest.mark.slow
def test_trained_and_exported_it_finds_as_torch_does(scenes, tmp_path, one_thread):
    from click.testing import CliRunner

    words = [f"scenes=[{scenes}]", f"validation={scenes}", "size=96", "width=16", "max_epochs=1", "batch_size=4",
             f"runs={tmp_path}", "logger=none", "name=tiny"]  # fmt: skip
    result = CliRunner().invoke(main, ["train-locator", *words])
    assert result.exit_code == 0, result.output
    (run,) = tmp_path.iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"val/loss", "val/recall", "val/precision"} <= metrics.keys()
    exported = export_locator(run)
    assert exported.file == run / "locator.onnx"
    locator = Locator(exported.file, threads=1)
    assert (locator.info.size, locator.info.stride) == (96, STRIDE)
    assert locator.info.metrics["val/loss"] == metrics["val/loss"]
    session = ort.InferenceSession(str(exported.file))
    for rows, columns in ((96, 64), (64, 96), (160, 128)):  # any multiples of 32
        score = session.run(["score"], {"images": np.zeros((1, rows, columns, 3), np.uint8)})[0]
        assert score.shape == (1, rows // STRIDE, columns // STRIDE)
    keener = export_locator(run, tmp_path / "keener.onnx", threshold=0.1)
    assert keener.version != exported.version  # since its answers are others
    again = train_locator([f"init={run}", *words[:-1], "name=more"])
    assert again.metrics["epochs"] == 1


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no run"):
        train_locator([], resume=tmp_path)
