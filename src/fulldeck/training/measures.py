"""What the answers of a classifier are worth: pure functions from truth and probabilities to numbers.

Knows nothing about images, models, files or pictures. Everywhere below N is the number of images and C the number of
labels; ``truth`` is int [N] of label indices, ``probabilities`` is float [N, C] whose rows sum to one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    auc,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from fulldeck.cards import Card, Rank, Suit

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Z_95 = 1.959963984540054  # the standard normal's 97.5 % quantile
BINS = 15  # of the calibration error, as in Guo et al. 2017
NEITHER = "joker"  # the joker's value where others have a rank, a suit or a colour
CURVE_POINTS = 201  # of a curve that is written down: more than a picture of it can show


@dataclass(frozen=True)
class Rate:
    """A share of images, with its 95 % Wilson interval. ``value`` is 0 of a ``total`` of 0."""

    right: int
    total: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassScore:
    """One label: ``support`` is its number of images; ``auc`` is None where one-vs-rest has only one side."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int
    auc: float | None


@dataclass(frozen=True)
class Confusion:
    """Images of ``truth`` that were called ``predicted``: ``count`` of the ``support`` there are."""

    truth: str
    predicted: str
    count: int
    support: int


@dataclass(frozen=True)
class Bin:
    """One bar of the reliability diagram: images whose top probability is in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far stated probabilities are from met ones. ``ece`` weighs bins by images, ``mce`` is the worst bin's gap."""

    ece: float
    mce: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Selection:
    """What is left when answers below ``threshold`` are not given. ``accuracy`` is None when none is accepted."""

    threshold: float
    accepted: int
    coverage: float
    accuracy: float | None
    wrong_accepted: int
    right_rejected: int


@dataclass(frozen=True)
class Curve:
    """Points of a curve, in order: ``x`` and ``y`` have the same length."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """A part of the card's name looked at alone: ``right`` over all images, and a rate for each value it can have."""

    right: Rate
    values: dict[str, Rate]


@dataclass(frozen=True)
class CardScores:
    """Rank, suit and colour each judged alone: a king of spades called a king of clubs has its rank and colour right.

    A group's ``values`` are the whole label's accuracy on the images of that rank, suit or colour. The joker has
    neither of the three and is counted as a value of its own, "joker".
    """

    rank: Group
    suit: Group
    colour: Group


@dataclass(frozen=True)
class Measures:
    """Everything that is measured. Macro figures are plain means over the labels that have images.

    ``top5`` is the share whose truth is among the five likeliest; ``log_loss`` is in nats; ``brier`` is the squared
    distance to the one-hot truth, 0 to 2; ``auc_macro`` is None when no label can be told from the rest.
    """

    images: int
    accuracy: Rate
    top5: float
    macro_f1: float
    macro_precision: float
    macro_recall: float
    log_loss: float
    brier: float
    auc_macro: float | None
    auc_micro: float
    calibration: Calibration
    selection: Selection
    aurc: float
    cards: CardScores | None
    classes: tuple[ClassScore, ...]
    confused: tuple[Confusion, ...]
    confusion: tuple[tuple[int, ...], ...]
    roc_micro: Curve
    roc_macro: Curve
    coverage: Curve


def measure(labels: Sequence[str], truth: Ints, probabilities: Floats, threshold: float) -> Measures:
    """Measure the answers to N images.

    Args:
        labels: the C names, in the order of the columns.
        truth: int [N], the right column of each image. N is at least 1.
        probabilities: float [N, C].
        threshold: the top probability from which on an answer is accepted.
    """
    probabilities = probabilities.astype(np.float64)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = predicted == truth
    matrix = confusion_matrix(truth, predicted, labels=range(len(labels)))
    classes = class_scores(labels, truth, probabilities)
    met = [score for score in classes if score.support]
    areas = [score.auc for score in met if score.auc is not None]
    micro = roc_micro(truth, probabilities)
    return Measures(
        images=len(truth),
        accuracy=rate(right),
        top5=top_k(truth, probabilities, 5),
        macro_f1=_mean([score.f1 for score in met]),
        macro_precision=_mean([score.precision for score in met]),
        macro_recall=_mean([score.recall for score in met]),
        log_loss=cross_entropy(truth, probabilities),
        brier=brier(truth, probabilities),
        auc_macro=_mean(areas) if areas else None,
        auc_micro=float(auc(*micro)),
        calibration=calibration(confidence, right),
        selection=selection(confidence, right, threshold),
        aurc=area_under_risk(confidence, right),
        cards=card_scores(labels, truth, predicted),
        classes=classes,
        confused=confused_pairs(labels, matrix),
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
        roc_micro=_thinned(*micro),
        roc_macro=roc_macro(truth, probabilities),
        coverage=coverage_curve(confidence, right),
    )


def rate(right: Bools) -> Rate:
    """The share of true values in bool [N], with its interval."""
    hits, total = int(right.sum()), len(right)
    low, high = wilson(hits, total)
    return Rate(hits, total, hits / total if total else 0.0, low, high)


def wilson(right: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927): honest near 0 and 1, where the usual one is not.

    Nothing measured (``total`` 0) leaves everything possible: (0, 1).
    """
    if total == 0:
        return 0.0, 1.0
    share = right / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the formula gives 0 and 1, but for the last bit.
    return (middle - spread) / scale if right else 0.0, (middle + spread) / scale if right < total else 1.0


def top_k(truth: Ints, probabilities: Floats, k: int) -> float:
    """The share of images whose truth is among the ``k`` likeliest labels."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((likeliest == truth[:, None]).any(axis=1).mean())


def cross_entropy(truth: Ints, probabilities: Floats) -> float:
    """Mean of -log p(truth), in nats; a probability of 0 counts as float64's smallest step, so that it stays finite."""
    exact = probabilities / probabilities.sum(
        axis=1, keepdims=True
    )  # float32 rows miss one by 1e-7, which sklearn minds
    return float(log_loss(truth, exact, labels=range(probabilities.shape[1])))


def brier(truth: Ints, probabilities: Floats) -> float:
    """Brier's score of several classes (Brier 1950): mean squared distance to the one-hot truth, 0 (best) to 2."""
    return float(np.square(probabilities - one_hot(truth, probabilities.shape[1])).sum(axis=1).mean())


def one_hot(truth: Ints, columns: int) -> Ints:
    """Int [N, columns] with a one in each row's right column."""
    return np.eye(columns, dtype=np.int64)[truth]


def class_scores(labels: Sequence[str], truth: Ints, probabilities: Floats) -> tuple[ClassScore, ...]:
    """Precision, recall, F1 and one-vs-rest AUC of each label, in the labels' order. What is undefined is 0."""
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=range(len(labels)), zero_division=0
    )
    calls = np.bincount(predicted, minlength=len(labels))
    return tuple(
        ClassScore(
            label=label,
            precision=float(precision[index]),
            recall=float(recall[index]),
            f1=float(f1[index]),
            support=int(support[index]),
            predicted=int(calls[index]),
            auc=(
                float(roc_auc_score(truth == index, probabilities[:, index]))
                if 0 < support[index] < len(truth)
                else None
            ),
        )
        for index, label in enumerate(labels)
    )


def confused_pairs(labels: Sequence[str], matrix: Ints) -> tuple[Confusion, ...]:
    """The mistakes of int [C, C] (rows: truth, columns: predicted), most frequent first."""
    pairs = [
        Confusion(labels[row], labels[column], int(matrix[row, column]), int(matrix[row].sum()))
        for row, column in np.argwhere(matrix)
        if row != column
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.count / pair.support, pair.truth)))


def calibration(confidence: Floats, right: Bools, bins: int = BINS) -> Calibration:
    """Expected calibration error over equal-width bins (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Args:
        confidence: float [N], the top probability of each image.
        right: bool [N], whether that answer was right.
        bins: their number; the k-th holds (k/bins, (k+1)/bins], and 0 falls in the first.
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for index in range(bins):
        inside = place == index
        count = int(inside.sum())
        mean_confidence = float(confidence[inside].mean()) if count else 0.0
        accuracy = float(right[inside].mean()) if count else 0.0
        found.append(Bin(index / bins, (index + 1) / bins, count, mean_confidence, accuracy))
    gaps = [(bar.count, abs(bar.accuracy - bar.confidence)) for bar in found if bar.count]
    total = sum(count for count, _ in gaps)
    return Calibration(
        ece=sum(count * gap for count, gap in gaps) / total,
        mce=max(gap for _, gap in gaps),
        bins=tuple(found),
    )


def selection(confidence: Floats, right: Bools, threshold: float) -> Selection:
    """Coverage and accuracy when only answers with a top probability of at least ``threshold`` are given."""
    accepted = confidence >= threshold
    count = int(accepted.sum())
    return Selection(
        threshold=threshold,
        accepted=count,
        coverage=count / len(right),
        accuracy=float(right[accepted].mean()) if count else None,
        wrong_accepted=int((accepted & ~right).sum()),
        right_rejected=int((~accepted & right).sum()),
    )


def area_under_risk(confidence: Floats, right: Bools) -> float:
    """Area under the risk-coverage curve (Geifman & El-Yaniv 2017): mean error over all coverages, 0 is best."""
    return float(_risks(confidence, right).mean())


def coverage_curve(confidence: Floats, right: Bools) -> Curve:
    """Accuracy (y) of the most confident share (x) of images, from the most confident one to all."""
    risks = _risks(confidence, right)
    return _thinned(np.arange(1, len(risks) + 1) / len(risks), 1 - risks)


def roc_micro(truth: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """False and true positive rates when each of the N x C yes/no questions counts alike."""
    false_positive, true_positive, _ = roc_curve(
        one_hot(truth, probabilities.shape[1]).ravel(), probabilities.ravel(), drop_intermediate=True
    )
    return false_positive, true_positive


def roc_macro(truth: Ints, probabilities: Floats) -> Curve:
    """The one-vs-rest curves' mean true positive rate at equal false positive rates, on a grid dense near zero."""
    grid = np.concatenate([[0.0], np.logspace(-5, 0, CURVE_POINTS - 1)])
    curves = []
    for index in range(probabilities.shape[1]):
        positive = truth == index
        if 0 < positive.sum() < len(truth):
            false_positive, true_positive, _ = roc_curve(positive, probabilities[:, index])
            curves.append(np.interp(grid, false_positive, true_positive))
    if not curves:
        return Curve((), ())
    return Curve(tuple(grid.tolist()), tuple(np.mean(curves, axis=0).tolist()))


def cards_of(labels: Sequence[str]) -> list[Card] | None:
    """The cards that the labels name, or None when one of them names no card."""
    try:
        return [Card.parse(label) for label in labels]
    except ValueError:
        return None


def card_scores(labels: Sequence[str], truth: Ints, predicted: Ints) -> CardScores | None:
    """Rank, suit and colour judged alone; None when the labels are no cards."""
    cards = cards_of(labels)
    if cards is None:
        return None

    right = truth == predicted

    def group(part: Callable[[Card], str], order: Sequence[str]) -> Group:
        parts = np.array([part(card) for card in cards])
        values = {value: rate(right[parts[truth] == value]) for value in order if value in parts}
        return Group(rate(parts[truth] == parts[predicted]), values)

    return CardScores(
        rank=group(_rank, [*(rank.word for rank in Rank), NEITHER]),
        suit=group(_suit, [*(suit.word for suit in Suit), NEITHER]),
        colour=group(_colour, ["black", "red", NEITHER]),
    )


def _rank(card: Card) -> str:
    return card.rank.word if card.rank else NEITHER


def _suit(card: Card) -> str:
    return card.suit.word if card.suit else NEITHER


def _colour(card: Card) -> str:
    return card.colour or NEITHER


def _risks(confidence: Floats, right: Bools) -> Floats:
    """The error rate of the k most confident images, k = 1 ... N; equals share their rate, so that order is no luck."""
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(right) + 1)
    ordered = confidence[order]
    last_equal = np.searchsorted(-ordered, -ordered, side="right") - 1
    return np.asarray(wrong[last_equal], dtype=np.float64)


def _thinned(x: Floats, y: Floats) -> Curve:
    """At most CURVE_POINTS points, the first and the last among them."""
    keep = np.unique(np.linspace(0, len(x) - 1, CURVE_POINTS).round().astype(int))
    return Curve(tuple(x[keep].tolist()), tuple(y[keep].tolist()))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
