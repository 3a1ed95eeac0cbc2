import pytest

from fulldeck.data.deck import base_style, deck_style, style_names


def test_there_are_many_base_styles():
    assert len(style_names()) >= 8
    assert len(set(style_names())) == len(style_names())


def test_each_base_style_comes_up_once_before_any_comes_up_again():
    count = len(style_names())
    first = [base_style(7, place) for place in range(count)]
    second = [base_style(7, place) for place in range(count, 2 * count)]
    assert sorted(first) == sorted(second) == sorted(style_names())
    assert first != [base_style(8, place) for place in range(count)]


def test_a_deck_is_the_same_for_the_same_seed_and_index_and_no_other():
    assert deck_style(3, 5) == deck_style(3, 5)
    others = {deck_style(3, 6, "classic"), deck_style(4, 5, "classic"), deck_style(-3, 5, "classic")}
    assert len(others | {deck_style(3, 5, "classic")}) == 4


@pytest.mark.parametrize("name", style_names())
def test_a_base_style_keeps_its_name_and_varies_by_deck(name):
    decks = [deck_style(1, index, name) for index in range(6)]
    assert {deck.name for deck in decks} == {name}
    assert len({deck.typeface for deck in decks} | {deck.pips for deck in decks}) > 6


def test_four_colour_decks_have_four_colours_and_classic_ones_two():
    four, two = deck_style(0, 0, "four-colour"), deck_style(0, 0, "classic")
    assert len({ink.colour for ink in four.inks}) == 4
    assert len({ink.colour for ink in two.inks}) == 2


def test_some_decks_have_other_court_letters_and_most_have_english_ones():
    letters = [deck_style(0, index, "classic").courts.letters for index in range(200)]
    assert letters.count(("J", "Q", "K")) > 150
    assert {("V", "D", "R"), ("B", "D", "K")} <= set(letters)


def test_some_decks_have_rank_and_suit_in_corners_of_their_own():
    decks = [deck_style(0, index) for index in range(200)]
    assert 12 <= sum(deck.index.across for deck in decks) <= 40
    assert {deck.index.corners for deck in decks if deck.index.across} == {1, 2}


def test_how_many_do_can_be_asked_for():
    assert all(deck_style(0, index, apart=1).index.across for index in range(30))
    assert not any(deck_style(0, index, apart=0).index.across for index in range(30))


def test_of_these_about_half_have_signs_and_figures_that_the_edges_cut():
    kinds = [deck_style(0, index, apart=1).courts.kind for index in range(100)]
    assert 35 <= kinds.count("cut") <= 65
