import json

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from fulldeck.errors import ModelError
from fulldeck.inference import locate
from fulldeck.inference.locate import MAX_CARDS, Found, Locator, letterboxed, peaks
from fulldeck.inference.seal import seal
from fulldeck.inference.session import open_session
from located_cards import RED, SIDES, table


def test_it_finds_each_cards_corners(tiny_locator):
    photo = table({(62, 50): RED, (202, 50): RED, (130, 130): RED})
    found = Locator(tiny_locator).find(photo)
    assert len(found) == 3
    for one in found:
        assert one.quad.shape == (4, 2)
        assert one.score == pytest.approx(1, abs=0.02)
        assert one.visible == one.score
    middles = sorted(tuple(one.quad.mean(axis=0).round().tolist()) for one in found)
    np.testing.assert_allclose(middles, [(62, 50), (130, 130), (202, 50)], atol=2)
    left = min(found, key=lambda one: one.quad[0, 0])
    np.testing.assert_allclose(left.quad, np.float32([62, 50]) + SIDES, atol=2)


@pytest.mark.parametrize("times", [0.5, 3, 6.4])
def test_corners_are_in_pixels_of_the_photo_whatever_its_size(tiny_locator, times):
    photo = table({(98, 62): RED, (230, 102): RED}, size=(320, 170), times=times)  # 170: padded to 192 below
    found = sorted(Locator(tiny_locator).find(photo), key=lambda one: one.quad[0, 0])
    assert len(found) == 2
    for one, middle in zip(found, [(98, 62), (230, 102)], strict=True):
        np.testing.assert_allclose(one.quad, (np.float32(middle) + SIDES) * times, atol=2.5 * max(times, 1))


def test_an_upright_photo_is_searched_as_well(tiny_locator):
    found = Locator(tiny_locator).find(table({(50, 250): RED}, size=(200, 320)))
    assert [tuple(one.quad.mean(axis=0).round()) for one in found] == [(50, 250)]


def test_turned_cards_keep_their_own_order_of_corners(make_locator):
    turned = SIDES[[1, 2, 3, 0]]  # its top left corner lies at the upper right
    (one,) = Locator(make_locator(card=turned)).find(table({(102, 102): RED}))
    np.testing.assert_allclose(one.quad, np.float32([102, 102]) + turned, atol=2)


def test_a_refiner_mends_corners_that_are_off(make_locator):
    photo = table({(62, 102): RED, (202, 58): RED}, times=2.5)
    true = [(np.float32(middle) + SIDES) * 2.5 for middle in [(62, 102), (202, 58)]]
    off = [quad + np.float32([(9, -6), (-8, -6), (-8, 7), (9, 7)]) for quad in true]
    locator = Locator(make_locator(refines=True))
    found = [Found(quad, score=0.8, visible=0.7) for quad in off]
    for mended, quad in zip(locator.refine(photo, found), true, strict=True):
        np.testing.assert_allclose(mended.quad, quad, atol=3)  # a pixel of a square is two of the photo
        assert (mended.score, mended.visible) == (0.8, 0.7)
    assert locator.refine(photo, []) == []


def test_what_a_file_with_a_refiner_finds_is_mended(make_locator):
    wide = SIDES * np.float32([1.1, 0.9])
    photo = table({(62, 102): RED, (202, 58): RED})
    cards = {"card": [tuple(corner) for corner in wide.tolist()]}
    for refines in (False, True):
        found = Locator(make_locator(**cards, refines=refines)).find(photo)
        middles = np.float32([(62, 102), (202, 58)])
        off = [min(np.abs(one.quad - middle - SIDES).max() for middle in middles) for one in found]  # in pixels
        assert len(found) == 2 if refines else len(found) >= 2
        assert max(off) < 1 if refines else min(off) > 1.9


def test_a_runtime_that_takes_no_empty_batch_gets_none(make_locator, monkeypatch):
    """Such as ONNX Runtime 1.27 to 1.30."""

    class Strict:
        def __init__(self, session):
            self.session = session

        def run(self, names, given):
            if not all(map(len, given.values())):
                raise Fail("a node cannot be reshaped")
            return self.session.run(names, given)

        def __getattr__(self, name):
            return getattr(self.session, name)

    def opened(*args):
        session, metadata = open_session(*args)
        return Strict(session), metadata

    photo = table({(102, 102): RED})
    file = make_locator(refines=True)
    expected = Locator(file).find(photo)
    monkeypatch.setattr(locate, "open_session", opened)
    found = Locator(file).find(photo)
    assert len(found) == len(expected) == 1
    np.testing.assert_array_equal(found[0].quad, expected[0].quad)


def test_a_card_that_was_found_twice_is_one_when_it_is_mended(make_locator):
    photo = table({(102, 102): RED})
    found = Locator(make_locator(card=[(-20, -24), (20, -24), (20, 24), (-20, 24)], refines=True)).find(photo)
    assert len(found) == 1
    np.testing.assert_allclose(found[0].quad, np.float32([102, 102]) + SIDES, atol=1)


def test_corners_that_make_no_card_are_not_taken_from_a_refiner(make_locator):
    photo = table({}, times=2)
    photo[150:260, 203:205] = RED  # a line
    quad = (np.float32([102, 102]) + SIDES) * 2
    (one,) = Locator(make_locator(refines=True)).refine(photo, [Found(quad, score=0.8, visible=0.7)])
    np.testing.assert_array_equal(one.quad, quad)


def test_nothing_is_found_on_a_bare_table(tiny_locator):
    assert Locator(tiny_locator).find(table({})) == []
    assert Locator(tiny_locator).find(np.full((8, 2000, 3), 128, np.uint8)) == []
    assert Locator(tiny_locator).find(np.full((8, 8, 3), 128, np.uint8)) == []


def test_a_plain_of_peaks_gives_no_outline_twice(tiny_locator):
    photo = np.full((192, 320, 3), RED, np.uint8)  # every cell is a peak
    found = Locator(tiny_locator).find(photo)
    assert 1 < len(found) <= MAX_CARDS
    corners = {tuple(one.quad.ravel().tolist()) for one in found}
    assert len(corners) == len(found)
    for one in found:
        assert sum(np.abs(one.quad - other.quad).max() < 2 for other in found) == 1


@pytest.mark.parametrize(
    "card",
    [
        SIDES[::-1],  # mirrored
        SIDES[[0, 2, 1, 3]],  # crossed
        [(-20, -28), (20, -28), (-15, -20), (-20, 28)],  # a dent
        [(-1, -28), (1, -28), (1, 28), (-1, 28)],  # nothing but an edge
        [(-150, -5), (150, -5), (150, 5), (-150, 5)],  # too long
        [(-20, -28), (1000, -28), (1000, 28), (-20, 28)],
        [(np.nan, -28), (20, -28), (20, 28), (-20, 28)],
        [(400, 20), (440, 20), (440, 76), (400, 76)],  # wholly outside
    ],
)
def test_what_no_card_looks_like_is_left_out(tmp_path, make_locator, card):
    onnx = pytest.importorskip("onnx")
    path = make_locator()
    model = onnx.load(path)
    del model.metadata_props[1:]  # the seal, which is written anew
    (offsets,) = (constant for constant in model.graph.initializer if constant.name == "offsets")
    offsets.CopyFrom(onnx.numpy_helper.from_array(np.float32(card).reshape(8), "offsets"))
    path.write_bytes(seal(model.SerializeToString()))
    assert Locator(path).find(table({(102, 102): RED})) == []


def test_the_threshold_of_the_file_counts(make_locator, locator_metadata):
    pale = table({(102, 102): (160, 60, 60)})
    (seen,) = Locator(make_locator()).find(pale)
    assert seen.score == pytest.approx(0.5, abs=0.02)
    assert Locator(make_locator(metadata=locator_metadata | {"threshold": 0.6})).find(pale) == []


def test_peaks_are_the_highest_of_their_neighbourhood_and_come_highest_first():
    score = np.zeros((9, 9), np.float32)
    score[2, 3], score[2, 4], score[6, 6], score[0, 0], score[8, 0] = 0.5, 0.7, 0.9, 0.3, 0.2
    assert peaks(score, 0.3) == [(6, 6), (2, 4), (0, 0)]
    assert peaks(np.full((3, 3), np.nan, np.float32), 0.3) == []
    many = np.zeros((40, 40), np.float32)
    many[::2, ::2] = np.linspace(0.4, 0.9, 400).reshape(20, 20)
    assert len(peaks(many, 0.3)) == MAX_CARDS
    assert peaks(many, 0.3)[0] == (38, 38)


@pytest.mark.parametrize(
    ("shape", "padded", "seen"),
    [
        ((720, 1280), (192, 320), (320, 180)),
        ((1280, 720), (320, 192), (180, 320)),
        ((100, 100), (320, 320), (320, 320)),
        ((8, 2000), (32, 320), (320, 1)),
    ],
)
def test_a_photo_is_scaled_as_a_whole_and_padded(shape, padded, seen):
    picture, size = letterboxed(np.full((*shape, 3), 200, np.uint8), 320)
    assert picture.shape == (*padded, 3)
    assert size == seen
    assert (picture[: seen[1], : seen[0]] == 200).all()
    assert (picture[seen[1] :] == 114).all()
    assert (picture[:, seen[0] :] == 114).all()


def test_what_is_no_locator_is_refused(tmp_path, tiny_model, make_locator, locator_metadata):
    with pytest.raises(ModelError, match=r"none\.onnx: there is no such model file"):
        Locator(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match=r"tiny\.onnx: this model is a classifier, and a locator is wanted here"):
        Locator(tiny_model)
    with pytest.raises(ModelError, match="no fulldeck metadata"):
        Locator(make_locator(metadata=""))
    with pytest.raises(ModelError, match="its metadata field 'stride' is not"):
        Locator(make_locator(metadata=locator_metadata | {"stride": 0}))
    with pytest.raises(ModelError, match="its size 300 is no multiple of 32"):
        Locator(make_locator(metadata=locator_metadata | {"size": 300}))
    for name in ("score", "corners", "visible"):
        with pytest.raises(ModelError, match=f"it has no output '{name}'"):
            Locator(make_locator(leave_out=name))
    with pytest.raises(ModelError, match="it has no output 'refined'"):
        Locator(make_locator(leave_out="refined", refines=True))


def test_outputs_of_another_stride_than_the_file_says_are_refused(make_locator, locator_metadata):
    locator = Locator(make_locator(metadata=json.dumps(locator_metadata | {"stride": 8})))
    with pytest.raises(ModelError, match="its outputs have the shapes"):
        locator.find(table({}))
