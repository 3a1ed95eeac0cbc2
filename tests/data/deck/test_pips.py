import numpy as np
import pytest

from fulldeck.data.deck.pips import PLACES, PipShape, pip

SUITS = ("clubs", "diamonds", "hearts", "spades")
NUMBERS = ("ace", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@pytest.mark.parametrize("decor", ["solid", "outline", "inline", "engraved", "pixel"])
def test_the_four_signs_differ_in_every_decor(decor):
    assert len({pip(suit, PipShape(decor=decor)).tobytes() for suit in SUITS}) == 4


@pytest.mark.parametrize("suit", SUITS)
def test_a_sign_is_the_same_left_and_right(suit):
    mask = pip(suit, PipShape()).astype(int)
    assert np.abs(mask - mask[:, ::-1]).mean() < 8


def test_hearts_point_down_and_spades_up():
    heart, spade = pip("hearts", PipShape()) > 128, pip("spades", PipShape()) > 128
    assert heart[: heart.shape[0] // 4].sum() > 2 * heart[-heart.shape[0] // 4 :].sum()
    assert spade[: spade.shape[0] // 8].sum() < spade[spade.shape[0] // 2 :][: spade.shape[0] // 8].sum() / 2


def test_an_outline_is_empty_inside():
    solid, outline = pip("hearts", PipShape()), pip("hearts", PipShape(decor="outline"))
    assert solid.shape == outline.shape
    assert solid[60, solid.shape[1] // 3] == 255
    assert outline[60, solid.shape[1] // 3] == 0


def test_each_number_has_its_count_of_pips_in_places_of_their_own():
    for count, rank in enumerate(NUMBERS, 1):
        assert len(PLACES[rank]) == len(set(PLACES[rank])) == count
