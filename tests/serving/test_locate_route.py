"""Asking the service for all cards of a photo; what both routes share is tested with /classify/."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from PIL import Image

from fulldeck import Recognizer
from fulldeck.monitoring.tables import PREDICTIONS
from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings
from located_cards import BLUE, GREEN, RED, table
from sent_images import encoded, jpeg

THREE = {(62, 50): RED, (202, 54): GREEN, (130, 134): BLUE}


def photo(cards: dict[tuple[int, int], tuple[int, int, int]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(table(cards)).save(file, "PNG")
    return file.getvalue()


def with_locator(folder: Path, model: Path, locator: Path) -> str:
    """A model in a folder with its locator beside it."""
    shutil.copy(model, folder / "model.onnx")
    shutil.copy(locator, folder / "locator.onnx")
    return str(folder / "model.onnx")


@pytest.fixture
def client(tmp_path, tiny_model, tiny_locator) -> Iterator[TestClient]:
    """A service whose model has a locator."""
    settings = Settings(model=with_locator(tmp_path, tiny_model, tiny_locator), max_files=4, max_body_bytes=200_000)
    with TestClient(create_app(settings)) as client:
        client.portal.call(client.app.state.engine.settled.wait)
        yield client


@pytest.fixture
def recognizer(tiny_model, tiny_locator) -> Recognizer:
    return Recognizer(tiny_model, locator=tiny_locator)


def figure(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_every_card_is_found_as_the_recognizer_finds_it(client, recognizer):
    response = client.post("/locate/", files={"files": ("table.png", photo(THREE))})
    assert response.status_code == 200
    body = response.json()
    assert body["model"] == {"name": "tiny", "version": "0.0.1"}
    assert body["request_id"] == response.headers["x-request-id"]
    (image,) = body["images"]
    assert (image["file"], image["width"], image["height"]) == ("table.png", 320, 192)
    located = recognizer.locate(photo(THREE))
    assert len(located) == 3
    for card, wanted in zip(image["cards"], located, strict=True):
        assert (card["label"], card["accepted"], card["visible"]) == (wanted.label, wanted.accepted, wanted.visible)
        assert card["probability"] == pytest.approx(wanted.probability, abs=1e-6)
        assert card["corners"] == [list(corner) for corner in wanted.corners]
        assert [a["label"] for a in card["alternatives"]] == [a.label for a in wanted.alternatives]


def test_several_files_keep_their_order_and_one_may_show_no_card(client, recognizer):
    files = [photo(THREE), photo({}), encoded(GREEN), photo({(102, 102): BLUE})]
    images = client.post("/locate/", files=[("files", (str(at), data)) for at, data in enumerate(files)]).json()[
        "images"
    ]
    assert [image["file"] for image in images] == ["0", "1", "2", "3"]
    assert [[card["label"] for card in image["cards"]] for image in images] == [
        [card.label for card in recognizer.locate(data)] for data in files
    ]
    assert [len(image["cards"]) for image in images] == [3, 0, 1, 1]


def test_one_image_may_be_the_body_itself(client):
    for path in ("/locate/", "/locate"):
        response = client.post(
            path, content=photo(THREE), headers={"Content-Type": "image/png"}, follow_redirects=False
        )
        assert response.status_code == 200
        assert len(response.json()["images"][0]["cards"]) == 3


def test_classify_takes_the_same_look(client, recognizer):
    files = [photo(THREE), photo({}), encoded(GREEN)]
    answers = client.post("/classify/", files=[("files", ("a", data)) for data in files]).json()["predictions"]
    assert [answer["label"] for answer in answers] == [recognizer.classify(data).label for data in files]
    assert [answer["accepted"] for answer in answers] == [True, False, True]


def test_a_file_that_cannot_be_used_is_named(client):
    files = [
        ("files", ("good.png", photo(THREE))),
        ("files", ("bad.txt", b"no")),
        ("files", ("cut.jpg", jpeg()[:1500])),
    ]
    response = client.post("/locate/", files=files)
    assert response.status_code == 422
    assert [(e["file"], e["index"], e["status"]) for e in response.json()["errors"]] == [
        ("bad.txt", 1, 415),
        ("cut.jpg", 2, 422),
    ]


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        ({"files": [("files", ("a.png", b"x"))] * 5}, 413, "too-many-files"),
        ({"content": bytes(200_001), "headers": {"Content-Type": "image/png"}}, 413, "body-too-large"),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415, "unsupported-type"),
        ({"files": {"other": (None, "text")}}, 422, "no-files"),
    ],
)
def test_the_limits_are_those_of_classify(client, request_of, status, code):
    response = client.post("/locate/", **request_of)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_its_cards_are_counted_as_predictions_and_its_stages_timed(client):
    before = figure(client, "fulldeck_predictions_total")
    client.post("/locate/", files={"files": ("table.png", photo(THREE))})
    assert figure(client, "fulldeck_predictions_total") == before + 3
    assert figure(client, 'fulldeck_requests_total{method="POST",route="/locate",status="200"}') == 1
    for stage in ("read", "queue", "decode", "infer", "total"):
        assert figure(client, f'fulldeck_stage_seconds_count{{stage="{stage}"}}') == 1


def test_the_description_shows_it_with_an_example_that_works(client):
    described = client.get("/openapi.json").json()
    route = described["paths"]["/locate/"]["post"]
    assert set(route["requestBody"]["content"]) == {"multipart/form-data", "image/*"}
    example = route["requestBody"]["content"]["image/*"]["examples"]["card"]["externalValue"]
    sent = client.post("/locate/", content=client.get(example).content, headers={"Content-Type": "image/jpeg"})
    assert sent.status_code == 200
    shown = route["responses"]["200"]["content"]["application/json"]["example"]
    assert set(shown) == set(sent.json())
    assert set(shown["images"][0]) == set(sent.json()["images"][0])
    assert {"label", "corners", "visible"} <= set(shown["images"][0]["cards"][0])
    assert client.get("/").json()["links"]["locate"] == "/locate/"


def test_a_locator_that_cannot_be_used_leaves_the_service_unready(tmp_path, tiny_model):
    with TestClient(create_app(Settings(model=with_locator(tmp_path, tiny_model, tiny_model)))) as client:
        client.portal.call(client.app.state.engine.settled.wait)
        assert client.get("/ready").status_code == 503
        assert "a locator is wanted here" in str(client.app.state.engine.error)


def test_every_card_is_in_the_prediction_log(tmp_path, tiny_model, tiny_locator):
    settings = Settings(
        model=with_locator(tmp_path, tiny_model, tiny_locator),
        predictions_folder=tmp_path / "state",
        predictions_images=True,
    )
    data = photo(THREE)
    with TestClient(create_app(settings)) as client:
        client.portal.call(client.app.state.engine.settled.wait)
        files = [("files", ("table.png", data)), ("files", ("bare.png", photo({})))]
        response = client.post("/locate/", files=files)
    cards = response.json()["images"][0]["cards"]
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'state' / 'predictions.db'}")
    with engine.connect() as connection:
        rows = connection.execute(sa.select(PREDICTIONS).order_by(PREDICTIONS.c.position)).all()
    engine.dispose()
    assert {row.request_id for row in rows} == {response.headers["x-request-id"]}
    assert [(row.position, row.label, row.accepted) for row in rows] == [
        (at, card["label"], card["accepted"]) for at, card in enumerate(cards)
    ]
    assert {(row.width, row.height, row.file_bytes) for row in rows} == {(320, 192, len(data))}
    assert len({row.embedding for row in rows}) == 3  # each its own card's
    assert [row.image for row in rows] == [data, None, None]
