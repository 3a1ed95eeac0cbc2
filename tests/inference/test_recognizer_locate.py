"""Finding and naming all cards, and how that goes together with naming one."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import fulldeck
from fulldeck.errors import ImageError, ModelError
from fulldeck.inference.picture import Picture
from fulldeck.inference.recognizer import LARGE, Located, LocatedCard, Prediction, Recognizer
from located_cards import BLUE, GREEN, RED, SIDES, table

THREE = {(62, 50): RED, (202, 54): GREEN, (130, 134): BLUE}
PALE = (190, 100, 100)
"""A card whose outline is clear enough, and which the tiny model does not name with confidence."""


@pytest.fixture
def recognizer(tiny_model, tiny_locator):
    return Recognizer(tiny_model, threads=1, locator=tiny_locator)


@pytest.fixture
def labels(tiny_model):
    """What the tiny model calls a colour."""
    whole = Recognizer(tiny_model)
    return {colour: whole.classify(np.full((48, 48, 3), colour, np.uint8)).label for colour in (RED, GREEN, BLUE, PALE)}


def png(pixels):
    return cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()


def test_every_card_is_found_and_named_in_reading_order(recognizer, labels):
    located = recognizer.locate(table(THREE))
    assert [card.label for card in located.cards] == [labels[RED], labels[GREEN], labels[BLUE]]
    assert len(set(labels.values())) >= 3
    assert (located.width, located.height) == (320, 192)
    for card, middle in zip(located, THREE, strict=True):
        assert isinstance(card, Prediction)
        assert card.accepted
        assert card.visible == pytest.approx(1, abs=0.05)
        np.testing.assert_allclose(card.corners, np.float32(middle) + SIDES, atol=2.5)
    assert len(located) == 3
    assert hash(located)


def test_corners_are_in_pixels_of_the_image_however_it_comes(recognizer, tmp_path):
    small = recognizer.locate(table(THREE))
    large = table(THREE, times=16)  # 5120x3072, searched at half of that
    cv2.imwrite(str(tmp_path / "a.jpg"), large[:, :, ::-1])
    for image in (large, tmp_path / "a.jpg"):
        located = recognizer.locate(image)
        assert (located.width, located.height) == (5120, 3072)
        for card, other in zip(located.cards, small.cards, strict=True):
            assert card.label == other.label
            np.testing.assert_allclose(np.array(card.corners) / 16, other.corners, atol=0.5)


def test_a_card_that_fills_the_picture_is_one_card_for_both(recognizer, labels):
    picture = np.full((280, 200, 3), GREEN, np.uint8)
    (card,) = recognizer.locate(picture).cards
    assert card.label == recognizer.classify(picture).label == labels[GREEN]
    assert card.probability == recognizer.classify(picture).probability
    # The tiny locator's outlines are small ones, so the picture's own corners stand for the card's.
    assert card.corners == ((0, 0), (200, 0), (200, 280), (0, 280))
    assert card.visible == 1


def test_the_outline_that_covers_most_is_the_filling_cards(tiny_model, make_locator):
    wide = [(-128, -80), (128, -80), (128, 80), (-128, 80)]
    picture = table({})
    picture[14:-14, 32:-32] = GREEN
    recognizer = Recognizer(tiny_model, locator=make_locator(card=wide))
    (card,) = recognizer.locate(picture).cards
    assert card.label == recognizer.classify(picture).label
    np.testing.assert_allclose(card.corners, np.float32([160, 96]) + np.float32(wide), atol=5)


def test_classify_names_the_accepted_card_that_shows_most(tiny_model, tiny_locator, labels):
    recognizer = Recognizer(tiny_model, locator=tiny_locator)
    assert not Recognizer(tiny_model).classify(table(THREE)).accepted  # the whole of it says nothing
    located = recognizer.locate(table(THREE))
    named = recognizer.classify(table(THREE))
    assert type(named) is Prediction
    assert named.accepted
    best = max(located.cards, key=lambda card: card.visible * card.probability)
    assert (named.label, named.probability) == (best.label, best.probability)
    # An accepted card goes before one that is not, wherever they lie.
    for cards in ({(62, 50): PALE, (202, 134): RED}, {(62, 50): RED, (202, 134): PALE}):
        assert recognizer.classify(table(cards)).label == labels[RED]
        assert [card.accepted for card in recognizer.locate(table(cards)).cards].count(True) == 1


def test_the_first_answer_stands_where_no_card_can_be_read(tiny_model, make_locator):
    recognizer = Recognizer(tiny_model, locator=make_locator(), threshold=1.0)
    own, picture = recognizer.info.threshold, Picture(table({(102, 102): RED}))
    for probability, stands in ((own, True), (own - 0.01, False)):  # by the model's own threshold, whatever accepted it
        whole = Prediction("joker", probability, accepted=True, alternatives=())
        assert (recognizer.second_look(picture, whole) == whole) is stands


def test_many_pictures_are_answered_as_each_alone(recognizer):
    pictures = [table(THREE), np.full((60, 60, 3), RED, np.uint8), table({}), png(table({(102, 102): BLUE}))] * 5
    alone = [recognizer.classify(picture) for picture in pictures]
    together = recognizer.classify(pictures)
    assert [prediction.label for prediction in together] == [prediction.label for prediction in alone]
    assert [prediction.accepted for prediction in together] == [True, True, False, True] * 5
    located = recognizer.locate(pictures[:4])
    assert [len(each) for each in located] == [3, 1, 0, 1]


def test_no_card_gives_none_and_no_accepted_name(recognizer):
    noise = np.random.default_rng(0).integers(90, 166, (200, 300, 3), dtype=np.uint8)
    for picture in (table({}), noise):
        assert recognizer.locate(picture).cards == ()
        assert not recognizer.classify(picture).accepted


def test_a_clear_outline_that_cannot_be_read_is_reported_and_a_faint_one_is_not(tiny_model, make_locator):
    recognizer = Recognizer(tiny_model, locator=make_locator(), threshold=1.0)
    (card,) = recognizer.locate(table({(102, 102): RED})).cards
    assert not card.accepted
    assert recognizer.classify(table({(102, 102): RED})).label == card.label
    faint = table({(102, 102): (180, 100, 100)})  # scored 0.4: above the locator's threshold
    assert recognizer.locate(faint).cards == ()
    assert len(Recognizer(tiny_model, locator=make_locator(), threshold=0).locate(faint).cards) == 1


@pytest.mark.parametrize("side", [130, 60])
def test_a_large_card_of_a_faint_outline_is_found_where_no_other_is_read(
    tiny_model, make_locator, locator_metadata, labels, side
):
    strict = locator_metadata | {"threshold": 0.95}
    square = np.float32([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * side
    locator = make_locator(card=[tuple(corner) for corner in square.tolist()], metadata=strict)
    photo = table({})
    cv2.rectangle(photo, *np.rint(np.float32([162, 98]) + square[[0, 2]] * 0.94).astype(int).tolist(), RED, -1)
    assert not Recognizer(tiny_model).classify(photo).accepted
    recognizer = Recognizer(tiny_model, locator=locator)
    cards = recognizer.locate(photo).cards
    if side * side > LARGE * 320 * 192:
        assert [card.label for card in cards] == [labels[RED]]
        assert recognizer.classify(photo).accepted
    else:
        assert cards == ()
        assert not recognizer.classify(photo).accepted


def test_a_low_threshold_accepts_doubtful_cards_and_finds_them_all_the_same(tiny_model, tiny_locator):
    eager = Recognizer(tiny_model, locator=tiny_locator, threshold=0)
    assert [card.accepted for card in eager.locate(table(THREE)).cards] == [True] * 3
    (whole,) = eager.locate(table({})).cards  # nothing else is there, and this is accepted, too
    assert whole.label == eager.classify(table({})).label
    assert eager.classify(table({})).accepted


def test_one_card_found_twice_is_one(recognizer, labels):
    photo = table({(98, 98): RED, (106, 98): RED})  # the locator finds an outline each at 98, 102 and 106
    assert [card.label for card in recognizer.locate(photo).cards] == [labels[RED]]
    photo = table({(98, 98): RED, (170, 98): RED})  # of two decks
    assert [card.label for card in recognizer.locate(photo).cards] == [labels[RED]] * 2


def test_a_model_without_a_locator_sees_only_the_whole(tiny_model):
    recognizer = Recognizer(tiny_model)
    assert recognizer.locator_path is None
    assert recognizer.locate(table(THREE)) == Located((), 320, 192)
    (card,) = recognizer.locate(np.full((50, 40, 3), RED, np.uint8)).cards
    assert card == LocatedCard(
        **{name: getattr(recognizer.classify(np.full((50, 40, 3), RED, np.uint8)), name) for name in PREDICTION},
        corners=((0, 0), (40, 0), (40, 50), (0, 50)),
        visible=1,
    )


PREDICTION = ("label", "probability", "accepted", "alternatives")


def test_a_locator_beside_the_model_is_its_locator(tmp_path, tiny_model, tiny_locator):
    shutil.copy(tiny_model, tmp_path / "model.onnx")
    shutil.copy(tiny_locator, tmp_path / "locator.onnx")
    assert len(Recognizer(tmp_path / "model.onnx").locate(table(THREE)).cards) == 3


def test_a_locator_that_is_not_there_is_said_at_once(tiny_model, tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx: there is no such locator file"):
        Recognizer(tiny_model, locator=tmp_path / "none.onnx")


def test_a_locator_that_is_none_is_said_when_it_is_needed(tiny_model):
    recognizer = Recognizer(tiny_model, locator=tiny_model)
    assert recognizer.classify(np.full((50, 40, 3), RED, np.uint8)).accepted
    with pytest.raises(ModelError, match="a locator is wanted here"):
        recognizer.classify(table(THREE))


def test_errors_name_the_image(recognizer):
    with pytest.raises(ImageError, match=r"^mine: this is no image"):
        recognizer.locate(b"text", "mine")
    with pytest.raises(ImageError, match=r"^image 1: this is no image"):
        recognizer.locate([table({}), b"text"])
    assert recognizer.locate([]) == []


def test_threads_may_share_one(recognizer):
    pictures = [table(THREE), table({(102, 102): BLUE}), table({})] * 6
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(recognizer.locate, pictures)) == [recognizer.locate(picture) for picture in pictures]


def test_the_package_opens_onto_the_results():
    assert fulldeck.Located is Located
    assert fulldeck.LocatedCard is LocatedCard


MEMORY = """
import resource, sys
from fulldeck import Recognizer
recognizer = Recognizer(sys.argv[1], locator=sys.argv[2], threads=1)
recognizer.locate(sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
located = recognizer.locate(sys.argv[4])
assert (located.width, located.height) == (8192, 6144), located
assert recognizer.classify(sys.argv[4]).accepted
print(len(located.cards), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize(("kind", "mebibytes"), [("jpg", 64), ("png", 480)])
def test_a_photo_of_fifty_megapixels_takes_bounded_memory(tiny_model, tiny_locator, tmp_path, kind, mebibytes):
    small, large = tmp_path / "small.png", tmp_path / f"large.{kind}"
    cv2.imwrite(str(small), table({(102, 102): RED}))
    photo = table({(102, 102): RED, (62, 202): BLUE}, size=(320, 240), times=25.6)
    cv2.imwrite(str(large), photo[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    command = [sys.executable, "-c", MEMORY, tiny_model, tiny_locator, small, large]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    cards, more = result.stdout.split()
    assert int(cards) == 2
    assert float(more) < mebibytes  # its pixels alone are 144
