"""The domain: ranks, suits, the 52 cards and the joker, and every common way to write one.

This module knows nothing about images, models or files; everything else may import it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Literal

from fulldeck.errors import FulldeckError

Colour = Literal["black", "red"]


class CardError(FulldeckError, ValueError):
    """This text names no card."""


class Rank(Enum):
    """What a card counts, ace to king; the value is the word ("ten")."""

    ACE = "ace"
    TWO = "two"
    THREE = "three"
    FOUR = "four"
    FIVE = "five"
    SIX = "six"
    SEVEN = "seven"
    EIGHT = "eight"
    NINE = "nine"
    TEN = "ten"
    JACK = "jack"
    QUEEN = "queen"
    KING = "king"

    @property
    def word(self) -> str:
        """The rank in English, lower case: "ten"."""
        return self.value

    @property
    def number(self) -> int:
        """1 (ace) to 13 (king)."""
        return list(Rank).index(self) + 1

    @property
    def letter(self) -> str:
        """One character, as in poker and bridge notation: A 2 3 4 5 6 7 8 9 T J Q K."""
        return "A23456789TJQK"[self.number - 1]

    @property
    def corner(self) -> str:
        """What stands in a card's corner: the letter, but "10" for the ten."""
        return "10" if self is Rank.TEN else self.letter


class Suit(Enum):
    """One of the four suits; the value is the word ("clubs"), the order is alphabetical."""

    CLUBS = "clubs"
    DIAMONDS = "diamonds"
    HEARTS = "hearts"
    SPADES = "spades"

    @property
    def word(self) -> str:
        """The suit in English, plural and lower case: "hearts"."""
        return self.value

    @property
    def letter(self) -> str:
        """One upper-case character: C, D, H or S."""
        return self.value[0].upper()

    @property
    def symbol(self) -> str:
        """The filled Unicode symbol: ♣, ♦, ♥ or ♠."""
        return {Suit.CLUBS: "♣", Suit.DIAMONDS: "♦", Suit.HEARTS: "♥", Suit.SPADES: "♠"}[self]

    @property
    def colour(self) -> Colour:
        """The suit's colour in a two-colour deck."""
        return "red" if self in {Suit.DIAMONDS, Suit.HEARTS} else "black"


@dataclass(frozen=True)
class Card:
    """One of the 53: a rank and a suit, or neither, which is the joker.

    The dataset knows a single joker, so there is no red and black one here either.
    """

    rank: Rank | None
    suit: Suit | None

    def __post_init__(self) -> None:
        if (self.rank is None) != (self.suit is None):
            msg = "a card has both a rank and a suit, and the joker has neither"
            raise CardError(msg)

    @classmethod
    def parse(cls, text: str) -> Card:
        """Read a card in any common notation; case and spaces do not matter.

        Args:
            text: "ace of clubs", "AC", "A♣", "10h", "Td", "10 of hearts", "joker", or a playing-card character ("🂡").

        Raises:
            CardError: The text names no card (it is a `ValueError` too).
        """
        card = _notations().get(_squeeze(text))
        if card is None:
            msg = f"{text!r} is no card: write it as 'ace of clubs', 'AC', 'A♣' or 'joker'"
            raise CardError(msg)
        return card

    @property
    def label(self) -> str:
        """The dataset's name: "ten of hearts", "joker"."""
        if self.rank is None or self.suit is None:
            return "joker"
        return f"{self.rank.word} of {self.suit.word}"

    @property
    def short(self) -> str:
        """For people, narrow: "10♥", "🃏"."""
        if self.rank is None or self.suit is None:
            return "🃏"
        return self.rank.corner + self.suit.symbol

    @property
    def code(self) -> str:
        """Two ASCII characters a card, for file names and game logs: "TH"; "JOKER" for the joker."""
        if self.rank is None or self.suit is None:
            return "JOKER"
        return self.rank.letter + self.suit.letter

    @property
    def character(self) -> str:
        """The single Unicode playing-card character: "🂺", "🃏"."""
        if self.rank is None or self.suit is None:
            return _JOKER_CHARACTERS[0]
        # Each suit has a row of 16; a knight, which our decks lack, stands between jack and queen.
        knight = self.rank.number > Rank.JACK.number
        return chr(_CHARACTER_ROWS[self.suit] + self.rank.number + knight)

    @property
    def colour(self) -> Colour | None:
        """The suit's colour; None for the joker, which comes in any."""
        return None if self.suit is None else self.suit.colour

    @property
    def index(self) -> int:
        """Position in `LABELS`, 0 to 52: what a model's output column means."""
        return _INDICES[self.label]

    def __str__(self) -> str:
        return self.label


# The Unicode block "Playing Cards": https://www.unicode.org/charts/PDF/U1F0A0.pdf
_CHARACTER_ROWS = {Suit.SPADES: 0x1F0A0, Suit.HEARTS: 0x1F0B0, Suit.DIAMONDS: 0x1F0C0, Suit.CLUBS: 0x1F0D0}
_JOKER_CHARACTERS = "\U0001f0cf\U0001f0bf\U0001f0df"  # black, red, white
_OUTLINED = {Suit.CLUBS: "♧", Suit.DIAMONDS: "♢", Suit.HEARTS: "♡", Suit.SPADES: "♤"}

JOKER = Card(None, None)

CARDS: tuple[Card, ...] = tuple(
    sorted([*(Card(rank, suit) for suit in Suit for rank in Rank), JOKER], key=lambda card: card.label)
)
"""All 53 in the order of `LABELS`."""

LABELS: tuple[str, ...] = tuple(card.label for card in CARDS)
"""The 53 labels in the dataset's order, which is alphabetical: 0 is "ace of clubs", 52 is "two of spades"."""

_INDICES = {label: index for index, label in enumerate(LABELS)}


def _squeeze(text: str) -> str:
    # Emoji keyboards append a variation selector (U+FE0E, U+FE0F) to a suit symbol; file names part words with _ or -.
    return re.sub(r"[\s_\-\ufe0e\ufe0f]+", "", text).casefold()


@cache
def _notations() -> dict[str, Card]:
    """Every accepted spelling, squeezed, to its card."""
    notations = {"joker": JOKER, **dict.fromkeys(_JOKER_CHARACTERS, JOKER)}
    for card in CARDS:
        rank, suit = card.rank, card.suit
        if rank is None or suit is None:
            continue
        words = (suit.word, suit.word.removesuffix("s"))
        symbols = (suit.symbol, _OUTLINED[suit])
        spellings = [card.character]
        for start in (rank.word, rank.letter, rank.corner):
            spellings += [start + end for end in (*words, *(f"of{word}" for word in words), *symbols)]
        # A word and a letter do not go together: "aces" is a plural and no ace of spades.
        spellings += [start + suit.letter for start in (rank.letter, rank.corner)]
        notations |= {spelling.casefold(): card for spelling in spellings}
    return notations
