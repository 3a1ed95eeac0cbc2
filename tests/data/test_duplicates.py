import cv2
import numpy as np
import pytest

from fulldeck.data.deck import deck_style, draw_card
from fulldeck.data.duplicates import LIMIT, difference, joined, near_pairs, thumbnail

SIDE = 224


def card(label, style="classic", deck=1):
    return draw_card(label, deck_style(4, deck, style), (SIDE, SIDE))


def apart(a, b):
    return difference(thumbnail(a), thumbnail(b), LIMIT)


def jpeg(picture, quality):
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


CHANGES = {
    "recompressed": lambda p: jpeg(p, 40),
    "half the size": lambda p: cv2.resize(p, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA),
    "another shape": lambda p: cv2.resize(p, (300, 420)),
    "darker": lambda p: (p * 0.7).astype(np.uint8),
    "warmer": lambda p: np.clip(p * np.array([1.0, 0.95, 0.8]), 0, 255).astype(np.uint8),
    "blurred": lambda p: cv2.GaussianBlur(p, (0, 0), 1.2),
    "noisy": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 10, p.shape), 0, 255).astype(np.uint8),
    "cropped": lambda p: np.ascontiguousarray(p[3:-3, 3:-3]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("label", ["seven of spades", "king of hearts", "ace of diamonds"])
def test_a_changed_copy_is_the_same_picture(label, change):
    picture = card(label)
    assert apart(picture, CHANGES[change](picture)) <= LIMIT


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("seven of spades", "seven of clubs"),  # another suit
        ("seven of hearts", "seven of diamonds"),
        ("nine of spades", "ten of spades"),  # a pip more
        ("jack of hearts", "king of hearts"),
        ("four of clubs", "four of diamonds"),  # another colour
    ],
)
def test_cards_of_one_deck_are_different_pictures(one, other):
    assert apart(card(one), card(other)) > LIMIT


def test_a_corner_alone_makes_the_difference():
    nine, six = card("nine of hearts"), card("nine of hearts")
    corner = card("six of hearts")
    six[:60, :36] = corner[:60, :36]
    assert apart(nine, six) > LIMIT


def test_decks_are_different_pictures():
    assert apart(card("seven of spades"), card("seven of spades", "noir", 2)) > LIMIT


def test_upside_down_is_another_picture():
    picture = card("seven of spades")
    assert apart(picture, np.ascontiguousarray(picture[::-1, ::-1])) > LIMIT


def test_the_difference_of_a_picture_to_itself_is_none_and_the_order_is_no_matter():
    one, other = thumbnail(card("two of clubs")), thumbnail(card("three of clubs"))
    assert difference(one, one) == 0
    assert difference(one, other) == pytest.approx(difference(other, one), rel=0.25)


def test_pairs_are_found_among_many():
    pictures = [card(label) for label in ("two of clubs", "two of spades", "king of hearts", "ten of diamonds")]
    pictures += [jpeg(pictures[2], 60), np.full((SIDE, SIDE, 3), 255, np.uint8)]
    seen = []
    pairs = near_pairs(np.stack([thumbnail(picture) for picture in pictures]), watch=seen.append)
    assert [pair[:2] for pair in pairs] == [(2, 4)]
    assert 0 < pairs[0][2] <= LIMIT
    assert seen[-1] == 6


def test_more_pictures_than_one_block():
    rng = np.random.default_rng(1)
    small = rng.integers(0, 255, (600, 6, 6, 3), dtype=np.uint8)
    thumbs = np.stack([cv2.resize(picture, (96, 96), interpolation=cv2.INTER_CUBIC) for picture in small])
    thumbs[599] = thumbs[3]
    thumbs[300] = thumbs[299]
    assert near_pairs(thumbs) == [(3, 599, 0.0), (299, 300, 0.0)]


def test_no_picture_has_no_pair():
    assert near_pairs(np.empty((0, 96, 96, 3), np.uint8)) == []


def test_pairs_join_to_groups():
    assert joined(7, [(5, 1), (1, 3), (4, 6), (2, 2)]) == [[1, 3, 5], [4, 6]]
    assert joined(3, []) == []
