"""What answers to composed scenes are worth, on scenes whose score can be counted by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from fulldeck.errors import DataError
from fulldeck.inference.recognizer import LocatedCard, Prediction
from fulldeck.training.scenes import Scene, Tally, TrueCard, matched, read_scenes

FRAME = (1000, 500)


def box(left, top, width=100, height=140):
    return [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]


def card(label, left, top=100, visible=1.0):
    return TrueCard(label, np.array(box(left, top), np.float32), visible)


def found(label, left, top=100, probability=0.99, accepted=True):
    return LocatedCard(label, probability, accepted, (), tuple(map(tuple, box(left, top))), 1.0)


def tally(*looks):
    counted = Tally()
    for cards, whole, located in looks:
        counted.add(Scene(Path("x.jpg"), tuple(cards)), FRAME, whole, located)
    return counted.scores()


def test_answers_are_about_the_card_they_overlap_most_and_each_card_once():
    cards = [card("a", 0), card("b", 20), card("c", 600)]
    located = [found("b", 20), found("a", 2), found("x", 19), found("c", 800)]
    assert matched(cards, located) == [1, 0, None, None]


def test_a_half_turn_does_not_matter():
    turned = LocatedCard("a", 0.9, True, (), tuple(map(tuple, np.roll(box(0, 0), 2, axis=0).tolist())), 1.0)
    assert matched([card("a", 0, 0)], [turned]) == [0]


def test_single_cards_are_named_as_a_whole():
    right, wrong = Prediction("a", 0.9, True, ()), Prediction("b", 0.8, True, ())
    scores = tally(([card("a", 0)], right, [found("a", 0)]), ([card("a", 0)], wrong, []))
    assert (scores.single.right, scores.single.total) == (1, 2)
    assert scores.ece_single == pytest.approx((0.1 + 0.8) / 2)
    assert scores.ece_matched == pytest.approx(0.01)
    assert scores.single_by_size["0.02 to 0.05"].total == 2  # 100 x 140 of 1000 x 500
    assert scores.found.total == scores.precise.total == 0


def test_several_cards():
    cards = [card("a", 0), card("b", 200), card("c", 400, visible=0.3), card("d", 600, visible=0.7), card("e", 800)]
    located = [
        found("a", 0),  # right
        found("x", 200),  # wrong label
        found("c", 400),  # right, though less than half of it shows
        found("d", 600, accepted=False, probability=0.4),  # right, but not accepted: not found
        found("e", 500, top=300),  # right label, on no card
    ]
    scores = tally((cards, None, located))
    assert (scores.found.right, scores.found.total) == (1, 4)
    assert (scores.precise.right, scores.precise.total) == (2, 4)
    assert scores.by_visible["0.2 to 0.3"].right == 1
    assert (scores.by_visible["0.9 to 1"].right, scores.by_visible["0.9 to 1"].total) == (1, 3)
    assert scores.ece_matched == pytest.approx(
        (3 * (0.99 - 2 / 3) + 1 * 0.6) / 4
    )  # two bins: three of 0.99, one of 0.4
    assert scores.crowd_found.total == 0


def test_crowds_are_counted_apart_and_empty_scenes_too():
    crowd = [card(str(at), 100 * at) for at in range(9)]
    scores = tally(
        (crowd, None, [found("0", 0), found("1", 800)]),
        ([], None, []),
        ([], None, [found("a", 0, accepted=False, probability=0.2)]),
        ([], None, [found("a", 0)]),
    )
    assert scores.scenes == 4
    assert (scores.crowd_found.right, scores.crowd_found.total) == (1, 9)
    assert (scores.crowd_precise.right, scores.crowd_precise.total) == (1, 2)
    assert (scores.empty.right, scores.empty.total) == (2, 3)
    assert scores.ece_single is None


def test_scenes_are_read(tmp_path):
    line = {
        "file": "images/0.jpg",
        "cards": [{"label": "joker", "corners": box(3, 4), "visible": 0.5, "index_visible": True}],
        "distractors": ["back"],
        "deck": "one",
    }
    (tmp_path / "scenes.jsonl").write_text(json.dumps(line) + "\n" + json.dumps({"file": "1.jpg", "cards": []}) + "\n")
    first, second = read_scenes(tmp_path)
    assert first.file == tmp_path / "images/0.jpg"
    assert (first.cards[0].label, first.cards[0].visible) == ("joker", 0.5)
    assert first.cards[0].corners.tolist() == box(3, 4)
    assert second.cards == ()


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"cards": []}',
        '{"file": "0.jpg", "cards": [{"label": "joker", "corners": [[0, 0]], "visible": 1}]}',
        '{"file": "0.jpg", "cards": [{"label": "joker"}]}',
    ],
)
def test_a_broken_line_is_named(tmp_path, line):
    (tmp_path / "scenes.jsonl").write_text('{"file": "0.jpg", "cards": []}\n' + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        read_scenes(tmp_path)


def test_no_scenes(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_scenes(tmp_path)
    (tmp_path / "scenes.jsonl").touch()
    with pytest.raises(DataError, match="holds no scene"):
        read_scenes(tmp_path)
