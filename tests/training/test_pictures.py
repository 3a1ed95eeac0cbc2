"""The pictures: that they are made from any sensible figures, and show what they should."""

import numpy as np
import pytest
from PIL import Image

from fulldeck.cards import LABELS
from fulldeck.training import pictures
from fulldeck.training.measures import Curve
from fulldeck.training.training_pictures import draw_curves


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def reddish(path):
    image = pixels(path)
    return int(((image[..., 0] > image[..., 1] + 80) & (image[..., 0] > image[..., 2] + 60)).sum())


def test_curves_of_a_training(tmp_path):
    rows = [
        {"epoch": 0, "train/loss": 2.0, "val/loss": "1.8", "val/accuracy": 0.4, "lr-AdamW/pg1": 1e-3, "seconds": 30},
        {"epoch": 1, "train/loss": 1.0, "val/loss": "", "val/accuracy": None, "lr-AdamW/pg1": 5e-4, "seconds": 31},
        {"epoch": "", "note": "no number", "train/loss": float("nan")},
    ]
    draw_curves(rows, tmp_path / "all.png")
    draw_curves([{"epoch": 0, "train/loss": 2.0}], tmp_path / "one.png")
    # Loss, score, learning rate and the rest have a panel each.
    assert pixels(tmp_path / "all.png").shape[1] == 4 * pixels(tmp_path / "one.png").shape[1]


@pytest.mark.parametrize("rows", [[], [{}], [{"epoch": 0, "note": "none"}]])
def test_curves_of_nothing(tmp_path, rows):
    draw_curves(rows, tmp_path / "curves.png")
    assert pixels(tmp_path / "curves.png").size


def test_the_same_figures_make_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        draw_curves([{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5}], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_mistakes_are_red_in_the_confusion_matrix(tmp_path):
    right = np.diag([4, 4, 4])
    wrong = right.copy()
    wrong[0] = [2, 2, 0]
    pictures.draw_confusion(["cat", "cow", "dog"], right, tmp_path / "right.png")
    pictures.draw_confusion(["cat", "cow", "dog"], wrong, tmp_path / "wrong.png")
    assert reddish(tmp_path / "right.png") == 0
    assert reddish(tmp_path / "wrong.png") > 500


def test_confusion_leaves_out_what_does_not_occur(tmp_path):
    few = np.zeros((53, 53), dtype=int)
    few[0, 0] = few[1, 2] = 3
    pictures.draw_confusion(LABELS, few, tmp_path / "few.png")
    pictures.draw_confusion(LABELS, np.eye(53, dtype=int), tmp_path / "all.png")
    assert pixels(tmp_path / "all.png").shape[0] > 2 * pixels(tmp_path / "few.png").shape[0]


def test_roc_without_a_mean(tmp_path):
    pictures.draw_roc(Curve((0.0, 0.0, 1.0), (0.0, 1.0, 1.0)), Curve((), ()), 1.0, None, tmp_path / "roc.png")
    assert pixels(tmp_path / "roc.png").size


def test_a_sheet_of_examples_has_a_row_for_each_five(tmp_path):
    image = np.full((20, 20, 3), 90, np.uint8)
    example = pictures.Example("a/1.png", image, "a", 0.2, (("b", 0.8), ("a", 0.2)), accepted=True)
    assert not example.right
    pictures.draw_examples([example] * 5, tmp_path / "five.png")
    pictures.draw_examples([example] * 6, tmp_path / "six.png")
    assert pixels(tmp_path / "six.png").shape[0] == pytest.approx(2 * pixels(tmp_path / "five.png").shape[0], abs=2)
