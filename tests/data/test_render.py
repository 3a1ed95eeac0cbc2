import hashlib
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fulldeck.cards import LABELS
from fulldeck.cli import main
from fulldeck.data.render import deck_split, render, rendered_style
from fulldeck.errors import DataError


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("decks") / "two"
    return render(out, decks=2, per_card=1, seed=5)


def test_the_layout_is_kaggles_with_whole_decks_held_out(rendered):
    for split, deck in (("train", "deck0000"), ("valid", "deck0001")):
        assert sorted(path.name for path in (rendered.out / split).iterdir()) == sorted(LABELS)
        images = list((rendered.out / split).rglob("*.jpg"))
        assert len(images) == 53
        assert all(path.name.startswith(deck) for path in images)


def test_pictures_are_224_square_and_differ(rendered):
    images = [cv2.imread(str(path)) for path in rendered.out.rglob("*.jpg")]
    assert {image.shape for image in images} == {(224, 224, 3)}
    assert all(np.std(image) > 5 for image in images)
    assert len({image.tobytes() for image in images}) == 106


def test_the_same_seed_gives_the_same_bytes_and_more_decks_do_not_change_the_first(rendered, tmp_path):
    render(tmp_path / "three", decks=3, per_card=1, seed=5)
    again, first = digests(tmp_path / "three"), digests(rendered.out)
    del first["decks.json"]
    assert {name: again[name] for name in first} == first


def test_another_seed_gives_other_pictures(rendered, tmp_path):
    render(tmp_path / "other", decks=1, per_card=1, seed=6)
    name = "train/ace of clubs/deck0000-000.jpg"
    assert (tmp_path / "other" / name).read_bytes() != (rendered.out / name).read_bytes()


def test_repeating_keeps_what_is_there_and_draws_what_is_missing(rendered, tmp_path):
    out = tmp_path / "again"
    render(out, decks=1, per_card=2, seed=5)
    before = digests(out)
    gone = out / "train" / "joker" / "deck0000-001.jpg"
    gone.unlink()
    again = render(out, decks=1, per_card=2, seed=5)
    assert again.drawn == 1
    assert digests(out) == before
    assert render(out, decks=1, per_card=2, seed=5).drawn == 0


def test_a_folder_can_be_given_more_decks(tmp_path):
    render(tmp_path, decks=1, per_card=1, seed=1)
    more = render(tmp_path, decks=2, per_card=1, seed=1)
    assert (more.images, more.drawn) == (106, 53)
    assert len(json.loads((tmp_path / "decks.json").read_text())["decks"]) == 2


@pytest.mark.parametrize("other", [{"seed": 2}, {"per_card": 2}])
def test_a_folder_of_other_decks_is_refused(tmp_path, other):
    render(tmp_path, decks=1, per_card=1, seed=1)
    before = digests(tmp_path)
    with pytest.raises(DataError, match="decks of seed 1"):
        render(tmp_path, **{"decks": 1, "per_card": 1, "seed": 1, **other})
    assert digests(tmp_path) == before


@pytest.mark.parametrize("file", ["holiday.jpg", "decks.json"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path, file):
    (tmp_path / file).write_text("not ours")
    with pytest.raises(DataError, match="is not empty"):
        render(tmp_path, decks=1, per_card=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        render(tmp_path / "file", decks=1, per_card=1, seed=0)


def test_the_manifest_tells_each_decks_split_and_style(rendered):
    manifest = json.loads((rendered.out / "decks.json").read_text())
    assert (manifest["seed"], manifest["per_card"]) == (5, 1)
    assert [(deck["index"], deck["split"]) for deck in manifest["decks"]] == [(0, "train"), (1, "valid")]
    assert manifest["decks"][1]["style"]["name"] == rendered_style(5, 1).name
    assert len(manifest["decks"][0]["style"]["inks"]) == 4


def test_a_fifth_of_the_decks_is_valid_and_a_tenth_is_test():
    splits = [deck_split(index) for index in range(100)]
    assert (splits.count("train"), splits.count("valid"), splits.count("test")) == (70, 20, 10)
    assert "valid" in splits[:2]


def test_the_command_prints_a_summary(tmp_path):
    result = CliRunner().invoke(main, ["data", "render", str(tmp_path / "out"), "--decks", "1"])
    assert result.exit_code == 0
    assert "53 images of 1 decks (1 train)" in result.stdout
    refused = CliRunner().invoke(main, ["data", "render", str(tmp_path)])
    assert refused.exit_code == 1
    assert "is not empty" in refused.stderr
