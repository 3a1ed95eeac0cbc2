import os
from pathlib import Path

import pytest

from fulldeck.inference.files import find


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder like a user's: images, other files, a hidden one, folders in folders."""
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.jpg",
        "deep/c.webp",
        "deep/er/d.tif",
        ".trash/e.jpg",
        "none/x",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return Path("photos")


def names(*paths):
    return [source.name.replace(os.sep, "/") for source in find(paths)]


def errors(*paths):
    return [str(source.error) for source in find(paths) if source.error]


def test_a_folder_is_searched_to_the_bottom_in_order(photos):
    assert names("photos") == ["photos/a.PNG", "photos/b.jpg", "photos/deep/c.webp", "photos/deep/er/d.tif"]
    assert errors("photos") == []


def test_a_file_is_taken_whatever_its_suffix(photos):
    assert names("photos/notes.txt", "photos/b.jpg") == ["photos/notes.txt", "photos/b.jpg"]


def test_what_is_not_there_is_left_to_the_reader(photos):
    assert names("nowhere.jpg") == ["nowhere.jpg"]
    assert errors("nowhere.jpg") == []


def test_standard_input_keeps_its_place(photos):
    assert names("photos/b.jpg", "-") == ["photos/b.jpg", "-"]


def test_patterns(photos):
    assert names("photos/*.jpg") == ["photos/b.jpg"]
    assert names("photos/[ab].*") == ["photos/a.PNG", "photos/b.jpg"]
    assert names("photos/dee?") == ["photos/deep/c.webp", "photos/deep/er/d.tif"]
    assert names("photos/**/*.tif") == ["photos/deep/er/d.tif"]
    assert names("photos/deep/**") == ["photos/deep/c.webp", "photos/deep/er/d.tif"]


def test_a_pattern_that_matches_nothing_is_an_error(photos):
    assert errors("photos/*.gif") == ["photos/*.gif: no file matches this pattern"]
    assert names("photos/*.gif") == ["photos/*.gif"]


def test_a_file_whose_name_looks_like_a_pattern(photos):
    (photos / "a[1].jpg").touch()
    assert names("photos/a[1].jpg") == ["photos/a[1].jpg"]


def test_a_folder_without_images_is_an_error(photos):
    (photos / "empty").mkdir()
    assert errors("photos/empty", "photos/none") == [
        "photos/empty: there are no images in this folder",
        "photos/none: there are no images in this folder",
    ]


def test_a_folder_without_permission_is_an_error(photos, tmp_path, without_root):
    (photos / "deep").chmod(0)
    try:
        with without_root(tmp_path):
            assert names("photos")[:2] == ["photos/a.PNG", "photos/b.jpg"]
            assert errors("photos") == ["photos/deep: the folder cannot be read (Permission denied)"]
    finally:
        (photos / "deep").chmod(0o755)


def test_a_link_in_a_circle_ends(photos):
    (photos / "deep" / "loop").symlink_to("..", target_is_directory=True)
    assert len(names("photos")) == 4
