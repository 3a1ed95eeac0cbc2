import cv2
import numpy as np

from fulldeck.data.deck import card_mask, deck_style, draw_card
from fulldeck.data.deck.chance import generator
from fulldeck.data.photo import FACE, jpeg, photograph

STYLE = deck_style(0, 0, "classic")
CARD = draw_card("nine of hearts", STYLE, FACE), card_mask(STYLE, FACE)


def test_a_photograph_is_rgb_224_square():
    image = photograph(*CARD, generator(1))
    assert image.shape == (224, 224, 3)
    assert image.dtype == np.uint8


def test_each_photograph_is_another_but_the_same_for_the_same_generator():
    images = [photograph(*CARD, generator(1, n)).tobytes() for n in (0, 1, 2, 0)]
    assert images[0] == images[3]
    assert len(set(images)) == 3


def test_the_card_stays_in_sight():
    # red ink in the middle, where the nine's middle pip stands, whatever the light and the turn
    for n in range(20):
        middle = photograph(*CARD, generator(2, n))[100:124, 100:124].reshape(-1, 3).astype(int)
        assert (middle[:, 0] - middle[:, 2]).max() > 40


def test_jpeg_keeps_the_colours_in_their_order():
    image = np.zeros((224, 224, 3), np.uint8)
    image[:] = (200, 30, 60)
    decoded = cv2.imdecode(np.frombuffer(jpeg(image, generator(0)), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decoded.astype(int) - (200, 30, 60)).max() < 8
