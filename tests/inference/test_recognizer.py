import io
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

import fulldeck
from fulldeck.cards import LABELS
from fulldeck.errors import ConfigError, ImageError, ModelError
from fulldeck.inference import recognizer as module
from fulldeck.inference.recognizer import ALTERNATIVES, CHUNK, Alternative, Prediction, Recognizer


def plain(colour, side=48):
    return np.full((side, side, 3), colour, np.uint8)


def png(pixels):
    return cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()


@pytest.fixture
def recognizer(tiny_model):
    return Recognizer(tiny_model, threads=1)


COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 20), (128, 128, 128)]


def test_a_prediction_is_what_the_model_says(recognizer):
    prediction = recognizer.classify(plain((250, 10, 10)))
    probabilities, _ = recognizer.classifier.run(plain((250, 10, 10), 32)[None])
    order = np.argsort(-probabilities[0])
    assert prediction.label == LABELS[order[0]]
    assert prediction.probability == pytest.approx(probabilities[0].max())
    assert [other.label for other in prediction.alternatives] == [LABELS[at] for at in order[1 : ALTERNATIVES + 1]]
    assert prediction.accepted == (prediction.probability >= 0.5)


def test_every_kind_of_input_gives_the_same_answer(recognizer, tmp_path):
    pixels = plain((10, 250, 10))
    path = tmp_path / "green.png"
    path.write_bytes(png(pixels))
    wanted = recognizer.classify(pixels)
    for image in (path, str(path), png(pixels), bytearray(png(pixels)), Image.fromarray(pixels), Image.open(path)):
        assert recognizer.classify(image) == wanted


def test_a_list_gives_a_list_in_its_order(recognizer):
    pictures = [plain(colour) for colour in COLOURS] * 5  # more than a chunk
    assert len(pictures) > CHUNK
    predictions = recognizer.classify(pictures)
    assert len(predictions) == len(pictures)
    for picture, prediction in zip(pictures, predictions, strict=True):
        alone = recognizer.classify(picture)
        assert prediction.label == alone.label
        assert prediction.probability == pytest.approx(alone.probability, abs=1e-6)
    assert len({prediction.label for prediction in predictions}) > 1
    assert recognizer.classify(tuple(pictures[:1])) == [recognizer.classify(pictures[0])]


def test_nothing_gives_nothing(recognizer):
    assert recognizer.classify([]) == []
    assert recognizer.classify(()) == []


def test_the_threshold_decides_what_is_accepted(tiny_model):
    grey = plain((128, 128, 128))
    assert not Recognizer(tiny_model).classify(grey).accepted  # all 53 are about as likely
    assert Recognizer(tiny_model, threshold=0).classify(grey).accepted
    assert Recognizer(tiny_model).threshold == 0.5
    sure = Recognizer(tiny_model).classify(plain((250, 10, 10)))
    assert Recognizer(tiny_model, threshold=sure.probability).classify(plain((250, 10, 10))).accepted


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(tiny_model, threshold):
    with pytest.raises(ConfigError, match="probability from 0 to 1"):
        Recognizer(tiny_model, threshold=threshold)


def test_no_threads_are_too_few(tiny_model):
    with pytest.raises(ConfigError, match="at least one thread"):
        Recognizer(tiny_model, threads=0)


def test_errors_name_the_image(recognizer, tmp_path):
    with pytest.raises(ImageError, match=r"none\.jpg: there is no such file"):
        recognizer.classify(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="image: this is no image"):
        recognizer.classify(b"text")
    good = [plain((1, 2, 3))] * (CHUNK + 1)
    with pytest.raises(ImageError, match=f"image {CHUNK + 1}: this is no image"):
        recognizer.classify([*good, b"text"])
    for strange in (None, 7, {"a": 1}):
        with pytest.raises(ImageError, match="is no path, bytes, array or Pillow image"):
            recognizer.classify(strange)
    with pytest.raises(ImageError, match=r"uint8 \[H, W, 3\]"):
        recognizer.classify(np.zeros((20, 20), np.uint8))


def test_a_broken_pillow_image_is_our_error(recognizer):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(ImageError, match="PNG is truncated or damaged"):
        recognizer.classify(Image.open(io.BytesIO(png(noise)[:3000])))


def test_a_model_of_other_and_few_classes(make_model):
    prediction = Recognizer(make_model(labels=["cat", "dog"])).classify(plain((250, 10, 10)))
    assert {prediction.label, *(other.label for other in prediction.alternatives)} == {"cat", "dog"}
    alone = Recognizer(make_model(labels=["cat"])).classify(plain((250, 10, 10)))
    assert alone == Prediction("cat", 1.0, accepted=True, alternatives=())


def test_predictions_are_plain_values():
    prediction = Prediction("joker", 0.9, accepted=True, alternatives=(Alternative("ace of clubs", 0.1),))
    assert hash(prediction) == hash(
        Prediction("joker", 0.9, accepted=True, alternatives=(Alternative("ace of clubs", 0.1),))
    )


def test_threads_may_share_one(recognizer):
    pictures = [plain(colour) for colour in COLOURS] * 8
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(recognizer.classify, pictures)) == [recognizer.classify(picture) for picture in pictures]


def test_a_missing_champion_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "champion_path", lambda: tmp_path / "champion.onnx")
    for model in (None, "champion"):
        with pytest.raises(ModelError, match="the shipped champion is missing"):
            Recognizer(model)


def test_the_champion_is_the_default(monkeypatch, tiny_model):
    monkeypatch.setattr(module, "champion_path", lambda: tiny_model)
    assert Recognizer().info.name == Recognizer("champion").info.name == "tiny"


def test_the_package_opens_onto_it():
    assert fulldeck.Recognizer is Recognizer
    assert fulldeck.Prediction is Prediction
