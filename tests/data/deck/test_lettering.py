import numpy as np
import pytest

from fulldeck.data.deck.lettering import Typeface, glyph, word

FACES = [
    Typeface(),
    Typeface(thick=0.2, thin=0.05, serif="slab", balls=True, variant=63),
    Typeface(thick=0.16, thin=0.08, serif="wedge", slant=0.2),
    Typeface(drawn=False, weight=4, width=0.7, slant=0.15),
]


@pytest.mark.parametrize("face", FACES, ids=range(len(FACES)))
def test_every_rank_and_court_letter_is_drawn_and_no_two_alike(face):
    masks = {glyph(face, char).tobytes() for char in "0123456789AJQKVDRBOE"}
    assert len(masks) == 20


@pytest.mark.parametrize("face", FACES, ids=range(len(FACES)))
def test_a_glyph_is_cropped_to_its_ink_and_mostly_paper(face):
    mask = glyph(face, "7")
    assert 80 < mask.shape[0] < 150
    assert mask[0].max() > 40
    assert mask[:, 0].max() > 40
    assert 0.1 < (mask > 128).mean() < 0.7


def test_heavier_pens_print_more():
    light, heavy = glyph(Typeface(thick=0.08, thin=0.08), "K"), glyph(Typeface(thick=0.2, thin=0.2), "K")
    assert (heavy > 128).sum() > 1.5 * (light > 128).sum()


def test_a_word_runs_across_or_down():
    across, down = word(Typeface(), "JOKER"), word(Typeface(), "JOKER", down=True)
    assert across.shape[1] > 2 * across.shape[0]
    assert down.shape[0] > 4 * down.shape[1]
    assert np.isclose((across > 128).sum(), (down > 128).sum())


def test_an_unknown_letter_is_refused():
    with pytest.raises(ValueError, match="'Ж'"):
        glyph(Typeface(), "Ж")
