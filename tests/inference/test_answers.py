import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from fulldeck.errors import ImageError
from fulldeck.inference.answers import Answer, answers
from fulldeck.inference.files import Source
from fulldeck.inference.recognizer import Alternative, Prediction, Recognizer


@pytest.fixture(scope="module")
def recognizer(tiny_model):
    return Recognizer(tiny_model, threads=1)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{at:02}.png" for at in range(20)]
    for at, path in enumerate(paths):
        side = 8 if at % 3 else 400  # slow ones between fast ones
        cv2.imwrite(str(path), np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8))
    return [str(path) for path in paths]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_answers_come_in_order_and_errors_stop_nothing(recognizer, pictures, tmp_path, workers):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    sources = [Source(path) for path in pictures]
    sources[3:3] = [Source("none.jpg"), Source(str(text)), Source("empty", ImageError("empty: no images"))]
    given = list(answers(sources, recognizer, workers))
    assert [answer.file for answer in given] == [source.name for source in sources]
    assert [answer.error is not None for answer in given] == [3 <= at < 6 for at in range(len(sources))]
    assert given[3].error == "none.jpg: there is no such file"
    assert given[5].error == "empty: no images"
    for answer in given[:3] + given[6:]:
        assert answer.prediction == recognizer.classify(answer.file)


def test_sources_are_drawn_as_they_are_needed(recognizer, pictures):
    drawn = []

    def sources():
        for path in pictures:
            drawn.append(path)
            yield Source(path)

    stream = answers(sources(), recognizer, 2)
    next(stream)
    assert len(drawn) < 10
    stream.close()  # a reader that goes away leaves no thread behind
    assert len(drawn) < 10


def test_standard_input(recognizer, pictures, monkeypatch):
    data = Path(pictures[0]).read_bytes()

    class Stdin:
        buffer = io.BytesIO(data)

    monkeypatch.setattr("sys.stdin", Stdin())
    (answer, second) = answers([Source("-"), Source("-")], recognizer, 1)
    assert answer.file == "-"
    assert answer.prediction == recognizer.classify(pictures[0])
    assert second.error == "standard input: the file is empty"


def test_the_object_for_programs():
    prediction = Prediction("joker", 0.75, accepted=True, alternatives=(Alternative("ace of clubs", 0.25),))
    assert Answer("a.jpg", prediction).to_dict() == {
        "file": "a.jpg",
        "label": "joker",
        "probability": 0.75,
        "accepted": True,
        "alternatives": [{"label": "ace of clubs", "probability": 0.25}],
    }
    assert Answer("a.jpg", error="a.jpg: empty").to_dict() == {"file": "a.jpg", "error": "a.jpg: empty"}
