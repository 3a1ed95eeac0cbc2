"""How well a score tells cards from what is no card: published scores, computed from what a model file gives.

Knows arrays only. A score is higher the more an image looks like a card; "accepted" means that it is at least some
threshold. Everywhere N is the number of images, C of labels, D of the embedding's numbers.

A file gives calibrated probabilities and an embedding, not logits. The energy (Liu et al. 2020) is the logarithm of the
sum of the logits' exponentials, which the softmax divides away: of logits recovered from probabilities it is 0 whatever
the image. What does survive is the difference of logits, so that the largest logit can be told against their mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from fulldeck.inference.recognizer import Prediction
from fulldeck.training.measures import Bools, Floats, Ints, Rate, rate

KEPT = 0.99  # of the true cards, at the threshold at which scores are compared
NEIGHBOURS = 10
_GAMMA, _LARGEST = 0.1, 10  # of the generalised entropy, as its authors chose them (a tenth of the labels, at least 10)
_TINY = 1e-30

Score = Callable[[Floats, Floats], Floats]
"""From probabilities [N, C] and embedding [N, D] to [N]."""


@dataclass(frozen=True)
class Separation:
    """How a score does: higher AUROC is better, lower false positive rate is better.

    Attributes:
        score: its name.
        auroc: chance that a card scores above a picture without one; a half is no better than a coin.
        fpr: share of the pictures without a card that are accepted where :data:`KEPT` of the cards are.
        threshold: that place.
        kinds: share *not* accepted there, by kind.
    """

    score: str
    auroc: float
    fpr: float
    threshold: float
    kinds: dict[str, Rate]


@dataclass(frozen=True)
class NoCard:
    """What becomes of pictures without a card, as users meet them: by the answers of ``Recognizer.classify``.

    Attributes:
        pictures: how many.
        threshold: the model's own.
        kept: true cards that are accepted by the model's own rule.
        refused: pictures without a card that are not, all and by kind.
        keeping: the probability from which on :data:`KEPT` of the true cards are accepted.
        refused_keeping: pictures without a card below it, all and by kind.
        scores: published scores on the whole picture, the best first.
    """

    pictures: int
    threshold: float
    kept: Rate
    refused: Rate
    refused_by_kind: dict[str, Rate]
    keeping: float
    refused_keeping: Rate
    refused_keeping_by_kind: dict[str, Rate]
    scores: tuple[Separation, ...]


def judge(cards: Sequence[Prediction], others: Sequence[Prediction], kinds: Sequence[str], threshold: float) -> NoCard:
    """Count what was accepted; ``scores`` is left empty.

    Args:
        cards: the answers to pictures of cards.
        others: the answers to pictures without one.
        kinds: what each of those shows.
        threshold: the one that the answers were accepted by.
    """
    refused = np.array([not answer.accepted for answer in others])
    keeping = threshold_keeping(np.array([answer.probability for answer in cards]))
    below = np.array([answer.probability < keeping for answer in others])
    return NoCard(
        pictures=len(others),
        threshold=threshold,
        kept=rate(np.array([answer.accepted for answer in cards])),
        refused=rate(refused),
        refused_by_kind=by_kind(refused, kinds),
        keeping=keeping,
        refused_keeping=rate(below),
        refused_keeping_by_kind=by_kind(below, kinds),
        scores=(),
    )


def probability_scores() -> dict[str, Score]:
    """The scores that need the probabilities alone."""
    return {
        "maximum probability": lambda p, _: p.max(axis=1),
        "margin to the second": lambda p, _: np.diff(np.partition(p, -2, axis=1)[:, -2:], axis=1)[:, 0],
        "entropy": lambda p, _: (p * np.log(np.maximum(p, _TINY))).sum(axis=1),
        "generalised entropy": _generalised_entropy,
        "largest logit above their mean": lambda p, _: _logits(p).max(axis=1) - _logits(p).mean(axis=1),
    }


def embedding_scores(embedding: Floats, truth: Ints) -> dict[str, Score]:
    """The scores that compare an embedding with those of training images.

    Mahalanobis: minus the squared distance to the nearest class mean under one covariance for all (Lee et al. 2018),
    here Ledoit and Wolf's estimate, which can be inverted however few the images. Relative: minus the distance to the
    mean of all images taken from it (Ren et al. 2021). Nearest neighbours: minus the distance to the tenth nearest
    training image on the unit sphere (Sun et al. 2022).

    Args:
        embedding: float [N, D] of training images.
        truth: int [N], their labels.
    """
    classes = np.unique(truth)
    means = np.stack([embedding[truth == label].mean(axis=0) for label in classes])
    within = LedoitWolf(assume_centered=True).fit(embedding - means[np.searchsorted(classes, truth)])
    overall = LedoitWolf().fit(embedding)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(embedding))).fit(_unit(embedding))
    root = np.linalg.cholesky(within.precision_)
    centres = means @ root

    def mahalanobis(_: Floats, e: Floats) -> Floats:
        at = e @ root
        squares = (at**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * at @ centres.T
        return np.asarray(-squares.min(axis=1))

    return {
        "Mahalanobis distance": mahalanobis,
        "relative Mahalanobis distance": lambda p, e: mahalanobis(p, e) + overall.mahalanobis(e),
        "nearest neighbours": lambda _, e: -near.kneighbors(_unit(e))[0][:, -1],
    }


def separate(
    scores: Mapping[str, Score], cards: tuple[Floats, Floats], others: tuple[Floats, Floats], kinds: Sequence[str]
) -> tuple[Separation, ...]:
    """Compare scores on cards and on pictures without one.

    Args:
        scores: by name.
        cards: probabilities [N, C] and embedding [N, D] of pictures of cards.
        others: the same of M pictures without a card.
        kinds: M names: what each of those shows.

    Returns:
        One result a score, the best first.
    """
    found = []
    for name, score in scores.items():
        inside, outside = score(*cards), score(*others)
        threshold = threshold_keeping(inside)
        truth = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
        refused = outside < threshold
        found.append(
            Separation(
                score=name,
                auroc=float(roc_auc_score(truth, np.concatenate([inside, outside]))),
                fpr=float(1 - refused.mean()),
                threshold=threshold,
                kinds=by_kind(refused, kinds),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.fpr, -one.auroc)))


def threshold_keeping(scores: Floats, share: float = KEPT) -> float:
    """The highest threshold at which at least ``share`` of the scores are still accepted."""
    ordered = np.sort(scores)[::-1]
    return float(ordered[max(0, int(np.ceil(share * len(ordered) - 1e-9)) - 1)])


def by_kind(true: Bools, kinds: Sequence[str]) -> dict[str, Rate]:
    """The share of true values of each kind, in alphabetical order."""
    names = np.array(kinds)
    return {kind: rate(true[names == kind]) for kind in sorted(set(kinds))}


def _logits(probabilities: Floats) -> Floats:
    """Logits up to a constant an image."""
    return np.asarray(np.log(np.maximum(probabilities, _TINY)))


def _generalised_entropy(probabilities: Floats, _embedding: Floats) -> Floats:
    """GEN (Liu et al., CVPR 2023): small probabilities count for more than in the entropy."""
    largest = np.sort(probabilities, axis=1)[:, ::-1][:, :_LARGEST]
    return np.asarray(-(largest**_GAMMA * (1 - largest) ** _GAMMA).sum(axis=1))


def _unit(embedding: Floats) -> Floats:
    return np.asarray(embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), _TINY))
