import pytest
from PIL import Image

from fulldeck.data.dataset import DeckDataModule
from fulldeck.data.exclusion import read_exclusions, write_exclusions
from fulldeck.errors import ConfigError, DataError


def paint(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (grey,) * 3).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 4 to train on and of 2 to validate, each image of a grey of its own."""
    for label, start in {"cat": 10, "dog, small": 130}.items():
        for number in range(4):
            paint(tmp_path / "pets/train" / label / f"{number}.png", start + 10 * number)
        for number in range(2):
            paint(tmp_path / "pets/valid" / label / f"{number}.png", start + 60 + 10 * number)
    return tmp_path / "pets"


def test_a_list_round_trips_with_any_name(folder, tmp_path):
    reasons = {"train/dog, small/1.png": 'says "cat"', "train/cat/0.png": "blank"}
    write_exclusions(tmp_path / "out" / "list.csv", reasons)
    assert read_exclusions(tmp_path / "out" / "list.csv", folder) == set(reasons)
    text = (tmp_path / "out" / "list.csv").read_text(encoding="utf-8")
    assert text == 'path,reason\ntrain/cat/0.png,blank\n"train/dog, small/1.png","says ""cat"""\n'


def test_a_plain_list_will_do(folder, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf# mine\r\n\r\ntrain/cat/0.png\r\n  train/cat/1.png \r\n")
    assert read_exclusions(tmp_path / "list.txt", folder) == {"train/cat/0.png", "train/cat/1.png"}


def test_an_empty_list_excludes_nothing(folder, tmp_path):
    write_exclusions(tmp_path / "list.csv", {})
    assert read_exclusions(tmp_path / "list.csv", folder) == set()


@pytest.mark.parametrize("path", ["train/cat/9.png", "cat/0.png", "train/cat", "../outside.png", "/etc/hosts"])
def test_what_the_dataset_lacks_is_named(folder, tmp_path, path):
    (tmp_path / "outside.png").write_bytes(b"x")
    write_exclusions(tmp_path / "list.csv", {path: "", "train/cat/0.png": ""})
    with pytest.raises(ConfigError, match=path) as caught:
        read_exclusions(tmp_path / "list.csv", folder)
    assert "train/cat/0.png" not in str(caught.value)
    assert str(tmp_path / "list.csv") in str(caught.value)


def test_a_list_that_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        read_exclusions(tmp_path / "nowhere.csv", folder)


def test_training_leaves_them_out(folder, tmp_path):
    write_exclusions(
        tmp_path / "list.csv", {"train/cat/0.png": "", "train/dog, small/3.png": "", "valid/cat/1.png": ""}
    )
    settings = {"stored_size": 16, "size": 16, "cache": tmp_path / "cache", "exclude": tmp_path / "list.csv"}
    module = DeckDataModule(folder, validation="valid", batch_size=8, **settings)
    module.setup()
    assert module.counts() == {"train": 6, "validation": 3}
    ((pixels, targets),) = module.val_dataloader()
    greys = {int(picture[0, 0, 0]): int(target) for picture, target in zip(pixels, targets, strict=True)}
    assert greys == {70: 0, 190: 1, 200: 1}  # 80 was valid/cat/1.png
    pixels, targets = next(iter(module.train_dataloader()))
    greys = {int(picture[0, 0, 0]): int(target) for picture, target in zip(pixels, targets, strict=True)}
    assert greys == {20: 0, 30: 0, 40: 0, 130: 1, 140: 1, 150: 1}


def test_held_out_images_are_chosen_among_those_left(folder, tmp_path):
    write_exclusions(tmp_path / "list.csv", {"train/cat/0.png": ""})
    settings = {"stored_size": 16, "size": 16, "cache": tmp_path / "cache", "exclude": tmp_path / "list.csv"}
    module = DeckDataModule(folder, holdout=0.25, **settings)
    module.setup()
    assert module.counts() == {"train": 5, "validation": 2}


def test_without_splits_paths_begin_with_the_label(folder, tmp_path):
    write_exclusions(tmp_path / "list.csv", {"cat/0.png": ""})
    settings = {"stored_size": 16, "size": 16, "cache": tmp_path / "cache", "exclude": tmp_path / "list.csv"}
    module = DeckDataModule(folder / "train", holdout=0.25, **settings)
    module.setup()
    assert sum(module.counts().values()) == 7


def test_a_wrong_list_stops_training_at_once(folder, tmp_path):
    write_exclusions(tmp_path / "list.csv", {"train/cat/gone.png": ""})
    module = DeckDataModule(folder, cache=tmp_path / "cache", exclude=tmp_path / "list.csv")
    with pytest.raises(ConfigError, match=r"cat/gone\.png"):
        module.setup()


def test_excluding_everything_is_refused(folder, tmp_path):
    every = {path.relative_to(folder).as_posix(): "" for path in folder.rglob("*.png")}
    write_exclusions(tmp_path / "list.csv", every)
    settings = {"stored_size": 16, "cache": tmp_path / "cache", "exclude": tmp_path / "list.csv"}
    with pytest.raises(DataError, match="all 8 images are excluded"):
        DeckDataModule(folder, **settings).setup()
