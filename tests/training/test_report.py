"""The page's own pieces: percentages, and the deck as it is laid out."""

import numpy as np
import pytest

from fulldeck.cards import LABELS
from fulldeck.training.measures import measure
from fulldeck.training.report import data_uri, deck
from fulldeck.training.tables import percent


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.9887, 1, "98.9 %"),
        (0.5, 0, "50 %"),
        (1.0, 1, "100.0 %"),
        (0.99999, 1, "99.9 %"),
        (0.999996, 2, "99.99 %"),
        (0.0, 1, "0.0 %"),
        (None, 1, "\N{EN DASH}"),
    ],
)
def test_percent(share, digits, text):
    assert percent(share, digits).replace("\N{NARROW NO-BREAK SPACE}", " ") == text


def test_data_uri():
    assert data_uri(b"abc", "image/png") == "data:image/png;base64,YWJj"


def test_the_deck_lies_in_rows_of_a_suit():
    truth = np.arange(53).repeat(2)
    probabilities = np.eye(53)[truth]
    probabilities[0] = np.eye(53)[5]  # one ace of clubs is taken for another card
    rows = deck(measure(LABELS, truth, probabilities, 0.5))
    assert [len(row) for row in rows] == [13, 13, 13, 13, 1]
    assert [cell.corner for cell in rows[0]] == ["A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K"]
    assert [row[0].symbol for row in rows] == ["♣", "♦", "♥", "♠", "joker"]
    assert (rows[0][0].right, rows[0][0].support, rows[0][0].recall) == (1, 2, 0.5)
    assert [row[0].red for row in rows] == [False, True, True, False, False]


def test_a_card_without_images_has_no_recall():
    truth = np.array([0, 1])
    rows = deck(measure(LABELS, truth, np.eye(53)[truth], 0.5))
    assert rows[0][0].recall == 1
    assert rows[-1][0].recall is None


def test_other_labels_make_no_deck():
    truth = np.array([0, 1])
    assert deck(measure(["cat", "dog"], truth, np.eye(2)[truth], 0.5)) == []
