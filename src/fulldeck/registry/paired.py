"""Is a share proved not to be worse by a margin, when both models answered the same images?

Pure functions of counts. Images that both models get right, or both wrong, say little; those that only one gets right
decide. The test is Tango's score test for matched pairs (T. Tango, "Equivalence test and confidence interval for the
difference in proportions for the paired-sample design", Statistics in Medicine 17 (1998), 891-908), which is
McNemar's at a margin of 0, and keeps its level where counts are small and shares near 1.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Pairs:
    """N images that two models answered.

    Attributes:
        n: How many.
        gained: Right by the challenger alone.
        lost: Right by the champion alone.
    """

    n: int
    gained: int
    lost: int

    @property
    def difference(self) -> float:
        """The challenger's share right less the champion's."""
        return (self.gained - self.lost) / self.n


def score(pairs: Pairs, difference: float) -> float:
    """Tango's statistic against the hypothesis that the true difference is ``difference``; standard normal under it.

    Args:
        pairs: The counts.
        difference: Challenger less champion, -1 < difference < 1.
    """
    n, gained, lost = pairs.n, pairs.gained, pairs.lost
    # The share lost by only the challenger, as likely as can be under the hypothesis: the larger root of Aq²+Bq+C.
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # rounding can take a root of 0 below it
    variance = n * (2 * share + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def p_not_worse(pairs: Pairs, margin: float) -> float:
    """The probability of counts as good as these if the challenger were worse by the whole margin, one-sided."""
    return 1 - NormalDist().cdf(score(pairs, -margin))


def lowest_difference(pairs: Pairs, confidence: float) -> float:
    """The one-sided lower confidence bound of the difference: what is further down is refused by the test.

    ``p_not_worse(pairs, margin) < 1 - confidence`` just where this is above ``-margin``.
    """
    wanted = NormalDist().inv_cdf(confidence)
    low, high = -1 + 1e-9, pairs.difference
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if score(pairs, middle) < wanted else (middle, high)
    return low


def smallest_margin(n: int, confidence: float) -> float:
    """The margin under which n images prove nothing, even if both models answer all of them alike.

    With no image gained or lost the statistic is sqrt(n * margin / (1 - margin)).
    """
    wanted = NormalDist().inv_cdf(confidence) ** 2
    return wanted / (n + wanted)
