"""From held-out logits to the two numbers that make a model honest: a temperature, and what to accept.

Both are fitted on images that no weight was fitted on.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name

TOLERATED = 0.02
"""Share of accepted held-out answers that may be wrong."""

FALSE_ACCEPTANCE = 0.03
"""Share of held-out pictures without a readable card that may be accepted."""


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Find the temperature T that minimises the cross entropy of logits / T.

    From Guo et al., "On Calibration of Modern Neural Networks" (2017): one number, which leaves every answer as it is.

    Args:
        logits: float [N, C].
        targets: int64 [N].

    Returns:
        T between 0.1 and 10.
    """
    log_t = torch.zeros(1, dtype=torch.float64, device=logits.device, requires_grad=True)
    logits = logits.double()
    optimiser = torch.optim.LBFGS([log_t], lr=0.1, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(logits / log_t.exp(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return float(log_t.detach().exp().clamp(0.1, 10.0))


def fit_threshold(
    top: NDArray[np.float64],
    right: NDArray[np.bool_],
    others: NDArray[np.float64] | None = None,
    *,
    tolerated: float = TOLERATED,
    false_acceptance: float = FALSE_ACCEPTANCE,
) -> float:
    """Find the lowest top probability from which on answers may be trusted.

    From there on at most ``tolerated`` of the answers are wrong, and at most ``false_acceptance`` of the pictures that
    show no card have an answer.

    Args:
        top: top probability of each image, [N].
        right: whether the top label was right, [N].
        others: top probability of each picture of no card, [M]; None where there are none to go by.
        tolerated: share of accepted answers that may be wrong.
        false_acceptance: share of the others that may be accepted.

    Returns:
        A threshold of at least 0.3, under which no answer among 53 deserves trust, and at most 0.95.
    """
    order = np.argsort(-top, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(top) + 1)
    good = np.flatnonzero(wrong <= tolerated)
    threshold = float(top[order][good[-1]]) if len(good) else 1.0
    if others is not None and len(others):
        # just above the highest of those that must not be accepted
        refused = np.sort(others)[::-1][int(false_acceptance * len(others)) :]
        threshold = max(threshold, float(refused[0]) + 0.001) if len(refused) else threshold
    return float(np.clip(round(threshold, 3), 0.3, 0.95))
