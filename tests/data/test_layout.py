import pytest
from PIL import Image

from fulldeck.data.layout import find_images, split_folder
from fulldeck.errors import DataError


def lay(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / path)
    return folder


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_is_its_own_folder(tmp_path, split):
    lay(tmp_path, "train/a/1.png", "valid/a/1.png", "test/a/1.png")
    assert split_folder(tmp_path, split) == tmp_path / split


def test_a_layout_without_splits_is_all_train(tmp_path):
    lay(tmp_path, "a/1.png", "b/1.png")
    assert split_folder(tmp_path, "train") == tmp_path
    with pytest.raises(DataError, match="no 'valid' images"):
        split_folder(tmp_path, "valid")


@pytest.mark.parametrize("there", ["valid", "test"])
def test_a_layout_with_other_splits_has_no_train(tmp_path, there):
    lay(tmp_path, f"{there}/a/1.png")
    with pytest.raises(DataError, match=r"no 'train' images: expected .*train/<label>"):
        split_folder(tmp_path, "train")


def test_what_is_not_there_has_no_split(tmp_path):
    with pytest.raises(DataError, match="absent has no 'train' images"):
        split_folder(tmp_path / "absent", "train")


def test_images_are_listed_by_path_with_their_folders_name(tmp_path):
    lay(tmp_path, "b/2.png", "a b/10.jpg", "a b/9.PNG", "b/deep/1.webp")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    lay(tmp_path, "loose.png")  # in no class folder
    assert find_images(tmp_path) == [
        (tmp_path / "a b/10.jpg", "a b"),
        (tmp_path / "a b/9.PNG", "a b"),
        (tmp_path / "b/2.png", "b"),
        (tmp_path / "b/deep/1.webp", "b"),
    ]


@pytest.mark.parametrize("paths", [[], ["loose.png"]], ids=["empty", "no class folders"])
def test_a_folder_without_labelled_images_is_refused(tmp_path, paths):
    lay(tmp_path, *paths)
    with pytest.raises(DataError, match="holds no images; expected"):
        find_images(tmp_path)


def test_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(DataError, match="is not a folder"):
            find_images(path)
