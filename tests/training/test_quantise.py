import numpy as np
import pytest

from fulldeck.training.quantise import choose, divergence

FIRST, LAST = "first", "last"


def found(none, first, last, both):
    distances = {(): none, (FIRST,): first, (LAST,): last, (FIRST, LAST): both}
    return choose((FIRST, LAST), distances.__getitem__)


@pytest.mark.parametrize(
    ("distances", "kept"),
    [
        ((1.0, 0.99, 0.98, 0.97), ()),
        ((1.0, 0.3, 0.9, 0.28), (FIRST,)),
        ((1.0, 0.9, 0.2, 0.19), (LAST,)),
        ((1.0, 0.6, 0.5, 0.1), (FIRST, LAST)),
        ((1.0, 0.95, 0.95, 0.4), (FIRST, LAST)),
    ],
)
def test_a_layer_stays_in_float_only_where_that_pays(distances, kept):
    assert found(*distances)[0] == kept


def test_every_attempt_is_told():
    assert found(1.0, 0.9, 0.8, 0.7)[1] == {"": 1.0, FIRST: 0.9, LAST: 0.8, "first+last": 0.7}


def test_a_network_of_one_layer_is_tried_twice():
    assert choose(("only", "only"), {(): 1.0, ("only",): 0.0}.__getitem__) == (("only",), {"": 1.0, "only": 0.0})


def test_the_divergence_is_nothing_between_equals_and_grows():
    sure, torn = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    assert divergence(sure, sure) == 0
    assert divergence(sure, torn) == pytest.approx(np.log(2))
    assert np.isfinite(divergence(torn, sure))
