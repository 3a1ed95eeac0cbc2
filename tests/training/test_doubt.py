"""Scores that tell cards from what is none, on arrays whose answer is known."""

import numpy as np
import pytest

from fulldeck.inference.recognizer import Prediction
from fulldeck.training.doubt import embedding_scores, judge, probability_scores, separate, threshold_keeping

RNG = np.random.default_rng(0)


def answer(probability, accepted):
    return Prediction("joker", probability, accepted, ())


def softmax(logits):
    spread = np.exp(logits - logits.max(axis=1, keepdims=True))
    return spread / spread.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def clouds():
    """Three classes as three clouds in eight dimensions, and others far from all: (embedding, truth, others)."""
    centres = RNG.normal(0, 6, (3, 8))
    truth = np.repeat(np.arange(3), 60)
    return centres[truth] + RNG.normal(0, 1, (180, 8)), truth, RNG.normal(0, 1, (40, 8)) + 30


@pytest.mark.parametrize("name", probability_scores())
def test_a_sure_answer_scores_above_a_doubtful_one(name):
    score = probability_scores()[name]
    sure, doubtful = softmax(np.array([[9.0, 0, 0, 0]])), softmax(np.array([[0.5, 0.3, 0, 0]]))
    nothing = np.zeros((1, 2))
    assert score(sure, nothing)[0] > score(doubtful, nothing)[0]


def test_formulas():
    scores, nothing = probability_scores(), np.zeros((1, 2))
    given = np.array([[0.7, 0.2, 0.1]])
    assert scores["maximum probability"](given, nothing) == pytest.approx([0.7])
    assert scores["margin to the second"](given, nothing) == pytest.approx([0.5])
    assert scores["entropy"](given, nothing) == pytest.approx(
        [0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)]
    )
    logits = np.array([[4.0, 1.0, -2.0]])
    assert scores["largest logit above their mean"](softmax(logits), nothing) == pytest.approx([3.0])


def test_a_certain_answer_has_finite_scores():
    certain = np.eye(4)[:1]
    for score in probability_scores().values():
        assert np.isfinite(score(certain, np.zeros((1, 2)))).all()


def test_embeddings_far_from_training_score_low(clouds):
    embedding, truth, others = clouds
    for name, score in embedding_scores(embedding, truth).items():
        inside, outside = score(np.ones((180, 3)), embedding), score(np.ones((40, 3)), others)
        if name != "nearest neighbours":  # those look at directions alone
            assert np.median(inside) > outside.max(), name


def test_mahalanobis_is_the_distance_under_the_shared_covariance():
    truth = np.repeat([0, 1], 4000)
    stretched = np.random.default_rng(1).normal(0, 1, (8000, 2)) * (1, 10) + np.array([[0, 0], [40, 0]])[truth]
    score = embedding_scores(stretched, truth)["Mahalanobis distance"]
    near, far = score(np.ones((2, 2)), np.array([[0.0, 10.0], [10.0, 0.0]]))
    assert -near == pytest.approx(1, rel=0.1)
    assert -far == pytest.approx(100, rel=0.1)


def test_the_threshold_keeps_as_many_as_are_asked_for():
    scores = np.arange(200.0)
    kept = threshold_keeping(scores, 0.99)
    assert (scores >= kept).sum() == 198
    assert threshold_keeping(np.array([0.3]), 0.99) == 0.3
    assert (np.full(10, 0.5) >= threshold_keeping(np.full(10, 0.5))).all()


def test_scores_are_compared_by_kind_and_the_best_comes_first(clouds):
    embedding, truth, others = clouds
    sure = softmax(np.eye(3)[truth] * 4 + RNG.normal(0, 1, (180, 3)))
    unsure = softmax(RNG.normal(0, 3, (40, 3)))
    kinds = ["dice"] * 10 + ["faces"] * 30
    scores = {**probability_scores(), **embedding_scores(embedding, truth)}
    found = separate(scores, (sure, embedding), (unsure, others), kinds)
    assert found[0].score in {"Mahalanobis distance", "relative Mahalanobis distance"}
    assert found[0].fpr == 0
    assert [one.fpr for one in found] == sorted(one.fpr for one in found)
    last = found[-1]
    assert last.kinds["dice"].total == 10
    refused = sum(rate.right for rate in last.kinds.values())
    assert last.fpr == pytest.approx(1 - refused / 40)
    assert 0.5 < last.auroc < 1


def test_what_users_meet_is_counted_at_both_thresholds():
    cards = [answer(0.99, accepted=True)] * 98 + [answer(0.6, accepted=False), answer(0.2, accepted=False)]
    others = [answer(0.97, accepted=True), answer(0.7, accepted=False), answer(0.3, accepted=False)]
    found = judge(cards, others, ["dice", "dice", "faces"], 0.95)
    assert (found.kept.right, found.refused.right, found.refused_keeping.right) == (98, 2, 1)
    assert found.keeping == 0.6
    assert found.refused_by_kind["dice"].value == 0.5
    assert found.refused_keeping_by_kind["faces"].value == 1
