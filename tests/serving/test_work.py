"""Several tasks at once: each gets what it would get alone."""

import pickle

import pytest

from fulldeck.errors import ModelError
from fulldeck.inference.recognizer import Recognizer
from fulldeck.serving import worker
from fulldeck.serving.work import Task, classify_together, from_plain, perform, to_plain
from sent_images import encoded

COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250))


class Waited:
    """Somebody waits for the task, or nobody does any more."""

    def __init__(self, *, abandoned=False):
        self.abandoned = abandoned
        self.decoded = []

    def decode(self, index):
        self.decoded.append(index)


def task(*images, start=0):
    files = [(f"{at}.png", data) for at, data in enumerate(images, start)]
    return Task("classify", start, files, max_pixels=10**6, observing=True)


@pytest.fixture
def recognizer(tiny_model):
    return Recognizer(tiny_model, threads=1)


@pytest.fixture(scope="module")
def tasks():
    red, green, blue = map(encoded, COLOURS)
    return [task(red), task(green, blue, start=4), task(blue)]


def labels(outcome):
    return [prediction.label for prediction, _ in outcome.results]


def test_each_gets_what_it_would_get_alone(recognizer, tasks):
    together = classify_together(recognizer, [(one, Waited()) for one in tasks])
    alone = [perform(recognizer, one, Waited()) for one in tasks]
    assert [len(outcome.results) for outcome in together] == [1, 2, 1]
    for ours, theirs in zip(together, alone, strict=True):
        assert labels(ours) == labels(theirs)
        for (prediction, seen), (other, observed) in zip(ours.results, theirs.results, strict=True):
            assert prediction.probability == pytest.approx(other.probability, abs=1e-5)
            assert (seen.width, seen.brightness) == (observed.width, observed.brightness)
    assert [outcome.batches for outcome in together] == [[4], [], []]
    assert all(outcome.decoding > 0 and outcome.inferring > 0 for outcome in together)


def test_a_bad_file_and_one_that_nobody_waits_for_are_their_own_tasks_alone(recognizer, tasks):
    bad, left = task(b"no image", start=2), Waited(abandoned=True)
    outcomes = classify_together(recognizer, [(bad, Waited()), (tasks[0], left), (tasks[1], Waited())])
    assert [at for at, _ in outcomes[0].bad] == [2]
    assert outcomes[0].inferring is None
    assert not outcomes[1].results
    assert left.decoded == []
    assert labels(outcomes[2]) == labels(perform(recognizer, tasks[1], Waited()))
    assert [outcome.batches for outcome in outcomes] == [[], [], [2]]


def test_where_there_is_nothing_to_infer_nothing_is(recognizer):
    [outcome] = classify_together(recognizer, [(task(b"no image"), Waited())])
    assert (outcome.results, outcome.batches) == ([], [])


def test_a_fault_of_one_befalls_no_other(recognizer, tasks, monkeypatch):
    look = Recognizer.second_look

    def fail(self, picture, whole):
        if picture.name == "4.png":
            raise ModelError("a fault")
        return look(self, picture, whole)

    monkeypatch.setattr(Recognizer, "second_look", fail)
    found = worker.answers(recognizer, [(one, Waited()) for one in tasks])
    assert isinstance(found[1], ModelError)
    assert len(found[0].results) == len(found[2].results) == 1


def test_outcomes_and_tasks_are_the_same_after_they_were_sent(recognizer):
    images = [encoded(colour, size=(40, 30)) for colour in COLOURS]
    wanted = perform(recognizer, task(*images), Waited())
    assert wanted.results
    assert from_plain(pickle.loads(pickle.dumps(to_plain(wanted)))) == wanted
    bad = perform(recognizer, task(b"no image"), Waited())
    found = from_plain(pickle.loads(pickle.dumps(to_plain(bad))))
    assert [(index, str(error)) for index, error in found.bad] == [(index, str(error)) for index, error in bad.bad]
    assert Task(*task(*images).to_plain()) == task(*images)
