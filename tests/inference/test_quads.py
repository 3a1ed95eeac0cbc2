import numpy as np
import pytest

from fulldeck.inference import quads


def box(left, top, right, bottom):
    return np.float32([(left, top), (right, top), (right, bottom), (left, bottom)])


def turned(quad, degrees):
    angle = np.deg2rad(degrees)
    middle = quad.mean(axis=0)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((quad - middle) @ matrix.T + middle).astype(np.float32)


def test_overlap_is_the_intersection_over_the_union():
    one = box(0, 0, 10, 10)
    assert quads.overlap(one, one) == pytest.approx(1)
    assert quads.overlap(one, box(5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert quads.overlap(one, box(10, 0, 20, 10)) == 0
    assert quads.overlap(one, box(30, 30, 40, 40)) == 0
    assert quads.overlap(one, box(2, 2, 4, 4)) == pytest.approx(4 / 100)
    # A square and itself turned by 45 degrees share a regular octagon of 8 (sqrt 2 - 1) times its half side squared.
    assert quads.shared(one, turned(one, 45)) == pytest.approx(8 * (2**0.5 - 1) * 25, rel=1e-4)


def test_the_bounding_boxes_of_two_may_overlap_where_they_do_not():
    one = turned(box(0, 0, 10, 10), 45)
    assert quads.shared(one, one + np.float32([9, 9])) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("degrees", [0, 17, 90, 180, 271])
def test_a_card_at_any_angle_is_plausible_and_its_mirror_image_is_not(degrees):
    card = turned(box(100, 100, 140, 156), degrees)
    assert quads.plausible(card, 320, 192)
    assert not quads.plausible(card[::-1], 320, 192)


def test_a_card_may_run_out_of_the_picture_but_not_be_outside():
    assert quads.plausible(box(-30, -30, 40, 50), 320, 192)
    assert quads.plausible(box(-80, -60, 400, 260), 320, 192)
    assert not quads.plausible(box(-60, 20, -20, 76), 320, 192)


def test_they_are_read_by_rows_and_from_left_to_right():
    places = [(210, 15), (10, 10), (110, 0), (5, 120), (220, 110), (100, 300)]
    cards = [box(x, y, x + 70, y + 100) for x, y in places]
    assert quads.reading_order(cards) == [1, 2, 0, 3, 4, 5]
    assert quads.reading_order([]) == []
