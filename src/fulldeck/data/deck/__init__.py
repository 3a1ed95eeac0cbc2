"""Decks drawn by code: styles, and the faces of their cards. Knows nothing about folders, photographs or training."""

from fulldeck.data.deck.face import card_mask, draw_card
from fulldeck.data.deck.style import APART, DeckStyle, base_style, deck_style, style_names

__all__ = ["APART", "DeckStyle", "base_style", "card_mask", "deck_style", "draw_card", "style_names"]
