import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.training.calibrate import fit_temperature, fit_threshold


@pytest.fixture(scope="module")
def honest():
    """Logits whose softmax is the truth: targets are drawn from it. (float [20000, 5], int64 [20000])"""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=generator) * 2
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_scale(honest, scale):
    logits, targets = honest
    assert fit_temperature(logits * scale, targets) == pytest.approx(scale, rel=0.05)


def test_no_other_temperature_has_a_lower_loss(honest):
    logits, targets = honest
    logits, targets = logits[:300] * 2, targets[:300]
    best = fit_temperature(logits, targets)

    def loss(t):
        return F.cross_entropy(logits.double() / t, targets).item()

    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02))


def test_half_precision_does_for_logits(honest):
    logits, targets = honest
    assert fit_temperature(logits.half(), targets) == pytest.approx(fit_temperature(logits, targets), rel=1e-2)


def test_the_temperature_has_bounds():
    """All right has no best temperature but ever colder, all wrong ever hotter."""
    logits = torch.eye(4) * 5
    assert 0.1 <= fit_temperature(logits, torch.arange(4)) < 0.5
    assert fit_temperature(logits, (torch.arange(4) + 1) % 4) == pytest.approx(10.0)


def test_the_threshold_accepts_as_many_as_it_may():
    """100 answers; the only wrong ones lie at 0.500, 0.501 and 0.502."""
    top = np.linspace(0.5, 0.995, 100).round(3)
    top[:3] = 0.500, 0.501, 0.502
    right = np.ones(100, dtype=bool)
    right[:3] = False
    assert fit_threshold(top, right, tolerated=0.0) == top[3]
    assert fit_threshold(top, right, tolerated=0.011) == top[2]
    assert fit_threshold(top, right, tolerated=0.5) == top[0]


def test_the_order_of_the_images_does_not_matter():
    generator = np.random.default_rng(3)
    top = generator.random(500)
    right = generator.random(500) < top
    shuffle = generator.permutation(500)
    assert fit_threshold(top, right, tolerated=0.05) == fit_threshold(top[shuffle], right[shuffle], tolerated=0.05)


def test_the_share_of_wrong_among_the_accepted_is_within_what_is_tolerated():
    generator = np.random.default_rng(0)
    top = generator.uniform(0.3, 1.0, 5000)
    right = generator.random(5000) < top**0.2
    threshold = fit_threshold(top, right, tolerated=0.05)
    accepted = top >= threshold
    assert 0.3 < threshold < 0.95
    assert 0.04 < (~right[accepted]).mean() <= 0.051


def test_the_threshold_has_bounds():
    assert fit_threshold(np.array([0.1, 0.2]), np.array([True, True])) == 0.3
    assert fit_threshold(np.array([0.99, 0.98]), np.array([False, False])) == 0.95


def test_the_threshold_refuses_all_but_the_tolerated_share_of_others():
    top, right = np.linspace(0.5, 1.0, 200), np.ones(200, bool)
    others = np.linspace(0.0, 0.7, 100)
    threshold = fit_threshold(top, right, others, false_acceptance=0.02)
    assert (others >= threshold).mean() <= 0.02
    assert threshold == pytest.approx(0.69, abs=0.005)
    assert fit_threshold(top, right, others, false_acceptance=0.5) < threshold


def test_without_others_the_answers_alone_decide():
    top, right = np.linspace(0.5, 1.0, 200), np.ones(200, bool)
    assert fit_threshold(top, right, np.array([])) == fit_threshold(top, right)
