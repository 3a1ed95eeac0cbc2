"""Labels that the other images contradict, and images that are like no other. Arrays in, indices out.

Each image is judged by a linear probe that has not seen it, nor any copy of it: logistic regression on embeddings,
cross-validated, with the copies of a picture always in one fold. Which labels are then in doubt is confident learning's
business (Northcutt, Jiang and Chuang, "Confident Learning", 2021), as cleanlab has it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
NEIGHBOURS = 10
STRANGE = 2.5
"""An image is an outlier when it is this many times as far from its neighbours as the median image is from its own."""
ALIKE = 0.1
"""Images at a smaller cosine distance than this are not strange to each other, however close all others are."""
SURE = 0.9
"""A label is in doubt when another has at least this probability: on the Kaggle images, below it most are right."""
_DIRECTIONS = 512
_FIT = 600.0  # the weight of the images' mean loss against that of the coefficients, whatever their number


@dataclass(frozen=True)
class Suspect:
    """A label in doubt.

    Attributes:
        index: of the image.
        given: the probability of the label it has.
        suggested: the class it more likely is.
        probability: of that class.
    """

    index: int
    given: float
    suggested: int
    probability: float


def compressed(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep the directions in which embeddings differ most, of equal standing at first; labels have no say in it.

    Args:
        vectors: float32 [N, D]; used up.

    Returns:
        float32 [N, d], d being 512 at most, of standard deviation 1 as a whole.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - costs a second that only this check pays

    vectors -= vectors.mean(axis=0)
    vectors /= vectors.std(axis=0) + 1e-6
    directions = min(_DIRECTIONS, *vectors.shape)
    out = PCA(directions, svd_solver="randomized", iterated_power=2, random_state=0).fit_transform(vectors)
    return np.asarray(out / max(float(out.std()), 1e-6), dtype=np.float32)


def out_of_fold(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    seed: int = 0,
    track: Callable[[list[Any]], Iterable[Any]] = iter,
) -> NDArray[np.float64]:
    """Let a linear probe name each image from the others.

    Args:
        features: float32 [N, D], of `compressed`.
        targets: int64 [N], classes from 0 to C - 1.
        groups: int64 [N]; images with the same number never judge each other.
        seed: of the folds.
        track: wraps the list of folds, to show how far it is.

    Returns:
        float64 [N, C], probabilities.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - costs a second that only this check pays
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415

    probabilities = np.zeros((len(targets), int(targets.max()) + 1))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for rest, held in track(list(folds.split(features, targets, groups))):
        probe = LogisticRegression(C=_FIT / len(rest), max_iter=200, tol=1e-3)
        probe.fit(features[rest], targets[rest])
        probabilities[np.ix_(held, probe.classes_)] = probe.predict_proba(features[held])
    return probabilities


def suspects(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> list[Suspect]:
    """Find labels in doubt, the surest of another label first.

    Args:
        probabilities: float64 [N, C], out of fold.
        targets: int64 [N], the labels.
    """
    from cleanlab.filter import find_label_issues  # noqa: PLC0415

    # Both of its two ways to prune must agree, which is the most careful of its choices.
    doubtful = find_label_issues(targets, probabilities, filter_by="both", n_jobs=1)
    found = [
        Suspect(
            int(i),
            float(probabilities[i, targets[i]]),
            int(probabilities[i].argmax()),
            float(probabilities[i].max()),
        )
        for i in np.flatnonzero(doubtful)
        if probabilities[i].argmax() != targets[i] and probabilities[i].max() >= SURE
    ]
    return sorted(found, key=lambda suspect: -suspect.probability)


def strangers(vectors: NDArray[np.float32]) -> list[tuple[int, float]]:
    """Find images that are far from all others, the farthest first.

    Args:
        vectors: float32 [N, D].

    Returns:
        (index, how many times the median its mean cosine distance to its nearest neighbours is).
    """
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - costs a second that only this check pays

    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(vectors) - 1), metric="cosine").fit(vectors)
    distances = neighbours.kneighbors()[0].mean(axis=1)
    times = distances / max(float(np.median(distances)), 1e-6)
    return [(int(i), float(times[i])) for i in np.argsort(-times) if times[i] > STRANGE and distances[i] > ALIKE]
