import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fulldeck.cli import main
from fulldeck.inference.recognizer import Recognizer
from located_cards import BLUE, GREEN, RED, table

CARDS = {(62, 50): RED, (202, 54): GREEN, (130, 134): BLUE}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name, cards in {"three.png": CARDS, "none.png": {}, "one.jpg": {(102, 102): RED}}.items():
        cv2.imwrite(str(tmp_path / "photos" / name), table(cards)[:, :, ::-1])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


@pytest.fixture
def locate(tiny_model, tiny_locator):
    def run(*arguments, **options):
        command = ["locate", "--model", str(tiny_model), "--locator", str(tiny_locator), *map(str, arguments)]
        return CliRunner().invoke(main, command, **options)

    return run


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json_is_one_object_a_line(locate, photos, tiny_model, tiny_locator):
    result = locate("--json", "photos/three.png", "photos/none.png")
    assert result.exit_code == 0
    assert result.stderr == ""
    three, none = lines(result)
    assert none == {"file": "photos/none.png", "cards": []}
    assert list(three) == ["file", "cards"]
    located = Recognizer(tiny_model, locator=tiny_locator).locate("photos/three.png")
    for card, wanted in zip(three["cards"], located.cards, strict=True):
        assert list(card) == ["label", "probability", "accepted", "corners", "visible", "alternatives"]
        assert (card["label"], card["accepted"], card["visible"]) == (wanted.label, wanted.accepted, wanted.visible)
        assert card["probability"] == pytest.approx(wanted.probability, abs=1e-6)
        assert card["corners"] == [list(corner) for corner in wanted.corners]
    assert len(located.cards) == 3


def test_the_table_has_a_row_a_card(locate, photos):
    result = locate("photos/none.png", "photos/three.png")
    assert result.exit_code == 0
    header, none, *rows = result.stdout.splitlines()
    assert header.split() == ["FILE", "CARD", "PROB.", "VISIBLE", "CORNERS"]
    assert none.split() == ["photos/none.png", "no", "card"]
    assert len(rows) == 3
    assert [row.split()[:2] for row in rows] == [["photos/three.png", "✓"]] * 3
    assert rows[0].endswith("42,22 82,22 82,78 42,78")
    assert all(row.index("100 %") + 4 < header.index("CORNERS") for row in rows)


def test_folders_patterns_and_standard_input(locate, photos):
    assert [line["file"] for line in lines(locate("--json", "photos"))] == [
        "photos/none.png",
        "photos/one.jpg",
        "photos/three.png",
    ]
    assert [line["file"] for line in lines(locate("--json", "photos/*.jpg"))] == ["photos/one.jpg"]
    data = (photos / "three.png").read_bytes()
    piped, file = lines(locate("--json", "-", "photos/three.png", input=data))
    assert piped["file"] == "-"
    assert piped["cards"] == file["cards"]


def test_the_threshold(locate, photos):
    (never,) = lines(locate("--json", "--threshold", "1", "photos/three.png"))
    (always,) = lines(locate("--json", "--threshold", "0", "photos/three.png"))
    assert [card["accepted"] for card in never["cards"]] == [False] * 3
    assert [card["accepted"] for card in always["cards"]] == [True] * 3
    assert locate("--threshold", "1.5", "photos/three.png").exit_code == 2


def test_an_error_is_its_files_own(locate, photos):
    (photos / "text.jpg").write_text("no image")
    result = locate("--json", "photos/one.jpg", "photos/text.jpg", "nowhere.jpg", "photos/*.gif", "photos/three.png")
    assert result.exit_code == 1
    first, *errors, last = lines(result)
    assert len(first["cards"]) == 1
    assert len(last["cards"]) == 3
    assert [error["file"] for error in errors] == ["photos/text.jpg", "nowhere.jpg", "photos/*.gif"]
    for error, reason in zip(errors, ("this is no image", "no such file", "no file matches"), strict=True):
        assert error["error"].startswith(f"{error['file']}: ")
        assert reason in error["error"]
    result = locate("photos/text.jpg", "photos/none.png")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.startswith("Error: photos/text.jpg: this is no image")


def test_a_copy_is_painted(locate, photos, tmp_path):
    result = locate("--draw", "painted.png", "photos/three.png")
    assert result.exit_code == 0, result.stderr
    painted, original = cv2.imread("painted.png"), cv2.imread("photos/three.png")
    assert painted.shape == original.shape
    changed = (painted != original).any(axis=2)
    assert 0.02 < changed.mean() < 0.5


def test_many_copies_go_into_a_folder(locate, photos):
    result = locate("--json", "--draw", "out/painted", "photos", "-", input=(photos / "one.jpg").read_bytes())
    assert result.exit_code == 0, result.stderr
    folder = photos.parent / "out" / "painted"
    assert sorted(path.name for path in folder.iterdir()) == ["none.png", "one.jpg", "stdin.jpg", "three.png"]
    np.testing.assert_array_equal(cv2.imread(str(folder / "none.png")), cv2.imread("photos/none.png"))


def test_a_copy_never_takes_the_place_of_an_image(locate, photos):
    before = (photos / "three.png").read_bytes()
    for out in ("photos/three.png", "photos"):
        result = locate("--draw", out, "photos/three.png")
        assert result.exit_code == 2
        assert "take the place of the image" in result.stderr
    assert locate("--draw", "one.png", "photos").exit_code == 2
    assert (photos / "three.png").read_bytes() == before


def test_a_copy_that_cannot_be_written_is_its_files_error(locate, photos):
    result = locate("--json", "--draw", "photos/none.png/a.png", "photos/three.png")
    assert result.exit_code == 1
    (line,) = lines(result)
    assert line["file"] == "photos/three.png"
    assert "the painted copy cannot be written" in line["error"]


def test_a_model_without_a_locator_says_what_it_cannot_do(tiny_model, photos):
    result = CliRunner().invoke(main, ["locate", "--json", "--model", str(tiny_model), "photos/three.png"])
    assert result.exit_code == 0
    assert lines(result) == [{"file": "photos/three.png", "cards": []}]
    assert "--locator" in result.stderr


def test_a_locator_that_cannot_be_used_is_one_sentence(tiny_model, photos):
    for locator, said in (("none.onnx", "no such locator file"), (tiny_model, "a locator is wanted here")):
        for command in ("classify", "locate"):
            arguments = [command, "--model", str(tiny_model), "--locator", str(locator), "photos/three.png"]
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 1
            assert said in result.stderr
            assert len(result.stderr.splitlines()) == 1


def test_a_locator_that_is_named_must_be_one_also_where_it_is_not_needed(tiny_model, photos):
    Path("notes.onnx").write_text("notes")
    arguments = ["--model", str(tiny_model), "--locator", "notes.onnx", "--threshold", "0", "none.png"]
    for command in ("classify", "locate"):
        result = CliRunner().invoke(main, [command, *arguments])
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: notes.onnx: this is no ONNX model")
        assert len(result.stderr.splitlines()) == 1


def test_classify_takes_the_same_look(tiny_model, tiny_locator, photos):
    command = ["classify", "--json", "--model", str(tiny_model), "--locator", str(tiny_locator), "photos"]
    none, one, three = lines(CliRunner().invoke(main, command))
    assert (none["accepted"], one["accepted"], three["accepted"]) == (False, True, True)


def test_the_way_to_ask_must_be_one():
    assert CliRunner().invoke(main, ["locate"]).exit_code == 2
    for option in ("--model", "--locator"):
        for command in ("classify", "locate"):
            assert CliRunner().invoke(main, [command, "a.jpg", "--url", "http://x", option, "a.onnx"]).exit_code == 2
