import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fulldeck.cli import main
from fulldeck.data.backgrounds import LONGEST, backgrounds
from fulldeck.errors import DataError


def save(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), np.uint8)
    Image.fromarray(noise).resize(size).save(path)


@pytest.fixture
def packages(tmp_path):
    """Parts of real packages' layouts, with pictures of our own."""
    root = tmp_path / "debs" / "all"
    photos = root / "usr/share/backgrounds"
    for place, name in enumerate(("Aqua", "Blinds", "Dune", "Garden", "Storm", "Wood")):
        save(photos / f"mate/nature/{name}.jpg", (400, 300), place)
    save(photos / "mate/nature/Wood_3000x2000.jpg", (3000, 2000), 5)
    pack = root / "usr/share/games/openarena/baseoa/pak4-textures.pk3"
    pack.parent.mkdir(parents=True)
    with zipfile.ZipFile(pack, "w") as archive:
        for group in ("stone", "skies", "proto2", "e7"):
            for n in range(2):
                save(tmp_path / "t.jpg", (256, 256), 100 * n + len(group) + ord(group[0]))
                archive.write(tmp_path / "t.jpg", f"textures/{group}/{n}.jpg")
        save(tmp_path / "icon.jpg", (32, 32), 99)
        archive.write(tmp_path / "icon.jpg", "textures/stone/icon.jpg")
    for name in ("mate-backgrounds", "openarena-081-textures"):
        (root / "usr/share/doc" / name).mkdir(parents=True)
    return tmp_path / "debs"


def test_pictures_are_split_by_what_they_come_from(packages, tmp_path):
    made = backgrounds(tmp_path / "out", source=packages)
    listed = json.loads((tmp_path / "out/backgrounds.json").read_text())["pictures"]
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")}
    assert {entry["file"] for entry in listed} == files
    assert sum(made.pictures.values()) == len(files) == made.made
    assert min(made.pictures.values()) > 0
    textures = {}
    for entry in listed:
        if entry["kind"] == "texture":
            textures.setdefault(entry["member"].split("/")[1], set()).add(entry["file"].split("/")[0])
    assert all(len(splits) == 1 for splits in textures.values())


def test_of_one_photo_in_two_sizes_the_larger_is_taken_and_made_to_fit(packages, tmp_path):
    backgrounds(tmp_path / "out", source=packages)
    (wood,) = (tmp_path / "out").rglob("photo-mate-backgrounds-nature-Wood*.jpg")
    with Image.open(wood) as image:
        assert max(image.size) == LONGEST
    assert not list((tmp_path / "out").rglob("*icon*"))


def test_it_goes_on_where_it_was(packages, tmp_path):
    backgrounds(tmp_path / "out", source=packages)
    gone = next((tmp_path / "out").rglob("*.jpg"))
    before = gone.read_bytes()
    gone.unlink()
    assert backgrounds(tmp_path / "out", source=packages).made == 1
    assert gone.read_bytes() == before


def test_a_damaged_picture_stops_no_other(packages, tmp_path):
    (packages / "all/usr/share/backgrounds/mate/nature/Dune.jpg").write_bytes(b"no picture")
    made = backgrounds(tmp_path / "out", source=packages)
    assert any("Dune.jpg" in name for name in made.failed)
    assert sum(made.pictures.values()) > 5


def test_nothing_to_be_had_is_an_error_and_so_is_a_strangers_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(main, ["data", "backgrounds", str(tmp_path / "out"), "--from", str(tmp_path / "empty")])
    assert result.exit_code == 1
    assert "not one picture could be had" in result.output
    (tmp_path / "empty/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no backgrounds"):
        backgrounds(tmp_path / "empty")
