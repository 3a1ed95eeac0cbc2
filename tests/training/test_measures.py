"""The measures, against examples worked by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from fulldeck.cards import LABELS
from fulldeck.training import measures as m


def index(*labels):
    return np.array([LABELS.index(label) for label in labels])


def answers(seed, images=200, classes=53, skill=3.0):
    """Truth and probabilities of a middling model: many right, some wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    scores = rng.normal(size=(images, classes))
    scores[np.arange(images), truth] += skill
    shares = np.exp(scores)
    return truth, shares / shares.sum(axis=1, keepdims=True)


# Four images, three labels: right at 0.8, wrong at 0.6, right at 0.5, wrong at 0.9.
TRUTH = np.array([0, 1, 1, 2])
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.9, 0.08, 0.02]])
CONFIDENCE = np.array([0.8, 0.6, 0.5, 0.9])
RIGHT = np.array([True, False, True, False])


def test_wilson_is_the_textbook_interval():
    # 8 of 10: (0.8 + 0.19207) / 1.38415 -+ 1.95996 * sqrt(0.016 + 0.0096) / 1.38415
    low, high = m.wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)


@pytest.mark.parametrize(("right", "total", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1)])
def test_wilson_at_the_ends(right, total, low, high):
    assert m.wilson(right, total) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_holds_the_share(counts):
    right, total = counts
    low, high = m.wilson(right, total)
    assert 0 <= low <= right / total <= high <= 1


def test_top_k_by_hand():
    assert m.top_k(TRUTH, PROBABILITIES, 1) == 0.5
    assert m.top_k(TRUTH, PROBABILITIES, 2) == 0.75
    assert m.top_k(TRUTH, PROBABILITIES, 5) == 1.0


def test_brier_by_hand():
    first = 0.2**2 + 0.1**2 + 0.1**2
    second = 0.6**2 + 0.7**2 + 0.1**2
    third = 0.2**2 + 0.5**2 + 0.3**2
    fourth = 0.9**2 + 0.08**2 + 0.98**2
    assert m.brier(TRUTH, PROBABILITIES) == pytest.approx((first + second + third + fourth) / 4)


def test_cross_entropy_by_hand():
    expected = -(math.log(0.8) + math.log(0.3) + math.log(0.5) + math.log(0.02)) / 4
    assert m.cross_entropy(TRUTH, PROBABILITIES) == pytest.approx(expected)


def test_cross_entropy_of_an_impossible_truth_is_finite():
    assert math.isfinite(m.cross_entropy(np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])))


def test_calibration_by_hand():
    # Two bins: (0, 0.5] holds the third image, (0.5, 1] the others, stated 0.7667 and met 0.3333.
    found = m.calibration(CONFIDENCE, RIGHT, bins=2)
    assert [bar.count for bar in found.bins] == [1, 3]
    assert found.bins[0] == m.Bin(0.0, 0.5, 1, 0.5, 1.0)
    assert found.mce == pytest.approx(0.5)
    assert found.ece == pytest.approx(0.25 * 0.5 + 0.75 * (2.3 / 3 - 1 / 3))


def test_calibration_keeps_the_edges():
    found = m.calibration(np.array([0.0, 1.0]), np.array([False, True]))
    assert found.bins[0].count == found.bins[-1].count == 1
    assert found.ece == found.mce == 0


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_calibration_weighs_every_image_once(seed):
    truth, probabilities = answers(seed, images=60, classes=7)
    right = probabilities.argmax(axis=1) == truth
    found = m.calibration(probabilities.max(axis=1), right)
    assert sum(bar.count for bar in found.bins) == 60
    assert sum(bar.count * bar.accuracy for bar in found.bins) == pytest.approx(right.sum())
    assert 0 <= found.ece <= found.mce <= 1


def test_selection_by_hand():
    found = m.selection(CONFIDENCE, RIGHT, 0.6)
    assert (found.accepted, found.coverage) == (3, 0.75)
    assert found.accuracy == pytest.approx(1 / 3)
    assert (found.wrong_accepted, found.right_rejected) == (2, 1)


def test_selection_of_nothing_has_no_accuracy():
    assert m.selection(CONFIDENCE, RIGHT, 0.95).accuracy is None


def test_risk_by_hand():
    # Surest first: wrong, right, wrong, right: risks 1, 1/2, 2/3, 1/2.
    assert m.area_under_risk(CONFIDENCE, RIGHT) == pytest.approx((1 + 1 / 2 + 2 / 3 + 1 / 2) / 4)
    curve = m.coverage_curve(CONFIDENCE, RIGHT)
    assert curve.x == pytest.approx((0.25, 0.5, 0.75, 1.0))
    assert curve.y == pytest.approx((0, 1 / 2, 1 / 3, 1 / 2))


def test_risk_of_equals_does_not_depend_on_their_order():
    same = np.full(4, 0.7)
    assert m.area_under_risk(same, RIGHT) == m.area_under_risk(same, RIGHT[::-1]) == 0.5


def test_classes_agree_with_sklearn():
    truth, probabilities = answers(1)
    predicted = probabilities.argmax(axis=1)
    found = m.measure(LABELS, truth, probabilities, 0.5)
    met = np.unique(truth)
    for ours, theirs in [
        (found.macro_f1, metrics.f1_score),
        (found.macro_precision, metrics.precision_score),
        (found.macro_recall, metrics.recall_score),
    ]:
        expected = theirs(truth, predicted, labels=met, average="macro", zero_division=0)
        assert ours == pytest.approx(expected)
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found.log_loss == pytest.approx(metrics.log_loss(truth, probabilities, labels=range(53)))
    assert found.top5 == pytest.approx(metrics.top_k_accuracy_score(truth, probabilities, k=5, labels=range(53)))
    one_hot = np.eye(53)[truth]
    assert found.auc_micro == pytest.approx(metrics.roc_auc_score(one_hot, probabilities, average="micro"))
    assert found.auc_macro == pytest.approx(metrics.roc_auc_score(one_hot[:, met], probabilities[:, met]))
    assert np.array_equal(found.confusion, metrics.confusion_matrix(truth, predicted, labels=range(53)))


def test_labels_without_images_do_not_drag_the_macro_figures():
    truth = np.array([0, 1])
    found = m.measure(LABELS, truth, np.eye(53)[truth], 0.5)
    assert found.macro_f1 == found.macro_recall == found.macro_precision == 1
    assert found.classes[2].support == 0
    assert found.classes[2].auc is None


def test_one_image_can_be_measured():
    found = m.measure(["a", "b"], np.array([1]), np.array([[0.2, 0.8]]), 0.5)
    assert found.accuracy.right == 1
    assert found.auc_macro is None
    assert found.roc_macro == m.Curve((), ())


def test_confused_pairs_come_most_frequent_first():
    matrix = np.array([[5, 1, 0], [0, 2, 3], [1, 0, 9]])
    pairs = m.confused_pairs(["a", "b", "c"], matrix)
    assert pairs == (m.Confusion("b", "c", 3, 5), m.Confusion("a", "b", 1, 6), m.Confusion("c", "a", 1, 10))


def test_rank_suit_and_colour_are_judged_alone():
    truth = index("king of spades", "king of spades", "two of hearts", "joker", "joker")
    predicted = index("king of clubs", "ten of spades", "two of hearts", "joker", "two of hearts")
    found = m.card_scores(LABELS, truth, predicted)
    assert found.rank.right.right == 3  # the first king, the two, the joker
    assert found.suit.right.right == 3  # the second king, the two, the joker
    assert found.colour.right.right == 4
    assert (found.rank.values["king"].right, found.rank.values["king"].total) == (0, 2)
    assert (found.suit.values["hearts"].right, found.suit.values["hearts"].total) == (1, 1)
    assert (found.colour.values["joker"].right, found.colour.values["joker"].total) == (1, 2)
    assert list(found.rank.values)[:2] == ["ace", "two"]
    assert list(found.rank.values)[-2:] == ["king", "joker"]


def test_other_labels_have_no_rank():
    truth, probabilities = answers(2, images=20, classes=3)
    assert m.measure(["cat", "dog", "cow"], truth, probabilities, 0.5).cards is None


def test_curves_stay_short():
    truth, probabilities = answers(3, images=1000)
    found = m.measure(LABELS, truth, probabilities, 0.5)
    for curve in (found.coverage, found.roc_micro, found.roc_macro):
        assert 2 <= len(curve.x) == len(curve.y) <= m.CURVE_POINTS
        assert list(curve.x) == sorted(curve.x)
    assert (found.coverage.x[-1], found.coverage.y[-1]) == (1, pytest.approx(found.accuracy.value))
