import io
import json
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from fulldeck.cards import LABELS
from fulldeck.data.manifest import content_hash
from fulldeck.data.stats import draw_sheet, stats
from fulldeck.errors import DataError


def write(path, colour=(255, 0, 0), size=(20, 10)):
    """Write an image of one RGB colour, width x height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), colour[::-1], np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes that are no cards: 3 cats and a dog to train, a dog to validate."""
    root = tmp_path / "pets"
    for number in range(3):
        write(root / f"train/cat/{number}.png", (255, 0, 0))
    write(root / "train/dog/0.png", (0, 0, 255), (40, 10))
    write(root / "valid/dog/0.jpg", (255, 255, 255))
    return root


def test_counts_and_balance(folder):
    result = stats(folder)
    assert result.labels == ("cat", "dog")
    assert result.hash == content_hash(folder)
    train, valid = result.splits["train"], result.splits["valid"]
    assert (train.images, train.classes) == (4, {"cat": 3, "dog": 1})
    assert (train.balance.min, train.balance.max, train.balance.ratio) == (1, 3, 3.0)
    assert (train.balance.rarest, train.balance.commonest) == ("dog", "cat")
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert train.balance.entropy == pytest.approx(entropy, abs=1e-6)
    assert train.balance.evenness == pytest.approx(entropy, abs=1e-6)
    assert valid.classes == {"cat": 0, "dog": 1}
    assert (valid.balance.ratio, valid.balance.entropy, valid.balance.evenness) == (None, 0, 0)


def test_sizes_formats_and_colours(folder):
    train = stats(folder).splits["train"]
    assert train.sizes == {"20 x 10": 3, "40 x 10": 1}
    assert (train.width.min, train.width.median, train.width.max) == (20, 20, 40)
    assert (train.height.min, train.height.max) == (10, 10)
    assert (train.aspect.min, train.aspect.max) == (2, 4)
    assert train.formats == {"PNG": 4}
    assert train.total_bytes == sum(path.stat().st_size for path in (folder / "train").rglob("*.png"))
    # Three of four images are red and one is blue, and all weigh the same though the blue one is larger.
    assert train.channel_mean == (0.75, 0, 0.25)
    spread = round(math.sqrt(0.75 * 0.25), 6)
    assert train.channel_std == (spread, 0, spread)
    assert train.brightness_mean == pytest.approx(1 / 3, abs=1e-6)
    assert train.brightness_std == pytest.approx(0, abs=1e-6)


def test_a_format_is_what_the_bytes_say(folder):
    write(folder / "train/cat/0.png").rename(folder / "train/cat/0.jpg")
    assert stats(folder).splits["train"].formats == {"PNG": 4}


def test_without_splits_and_with_one_class(tmp_path):
    write(tmp_path / "set/only/1.png")
    (tmp_path / "set/.hidden").mkdir()
    (tmp_path / "set/only/notes.txt").write_text("no image")
    result = stats(tmp_path / "set")
    assert list(result.splits) == ["all"]
    assert result.splits["all"].balance.evenness == 1
    assert result.labels == ("only",)


def test_writes_beside_the_folder_or_where_it_is_told(folder, tmp_path):
    before = content_hash(folder)
    result = stats(folder)
    assert result.out == folder.with_name("pets-stats")
    written = json.loads((result.out / "stats.json").read_text())
    assert written["splits"]["train"]["classes"] == {"cat": 3, "dog": 1}
    assert written["hash"] == before == content_hash(folder)
    assert stats(folder, tmp_path / "a" / "b").out == tmp_path / "a" / "b"
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["contact-sheet.jpg", "stats.json"]


def test_unreadable_files_are_named(folder):
    (folder / "train/cat/9.jpg").write_bytes(b"no image")
    result = stats(folder)
    assert list(result.unreadable) == ["train/cat/9.jpg"]
    assert result.splits["train"].images == 4
    assert "train/cat/9.jpg" in result.summary()


def test_summary(folder):
    text = stats(folder).summary()
    for part in ("5 images of 2 classes", "1 (dog) to 3 (cat); ratio 3.00", "one or more have none", "20 x 10 (3)"):
        assert part in text
    assert "the cards" not in text


def test_the_cards_are_recognised(tmp_path):
    for label in LABELS:
        write(tmp_path / "set" / label / "1.png")
    text = stats(tmp_path / "set").summary()
    assert "53 images of 53 classes, the cards" in text
    assert "1 images each" not in text
    assert "1 image each" in text


def test_sheet_shows_every_class(folder):
    result = stats(folder)
    sheet = np.asarray(Image.open(result.out / "contact-sheet.jpg").convert("RGB")).astype(int)
    halves = np.split(sheet, [sheet.shape[1] // 2], axis=1)
    red, blue = ((half - half.min(axis=2, keepdims=True) > 200).any(axis=(0, 1)) for half in halves)
    assert red.tolist() == [True, False, False]
    assert blue.tolist() == [False, False, True]


def test_sheet_examples_are_spread_over_the_class(tmp_path):
    paths = [write(tmp_path / f"{number}.png", (number * 20,) * 3) for number in range(12)]
    alone = draw_sheet({"x": [paths[0], paths[3], paths[6], paths[9]]})
    sheet, expected = (np.asarray(Image.open(io.BytesIO(data))) for data in (draw_sheet({"x": paths}), alone))
    assert (sheet[40:] == expected[40:]).all()


def test_sheet_of_many_classes_and_long_labels_stays_bounded(tmp_path):
    path = write(tmp_path / "x.png")
    sheet = Image.open(io.BytesIO(draw_sheet({f"a rather long label {'x' * 80} {n}": [path] for n in range(605)})))
    assert sheet.height < 30_000


@pytest.mark.parametrize("files", [{}, {"loose.jpg": b"x"}, {"train/loose.jpg": b"x"}])
def test_no_class_folders(tmp_path, files):
    for name, data in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    (tmp_path / "set").mkdir(exist_ok=True)
    with pytest.raises(DataError, match="has no class folders: expected"):
        stats(tmp_path / "set")


def test_other_faults(folder, tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        stats(tmp_path / "missing")
    with pytest.raises(DataError, match="lies inside the dataset"):
        stats(folder, folder / "stats")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        stats(folder, tmp_path / "file" / "out")
    (tmp_path / "empty/train/cat").mkdir(parents=True)
    with pytest.raises(DataError, match="only empty class folders"):
        stats(tmp_path / "empty")
    (tmp_path / "empty/train/cat/1.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 1 images"):
        stats(tmp_path / "empty")
    assert not (tmp_path / "empty-stats").exists()
