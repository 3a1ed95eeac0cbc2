from dataclasses import replace

import numpy as np
import pytest

from fulldeck.cards import LABELS, Card, CardError
from fulldeck.data.deck import card_mask, deck_style, draw_card, style_names
from fulldeck.data.deck.stock import Stock
from fulldeck.data.deck.style import Field, Index

# a deck that can be measured: white, plain stock, black and red, no frames, no border
PLAIN = replace(deck_style(0, 0, "classic"), stock=Stock((255, 255, 255)), border=None, ace="plain")


def half_turned(face):
    return face[::-1, ::-1]


def ink(face):
    """Where something is printed, bool [H, W]."""
    return face.min(axis=2) < 128


@pytest.mark.parametrize("name", style_names())
def test_every_style_draws_all_53_faces_and_no_two_alike(name):
    style = deck_style(2, 3, name)
    faces = {draw_card(label, style, (50, 70)).tobytes() for label in LABELS}
    assert len(faces) == 53


def test_a_face_is_rgb_of_the_size_asked_for():
    face = draw_card("ten of hearts", PLAIN, (120, 90))
    assert face.shape == (90, 120, 3)
    assert face.dtype == np.uint8


def test_a_card_and_its_label_draw_the_same_face():
    assert np.array_equal(draw_card(Card.parse("QS"), PLAIN), draw_card("queen of spades", PLAIN))


def test_the_same_face_has_the_same_bytes():
    assert np.array_equal(draw_card("king of clubs", PLAIN), draw_card("king of clubs", PLAIN))


def test_what_is_no_label_is_refused():
    with pytest.raises(CardError, match="'one of clubs'"):
        draw_card("one of clubs", PLAIN)


@pytest.mark.parametrize("rank", ["two", "four", "ten"])
def test_even_cards_look_the_same_upside_down(rank):
    face = draw_card(f"{rank} of clubs", PLAIN, (250, 350))
    assert (ink(face) != ink(half_turned(face))).mean() < 0.01


def test_an_odd_card_shows_which_way_up_it_is_only_in_its_middle():
    face = draw_card("seven of hearts", PLAIN, (250, 350))
    differs = ink(face) != ink(half_turned(face))
    assert differs[:, 100:150].mean() > 0.01
    assert differs[:, :40].mean() < 0.01


def test_both_corners_carry_an_index_and_the_second_is_upside_down():
    face = draw_card("king of spades", replace(PLAIN, index=replace(PLAIN.index, corners=2)), (250, 350))
    top = ink(face)[:60, :36]
    bottom = ink(face)[-60:, -36:]
    assert top.mean() > 0.1
    assert (top != half_turned(bottom)).mean() < 0.02
    assert ink(face)[:60, -25:].mean() < top.mean() / 4


def test_four_corner_decks_have_four():
    face = draw_card("two of spades", replace(PLAIN, index=replace(PLAIN.index, corners=4)), (250, 350))
    corners = [
        ink(face)[rows, columns].mean()
        for rows in (slice(60), slice(-60, None))
        for columns in (slice(36), slice(-36, None))
    ]
    assert min(corners) > 0.1


def test_red_suits_are_red_and_black_suits_are_not():
    hearts, spades = (
        draw_card(f"nine of {suit}", PLAIN)[ink(draw_card(f"nine of {suit}", PLAIN))] for suit in ("hearts", "spades")
    )
    assert hearts[:, 0].mean() > 2 * hearts[:, 2].mean()
    assert abs(spades[:, 0].mean() - spades[:, 2].mean()) < 30


def test_more_pips_print_more_ink():
    ranks = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    amounts = [ink(draw_card(f"{rank} of diamonds", PLAIN))[:, 45:-45].sum() for rank in ranks]
    assert amounts == sorted(amounts)


def test_the_mask_leaves_the_corners_out_and_the_card_in():
    mask = card_mask(PLAIN, (125, 175))
    assert mask.shape == (175, 125)
    assert mask[0, 0] == mask[-1, -1] == mask[0, -1] == 0
    assert mask[87].min() == 255
    assert 0.95 < mask.mean() / 255 < 1


def test_rank_and_suit_may_stand_apart_and_only_above():
    apart = replace(PLAIN, index=Index(corners=1, across=True), field=Field(kind="single", pip=100, low=60))
    face = ink(draw_card("seven of hearts", apart, (250, 350)))
    left, right, below = face[:60, :60], face[:60, -60:], face[-60:]
    assert left.any()
    assert right.any()
    assert not below.any()
    rows = np.nonzero(face[100:].any(axis=1))[0] + 100
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(175 + 60, abs=8)
