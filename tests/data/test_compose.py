import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fulldeck.cards import LABELS
from fulldeck.cli import main
from fulldeck.data.compose import compose, read_scenes
from fulldeck.errors import DataError


def written(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


def faces(folder, count=2):
    folder.mkdir(parents=True)
    for label in LABELS[:count]:
        cv2.imwrite(str(folder / f"{label}.png"), np.full((140, 100, 4), 200, np.uint8))
    return folder


def test_pictures_and_their_truth_are_written(tmp_path):
    result = compose(tmp_path / "out", scenes=5, seed=1, drawn=1, side=200)
    truth = read_scenes(tmp_path / "out")
    assert result.scenes == result.composed == len(truth) == 5
    assert result.cards == sum(len(scene["cards"]) for scene in truth)
    for scene in truth:
        picture = cv2.imread(str(tmp_path / "out" / scene["file"]))
        assert [picture.shape[1], picture.shape[0]] == scene["size"]
        assert max(scene["size"]) == 200
        for card in scene["cards"]:
            assert card["label"] in LABELS
            assert np.array(card["corners"]).shape == (4, 2)


def test_the_same_seed_gives_the_same_bytes_however_many_are_asked_for(tmp_path):
    compose(tmp_path / "a", scenes=3, seed=4, drawn=1, side=200)
    compose(tmp_path / "b", scenes=5, seed=4, drawn=1, side=200)
    first, second = written(tmp_path / "a"), written(tmp_path / "b")
    assert first == {name: second[name] for name in first}


def test_what_was_begun_goes_on(tmp_path):
    whole = compose(tmp_path / "whole", scenes=4, seed=4, drawn=1, side=200)
    compose(tmp_path / "out", scenes=2, seed=4, drawn=1, side=200)
    (tmp_path / "out" / "images" / "000001.jpg").unlink()
    result = compose(tmp_path / "out", scenes=4, seed=4, drawn=1, side=200)
    assert result.composed == 3
    assert written(tmp_path / "out") == written(whole.out)
    assert read_scenes(tmp_path / "out") == read_scenes(whole.out)


def test_other_settings_need_another_folder(tmp_path):
    compose(tmp_path / "out", scenes=1, seed=4, drawn=1, side=200)
    with pytest.raises(DataError, match=r"other settings \(seed\)"):
        compose(tmp_path / "out", scenes=1, seed=5, drawn=1, side=200)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="holds no composed scenes"):
        compose(tmp_path, scenes=1, seed=0, drawn=1)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_without_a_deck_there_is_nothing_to_lay(tmp_path):
    with pytest.raises(DataError, match="scenes need cards"):
        compose(tmp_path / "out", scenes=1, seed=0)


def test_faces_of_a_folder_are_laid(tmp_path):
    deck = faces(tmp_path / "mine")
    compose(tmp_path / "out", scenes=4, seed=2, decks=[deck], side=200, cards=(2, 3))
    cards = [card for scene in read_scenes(tmp_path / "out") for card in scene["cards"]]
    assert {card["deck"] for card in cards} == {"mine"}
    assert {card["label"] for card in cards} <= set(LABELS[:2])


@pytest.mark.parametrize(("split", "used"), [("train", "plain"), ("test", "held")])
def test_of_vector_decks_those_held_out_are_for_tests_alone(tmp_path, split, used):
    for name in ("plain", "held"):
        faces(tmp_path / "vector" / "faces" / name)
    listed = [{"name": name, "held_out": name == "held"} for name in ("plain", "held")]
    (tmp_path / "vector" / "decks.json").write_text(json.dumps({"decks": listed}))
    compose(tmp_path / "out", scenes=4, seed=2, vector=tmp_path / "vector", split=split, side=200, cards=(1, 2))
    assert {card["deck"] for scene in read_scenes(tmp_path / "out") for card in scene["cards"]} == {used}


def test_vector_decks_that_are_not_there_are_missed(tmp_path):
    with pytest.raises(DataError, match="data vector-decks"):
        compose(tmp_path / "out", scenes=1, seed=2, vector=tmp_path)


def test_labelled_photos_are_laid(tmp_path):
    for label in LABELS[:2]:
        (tmp_path / "photos" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "photos" / label / "a.jpg"), np.full((224, 224, 3), 200, np.uint8))
    compose(tmp_path / "out", scenes=2, seed=2, decks=[tmp_path / "photos"], side=200, cards=(1, 2))
    assert read_scenes(tmp_path / "out")


@pytest.mark.parametrize("content", ["empty", "missing"])
def test_a_folder_without_faces_is_refused_by_name(tmp_path, content):
    folder = tmp_path / "deck"
    if content == "empty":
        folder.mkdir()
    with pytest.raises(DataError, match="deck"):
        compose(tmp_path / "out", scenes=1, seed=0, decks=[folder])


def test_photographs_lie_under_the_cards(tmp_path):
    (tmp_path / "grounds").mkdir()
    cv2.imwrite(str(tmp_path / "grounds" / "red.png"), np.full((300, 400, 3), (0, 0, 255), np.uint8))
    (tmp_path / "grounds" / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    compose(tmp_path / "out", scenes=12, seed=2, drawn=1, side=200, cards=(0, 1), backgrounds=tmp_path / "grounds")
    reds = [cv2.imread(str(path)).astype(int) for path in (tmp_path / "out" / "images").iterdir()]
    assert sum((red[:, :, 2] - red[:, :, 0]).mean() > 30 for red in reds) >= 2


def test_grounds_that_are_not_there_are_missed(tmp_path):
    (tmp_path / "grounds").mkdir()
    with pytest.raises(DataError, match="no pictures that can be read"):
        compose(tmp_path / "out", scenes=1, seed=2, drawn=1, backgrounds=tmp_path / "grounds")


def test_truth_that_is_not_there_or_damaged_is_said(tmp_path):
    with pytest.raises(DataError, match="make scenes with"):
        read_scenes(tmp_path)
    (tmp_path / "scenes.jsonl").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_scenes(tmp_path)


def test_the_command_says_what_it_made(tmp_path):
    words = [
        "data",
        "compose",
        str(tmp_path / "out"),
        "--scenes",
        "2",
        "--drawn",
        "1",
        "--side",
        "200",
        "--cards",
        "1",
        "1",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "2 scenes" in result.output
    assert len((tmp_path / "out" / "scenes.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "out" / "compose.json").read_text())["cards"] == [1, 1]
