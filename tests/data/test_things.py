import numpy as np
import pytest

from fulldeck.data import surfaces, things
from fulldeck.data.deck.chance import generator

THINGS = [
    things.back,
    things.business_card,
    things.chip,
    things.die,
    things.domino,
    things.game_card,
    things.screen,
    things.written_paper,
]


@pytest.mark.parametrize("draw", THINGS, ids=lambda draw: draw.__name__)
def test_a_thing_is_rgb_with_an_outline_and_no_two_are_alike(draw):
    drawn = [draw(generator(3, n)) for n in (0, 1, 2, 3, 0)]
    for pixels, mask in drawn:
        assert pixels.dtype == mask.dtype == np.uint8
        assert pixels.shape == (*mask.shape, 3)
        assert mask.max() == 255
        assert mask[0, 0] < 200  # corners are round
        assert 0.5 < (mask > 127).mean() <= 1
    assert np.array_equal(drawn[0].pixels, drawn[-1].pixels)
    assert len({thing.pixels.tobytes() for thing in drawn}) == 4


@pytest.mark.parametrize("paint", [surfaces.texture, surfaces.noise, surfaces.blank, surfaces.gradient])
def test_surfaces_have_the_side_asked_for_and_differ(paint):
    painted = [paint(generator(5, n), 96) for n in range(8)]
    assert {(picture.shape, picture.dtype.name) for picture in painted} == {((96, 96, 3), "uint8")}
    assert len({picture.tobytes() for picture in painted}) > 4
    assert np.array_equal(painted[0], paint(generator(5, 0), 96))


def test_mottle_runs_from_nought_to_one():
    field = surfaces.mottle(generator(1), 64, 4)
    assert (field.min(), field.max()) == (0, 1)
    assert np.abs(np.diff(field, axis=0)).max() < 0.5
