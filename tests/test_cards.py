import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulldeck.cards import CARDS, JOKER, LABELS, Card, CardError, Rank, Suit
from fulldeck.errors import FulldeckError

# The folder names of the Kaggle dataset, as a file listing gives them.
FOLDERS = """
ace of clubs,ace of diamonds,ace of hearts,ace of spades
eight of clubs,eight of diamonds,eight of hearts,eight of spades
five of clubs,five of diamonds,five of hearts,five of spades
four of clubs,four of diamonds,four of hearts,four of spades
jack of clubs,jack of diamonds,jack of hearts,jack of spades
joker
king of clubs,king of diamonds,king of hearts,king of spades
nine of clubs,nine of diamonds,nine of hearts,nine of spades
queen of clubs,queen of diamonds,queen of hearts,queen of spades
seven of clubs,seven of diamonds,seven of hearts,seven of spades
six of clubs,six of diamonds,six of hearts,six of spades
ten of clubs,ten of diamonds,ten of hearts,ten of spades
three of clubs,three of diamonds,three of hearts,three of spades
two of clubs,two of diamonds,two of hearts,two of spades
"""

every_notation = pytest.mark.parametrize("notation", ["label", "short", "code", "character"])


def test_labels_are_the_datasets_folders_in_their_order():
    assert list(LABELS) == FOLDERS.strip().replace("\n", ",").split(",")
    assert len(set(LABELS)) == 53


@every_notation
@pytest.mark.parametrize("change", [str, str.upper, str.lower, lambda text: f"  {text}\n"])
def test_every_notation_of_all_53_is_read_back(notation, change):
    for card in CARDS:
        assert Card.parse(change(getattr(card, notation))) == card


@every_notation
def test_no_two_cards_share_a_notation(notation):
    assert len({getattr(card, notation) for card in CARDS}) == 53


def test_index_is_the_place_in_labels():
    for card in CARDS:
        assert LABELS[card.index] == card.label
        assert CARDS[card.index] == card
        assert str(card) == card.label


def test_every_joined_spelling_of_the_52():
    for card in CARDS:
        if card is JOKER:
            continue
        rank, suit = card.rank, card.suit
        for start in {rank.word, rank.letter, rank.corner}:
            for spelling in (f"{start} of {suit.word}", f"{start}of{suit.word}", f"{start} {suit.word}"):
                assert Card.parse(spelling) == card
            assert Card.parse(f"{start} {suit.symbol}") == card


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("ace of clubs", "ace of clubs"),
        ("AC", "ace of clubs"),
        ("A♣", "ace of clubs"),
        ("a ♣\ufe0f", "ace of clubs"),
        ("A♧", "ace of clubs"),
        ("10h", "ten of hearts"),
        ("Td", "ten of diamonds"),
        ("10 of hearts", "ten of hearts"),
        ("King  Of\tSpade", "king of spades"),
        ("queen_of_hearts", "queen of hearts"),
        ("JS", "jack of spades"),
        ("joker", "joker"),
        ("Joker", "joker"),
        ("🃏", "joker"),
        ("\U0001f0bf", "joker"),
        ("🂡", "ace of spades"),
        ("\U0001f0ab", "jack of spades"),
        ("\U0001f0ad", "queen of spades"),
        ("\U0001f0de", "king of clubs"),
    ],
)
def test_reads(text, label):
    assert Card.parse(text).label == label


@pytest.mark.parametrize(
    "text",
    ["", " ", "A", "clubs", "aces", "of", "11h", "1h", "0s", "AX", "ace of", "ace of cups", "ace of clubs x", "🂠"],
)
def test_refuses_with_a_sentence(text):
    with pytest.raises(CardError, match="is no card: write it as") as caught:
        Card.parse(text)
    assert isinstance(caught.value, FulldeckError)
    assert isinstance(caught.value, ValueError)
    assert repr(text) in str(caught.value)


def test_the_knight_is_no_card():
    for row in (0x1F0A0, 0x1F0B0, 0x1F0C0, 0x1F0D0):
        with pytest.raises(CardError):
            Card.parse(chr(row + 0xC))


@given(st.text())
def test_any_text_is_a_card_or_a_card_error(text):
    with contextlib.suppress(CardError):
        assert Card.parse(text) in CARDS


def test_a_known_card_in_every_notation():
    card = Card(Rank.TEN, Suit.HEARTS)
    assert (card.label, card.short, card.code, card.colour, card.character) == (
        "ten of hearts",
        "10♥",
        "TH",
        "red",
        "\U0001f0ba",
    )
    assert (JOKER.label, JOKER.short, JOKER.code, JOKER.colour, JOKER.rank, JOKER.suit) == (
        "joker",
        "🃏",
        "JOKER",
        None,
        None,
        None,
    )


def test_suits_and_ranks():
    assert "".join(suit.symbol for suit in Suit) == "♣♦♥♠"
    assert [suit.colour for suit in Suit] == ["black", "red", "red", "black"]
    assert "".join(suit.letter for suit in Suit) == "CDHS"
    assert [rank.number for rank in Rank] == list(range(1, 14))
    assert "".join(rank.letter for rank in Rank) == "A23456789TJQK"
    assert [rank.corner for rank in Rank] == [*"A23456789", "10", *"JQK"]


@pytest.mark.parametrize("parts", [(Rank.ACE, None), (None, Suit.CLUBS)])
def test_half_a_card_is_refused(parts):
    with pytest.raises(CardError, match="both a rank and a suit"):
        Card(*parts)


def test_cards_are_values():
    assert {Card(Rank.ACE, Suit.CLUBS), Card.parse("AC")} == {Card(Rank.ACE, Suit.CLUBS)}
    with pytest.raises(AttributeError):
        JOKER.rank = Rank.ACE


def test_imports_only_the_standard_library_and_the_errors():
    code = (
        "import sys; before = set(sys.modules); import fulldeck.cards;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names)),"
        "sorted(name for name in sys.modules if name.startswith('fulldeck.')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['fulldeck'] ['fulldeck.cards', 'fulldeck.errors']"
