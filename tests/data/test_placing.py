import numpy as np
import pytest

from fulldeck.data.deck.chance import generator
from fulldeck.data.placing import ASPECT, covered, placed, within

# red above, green below: nothing that lies around is as pure
CARD = np.zeros((200, 200, 3), np.uint8)
CARD[:100, :, 0] = CARD[100:, :, 1] = 255


def where(picture, channel):
    """The middle and the area of what is purely one colour."""
    pure = (picture[:, :, channel] > 250) & (picture.astype(int).sum(axis=2) < 270)
    y, x = np.nonzero(pure)
    return np.array([x.mean(), y.mean()]), pure.sum()


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, 285])
def test_a_card_lies_at_the_turn_and_the_size_asked_for(degrees):
    scene = placed(CARD, (400, 300), 150, degrees, generator(3, degrees))
    assert (scene.shape, scene.dtype) == ((300, 400, 3), np.uint8)
    (red, red_area), (green, green_area) = where(scene, 0), where(scene, 1)
    assert red_area + green_area == pytest.approx(150 * 150 * ASPECT, rel=0.05)
    turn = np.degrees(np.arctan2(*(green - red)))  # the way down on the card: 0 is straight down
    assert (turn - degrees + 180) % 360 - 180 == pytest.approx(0, abs=2)
    assert np.linalg.norm(green - red) == pytest.approx(75, abs=2)


def test_a_picture_that_is_not_square_keeps_its_proportions():
    scene = placed(CARD[:, :50], (400, 300), 200, 0, generator(4))
    areas = where(scene, 0)[1] + where(scene, 1)[1]
    assert areas == pytest.approx(200 * 50, rel=0.06)


def test_a_card_as_high_as_the_frame_is_whole_in_it():
    scene = placed(CARD, (640, 360), 360, 0, generator(5))
    assert where(scene, 0)[1] + where(scene, 1)[1] == pytest.approx(360 * 360 * ASPECT, rel=0.03)


def test_the_part_asked_for_is_covered_from_some_side():
    sides = set()
    for seed in range(30):
        hidden = (covered(CARD, 0.3, generator(seed)) != CARD).any(axis=2)
        assert 0.2 < hidden.mean() <= 0.3
        sides.add(tuple(np.rint(np.argwhere(hidden).mean(axis=0) / 50).astype(int).tolist()))
    assert len(sides) == 4
    assert np.array_equal(covered(CARD, 0, generator(1)), CARD)


def test_within():
    assert within(CARD, 500) is CARD
    assert within(CARD[:, :100], 50).shape == (50, 25, 3)
