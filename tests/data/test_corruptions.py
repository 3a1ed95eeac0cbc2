import numpy as np
import pytest

from fulldeck.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fulldeck.data.deck import deck_style, draw_card

CARD = draw_card("nine of hearts", deck_style(0, 0, "classic"), (224, 224))


def damage(name, severity, picture=CARD):
    return float(np.abs(corrupt(picture, name, severity).astype(float) - picture).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_keeps_shape_and_type_and_does_not_touch_what_it_is_given(name):
    given = CARD.copy()
    for severity in SEVERITIES:
        spoilt = corrupt(given, name, severity)
        assert (spoilt.shape, spoilt.dtype) == (given.shape, np.uint8)
        assert not np.array_equal(spoilt, given)
    assert np.array_equal(given, CARD)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_spoils_alike(name):
    assert np.array_equal(corrupt(CARD, name, 3, seed=7), corrupt(CARD, name, 3, seed=7))


@pytest.mark.parametrize("name", ["gaussian noise", "shot noise", "fog", "motion blur", "elastic", "glare", "dim"])
def test_another_seed_spoils_otherwise(name):
    assert not np.array_equal(corrupt(CARD, name, 3, seed=7), corrupt(CARD, name, 3, seed=8))


# Saturate takes colour away at 1 and 2 and adds it from 3 on; elastic changes its kind in the same way, as published.
@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - {"saturate", "elastic"}))
def test_the_worst_severity_is_worse_than_the_mildest(name):
    assert damage(name, 5) > 1.1 * damage(name, 1)


def test_strengths_are_the_published_ones():
    assert CORRUPTIONS["gaussian noise"].strengths == (0.08, 0.12, 0.18, 0.26, 0.38)
    grey = np.full((224, 224, 3), 128, np.uint8)
    for severity, deviation in zip(SEVERITIES, CORRUPTIONS["gaussian noise"].strengths, strict=True):
        noise = (corrupt(grey, "gaussian noise", severity).astype(float) - 128) / 255
        assert np.median(np.abs(noise)) == pytest.approx(0.6745 * deviation, rel=0.05)  # of a normal distribution
    spoilt = (corrupt(grey, "impulse noise", 5) != 128).mean()
    assert spoilt == pytest.approx(0.27, abs=0.01)
    assert corrupt(grey, "brightness", 2)[0, 0, 0] == pytest.approx(128 + 0.2 * 255, abs=1)


def test_lengths_follow_the_size_of_the_picture():
    edge = np.zeros((224, 224, 3), np.uint8)
    edge[:, 112:] = 255
    large = edge.repeat(2, axis=0).repeat(2, axis=1)

    def width(picture):
        row = picture[len(picture) // 2, :, 0]
        return ((row > 12) & (row < 243)).sum()

    assert width(corrupt(large, "defocus blur", 3)) == pytest.approx(2 * width(corrupt(edge, "defocus blur", 3)), abs=3)


def test_any_shape_will_do():
    for name in CORRUPTIONS:
        assert corrupt(CARD[:96, :160], name, 5).shape == (96, 160, 3)
