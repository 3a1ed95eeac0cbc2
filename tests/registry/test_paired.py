import numpy as np
import pytest

from fulldeck.registry.paired import Pairs, lowest_difference, p_not_worse, score, smallest_margin


@pytest.mark.parametrize(("gained", "lost"), [(3, 9), (9, 3), (0, 5), (1, 0), (7, 7)])
def test_at_no_margin_it_is_mcnemars(gained, lost):
    assert score(Pairs(100, gained, lost), 0.0) == pytest.approx((gained - lost) / np.sqrt(gained + lost))


@pytest.mark.parametrize("pairs", [Pairs(80, 4, 9), Pairs(200, 0, 3), Pairs(50, 6, 1)])
@pytest.mark.parametrize("difference", [-0.2, -0.05, -0.01, 0.03])
def test_the_restricted_share_is_the_likeliest(pairs, difference):
    """By brute force: of all shares lost that the hypothesis allows, the one that makes the counts likeliest."""
    lost = np.linspace(max(0.0, -difference), (1 - difference) / 2, 400_001)[1:-1]
    gained = lost + difference
    inside = gained > 0
    lost, gained = lost[inside], gained[inside]
    alike = pairs.n - pairs.gained - pairs.lost
    likelihood = pairs.gained * np.log(gained) + pairs.lost * np.log(lost) + alike * np.log(1 - gained - lost)
    best = lost[likelihood.argmax()]
    distance = pairs.gained - pairs.lost - pairs.n * difference
    expected = distance / np.sqrt(pairs.n * (2 * best + difference * (1 - difference)))
    assert score(pairs, difference) == pytest.approx(expected, rel=1e-3)


def test_a_model_that_is_worse_by_the_margin_passes_once_in_twenty():
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(300, [0.02, 0.05, 0.93], size=4000)  # truly 3 % worse
    passed = [p_not_worse(Pairs(300, int(gained), int(lost)), 0.03) < 0.05 for gained, lost, _ in drawn]
    assert 0.03 < np.mean(passed) < 0.065


def test_the_bound_and_the_test_say_the_same():
    for pairs in (Pairs(265, 2, 3), Pairs(265, 0, 0), Pairs(742, 10, 4), Pairs(106, 0, 20)):
        bound = lowest_difference(pairs, 0.95)
        assert bound < pairs.difference
        assert p_not_worse(pairs, -bound - 1e-4) > 0.05 > p_not_worse(pairs, -bound + 1e-4)


@pytest.mark.parametrize("n", [1, 24, 53, 212, 1000])
def test_the_ends(n):
    assert lowest_difference(Pairs(n, 0, n), 0.95) == pytest.approx(-1, abs=1e-6)
    assert lowest_difference(Pairs(n, n, 0), 0.95) <= 1
    assert p_not_worse(Pairs(n, 0, n), 0.05) > 0.5


def test_too_few_images_prove_nothing():
    assert smallest_margin(265, 0.95) == pytest.approx(0.0101, abs=1e-4)
    for n in (20, 106, 1000):
        margin = smallest_margin(n, 0.95)
        assert p_not_worse(Pairs(n, 0, 0), margin * 1.01) < 0.05 < p_not_worse(Pairs(n, 0, 0), margin * 0.99)


def test_better_is_not_worse_and_much_worse_is():
    assert p_not_worse(Pairs(265, 20, 2), 0.02) < 1e-4
    assert p_not_worse(Pairs(265, 0, 20), 0.02) > 0.9
