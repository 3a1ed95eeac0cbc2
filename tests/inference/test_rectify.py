import cv2
import numpy as np
import pytest

from fulldeck.inference.image import resize
from fulldeck.inference.rectify import GREY, MARGIN, rectify

SIZE = 96


def face(width=250, height=350):
    """A smooth pattern that differs at every corner."""
    small = np.random.default_rng(5).integers(30, 226, (7, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def laid(card, quad, size=(900, 700)):
    """A photo in which a card lies with its corners at a quad."""
    height, width = card.shape[:2]
    corners = np.float32([(0, 0), (width, 0), (width, height), (0, height)]) - 0.5
    homography = cv2.getPerspectiveTransform(corners, np.float32(quad) - 0.5)
    area = cv2.INTER_AREA if cv2.contourArea(np.float32(quad)) < width * height else cv2.INTER_LINEAR
    return cv2.warpPerspective(card, homography, size, flags=area, borderMode=cv2.BORDER_REPLICATE)


QUADS = {
    "upright": [(300, 200), (550, 200), (550, 550), (300, 550)],
    "upside down": [(550, 550), (300, 550), (300, 200), (550, 200)],
    "turned": [(500, 150), (700, 310), (480, 590), (280, 430)],
    "in perspective": [(350, 180), (560, 200), (640, 600), (260, 560)],
}


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
def test_a_card_comes_out_upright_with_its_corners_at_the_margin(quad):
    card = face()
    (square,) = rectify(laid(card, quad), np.float32([quad]), SIZE)
    assert square.shape == (SIZE, SIZE, 3)
    inner = square[round(MARGIN * SIZE) : -round(MARGIN * SIZE), round(MARGIN * SIZE) : -round(MARGIN * SIZE)]
    wanted = resize(card, len(inner))
    difference = np.abs(inner.astype(int) - wanted)
    assert difference[3:-3, 3:-3].mean() < 3
    assert np.abs(square[4:-4, 4:-4].astype(int) - square[::-1, ::-1][4:-4, 4:-4]).mean() > 15  # so a half turn shows


def test_what_lies_outside_the_photo_is_grey():
    photo = np.full((100, 100, 3), 200, np.uint8)
    (square,) = rectify(photo, np.float32([[(-50, 0), (50, 0), (50, 100), (-50, 100)]]), SIZE)
    assert (square[8:-8, 4 : SIZE // 2 - 3] == GREY).all()
    assert (square[8:-8, SIZE // 2 + 3 : -4] == 200).all()


@pytest.mark.parametrize("times", [1, 2, 3, 5, 9, 16])
def test_a_large_card_is_averaged_not_sampled(times):
    side = SIZE * times
    checks = np.indices((side + 40, side + 40)).sum(axis=0) % 2 * 255
    photo = np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8)
    quad = [(20, 20), (side + 20, 20), (side + 20, side + 20), (20, side + 20)]
    (square,) = rectify(photo, np.float32([quad]), SIZE)
    if times > 1:
        assert np.abs(square[8:-8, 8:-8].astype(int) - 128).mean() < 30  # no moire


def test_as_many_squares_come_out_as_quads_went_in():
    photo = laid(face(), QUADS["turned"])
    together = rectify(photo, np.float32(list(QUADS.values())), SIZE)
    assert together.shape == (4, SIZE, SIZE, 3)
    for quad, square in zip(QUADS.values(), together, strict=True):
        np.testing.assert_array_equal(rectify(photo, np.float32([quad]), SIZE)[0], square)


def test_the_margin_shows_the_surroundings():
    photo = np.zeros((400, 400, 3), np.uint8)
    photo[100:300, 100:300] = 255
    (square,) = rectify(photo, np.float32([[(100, 100), (300, 100), (300, 300), (100, 300)]]), 200)
    edge = round(200 * MARGIN)
    assert (square[: edge - 2] == 0).all()
    assert (square[:, : edge - 2] == 0).all()
    assert (square[edge + 2 : -edge - 2, edge + 2 : -edge - 2] == 255).all()
