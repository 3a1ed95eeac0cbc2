import numpy as np
import pytest

from fulldeck.cards import LABELS
from fulldeck.data.deck.chance import generator
from fulldeck.data.render import rendered_style
from fulldeck.data.scene import Drawn, Scene, compose_scene
from fulldeck.inference.rectify import MARGIN, rectify


@pytest.fixture(scope="module")
def deck():
    return Drawn(rendered_style(1, 2), "first")


def scenes(deck, count, **settings):
    return [compose_scene([deck], [], generator(3, number), side=320, **settings) for number in range(count)]


def test_the_same_seed_gives_the_same_scene(deck):
    first, again = (compose_scene([deck], [], generator(8), side=320) for _ in range(2))
    assert (first.picture == again.picture).all()
    assert [card.label for card in first.cards()] == [card.label for card in again.cards()]


def test_another_seed_gives_another(deck):
    first, other = (compose_scene([deck], [], generator(seed), side=320) for seed in (8, 9))
    assert first.picture.shape != other.picture.shape or (first.picture != other.picture).any()


def test_the_longer_side_is_the_one_asked_for(deck):
    assert {max(scene.picture.shape[:2]) for scene in scenes(deck, 6)} == {320}


@pytest.mark.parametrize(("fewest", "most"), [(0, 0), (1, 1), (2, 8)])
def test_as_many_cards_are_laid_as_asked_for_but_for_those_face_down(deck, fewest, most):
    for scene in scenes(deck, 12, cards=(fewest, most)):
        backs = scene.things.count("back")
        assert len(scene.laid) <= most
        assert len(scene.laid) + backs >= fewest


def test_truth_holds_labels_of_the_deck_and_shares_between_0_and_1(deck):
    cards = [card for scene in scenes(deck, 12) for card in scene.cards()]
    assert len(cards) > 10
    assert all(card.label in LABELS and card.deck == "first" and 0 < card.visible <= 1 for card in cards)


def test_a_cards_middle_is_a_pixel_of_it(deck):
    for scene in scenes(deck, 12):
        owners = [scene.owner[int(card.centre[1]), int(card.centre[0])] for card in scene.cards()]
        assert all(owner >= 0 for owner in owners)
        assert len(set(owners)) == len(owners)


def test_what_lies_within_a_cards_corners_is_its_face(deck):
    """Rectified by the true corners, a card looks like the face that was drawn, and not like its mirror image."""
    agreements = []
    for scene in scenes(deck, 20, cards=(1, 1)):
        for card in scene.cards():
            side = np.linalg.norm(card.corners[1] - card.corners[0])
            if card.visible < 0.97 or side < 70:
                continue
            cut = rectify(scene.picture, card.corners[None].astype(np.float32), 160)[0].mean(2)
            face = deck.face(card.label, generator(0))[:, :, :3]
            inner = slice(round(160 * MARGIN), 160 - round(160 * MARGIN))
            ideal = rectify(face, np.array([[[0, 0], [320, 0], [320, 448], [0, 448]]], np.float32), 160)[0].mean(2)
            own, mirrored = (
                np.corrcoef(cut[inner, inner].ravel(), other[inner, inner].ravel())[0, 1]
                for other in (ideal, ideal[:, ::-1])
            )
            agreements.append((own, mirrored))
    assert len(agreements) >= 4
    assert np.median([own for own, _ in agreements]) > 0.6
    assert all(own > mirrored - 0.05 for own, mirrored in agreements)


TEXTURE = np.full((140, 100, 4), 255, np.uint8)
SOURCE = np.array([[0, 0], [100, 0], [100, 140], [0, 140]], np.float32)


def laid(*corners):
    scene = Scene.on(np.zeros((300, 300, 3), np.uint8))
    for number, each in enumerate(corners):
        scene.lay_card((LABELS[number], "deck"), TEXTURE, SOURCE, np.asarray(each, np.float64))
    return scene


def upright(x, y):
    return [[x, y], [x + 100, y], [x + 100, y + 140], [x, y + 140]]


def test_a_lone_card_is_all_visible():
    (card,) = laid(upright(50, 60)).cards()
    assert card.visible == pytest.approx(1.0, abs=0.02)
    assert card.index_visible
    assert card.centre == pytest.approx([100, 130], abs=1.5)


def test_a_card_under_another_shows_what_is_left_of_it():
    under, over = laid(upright(50, 60), upright(80, 60)).cards()
    assert under.visible == pytest.approx(0.3, abs=0.02)
    assert over.visible == pytest.approx(1.0, abs=0.02)
    assert under.index_visible  # the strip of 30 pixels has the index, which is 17 wide
    assert under.centre[0] < 80


def test_a_card_whose_both_indices_are_covered_shows_none():
    card = laid(upright(50, 60), upright(40, 20), upright(80, 100)).cards()[0]
    assert 0 < card.visible < 0.6
    assert not card.index_visible


def test_a_card_that_is_covered_whole_is_no_part_of_the_truth():
    assert [card.label for card in laid(upright(50, 60), upright(50, 60)).cards()] == [LABELS[1]]


def test_a_card_that_runs_out_of_the_picture_shows_the_part_within():
    (card,) = laid(upright(-50, 60)).cards()
    assert card.visible == pytest.approx(0.5, abs=0.02)
    assert card.index_visible  # the lower right one
    (card,) = laid([[-60, -100], [40, -100], [40, 40], [-60, 40]]).cards()
    assert card.index_visible
    assert card.visible < 0.2


def test_what_is_put_on_top_belongs_to_no_card():
    scene = laid(upright(50, 60))
    mask = np.zeros((300, 300), np.uint8)
    mask[60:130] = 255
    scene.cover(mask, np.full((300, 300, 3), 90, np.uint8))
    (card,) = scene.cards()
    assert card.visible == pytest.approx(0.5, abs=0.02)
    assert scene.picture[100, 100].tolist() == [90, 90, 90]
