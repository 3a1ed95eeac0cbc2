import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fulldeck import Recognizer
from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings
from sent_images import encoded, jpeg

RED, GREEN, BLUE = encoded((250, 10, 10)), encoded((10, 250, 10)), encoded((10, 10, 250))


def multipart(*parts: tuple[str, str | None, bytes]) -> tuple[dict[str, str], bytes]:
    body = b""
    for field, filename, data in parts:
        name = "" if filename is None else f'; filename="{filename}"'
        body += f'--xyz\r\nContent-Disposition: form-data; name="{field}"{name}\r\n\r\n'.encode() + data + b"\r\n"
    return {"Content-Type": "multipart/form-data; boundary=xyz"}, body + b"--xyz--\r\n"


def problem(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def test_one_image_is_named_as_the_recognizer_names_it(client, tiny_model):
    response = client.post("/classify/", files={"files": ("card.png", RED)})
    expected = Recognizer(tiny_model).classify(RED)
    assert response.status_code == 200
    body = response.json()
    assert body["model"] == {"name": "tiny", "version": "0.0.1"}
    (prediction,) = body["predictions"]
    assert prediction["file"] == "card.png"
    assert prediction["label"] == expected.label
    assert prediction["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert prediction["accepted"] is expected.accepted
    assert [a["label"] for a in prediction["alternatives"]] == [a.label for a in expected.alternatives]


def test_several_images_are_answered_in_their_order_whatever_their_field(client, tiny_model):
    files = [
        ("files", ("r.png", RED)),
        ("file", ("g.png", GREEN)),
        ("image", ("b.png", BLUE)),
        ("files", ("r.png", RED)),
    ]
    predictions = client.post("/classify/", files=files).json()["predictions"]
    expected = [p.label for p in Recognizer(tiny_model).classify([RED, GREEN, BLUE, RED])]
    assert [p["file"] for p in predictions] == ["r.png", "g.png", "b.png", "r.png"]
    assert [p["label"] for p in predictions] == expected
    assert len(set(expected)) == 3


@pytest.mark.parametrize("content_type", ["image/png", "image/*", "IMAGE/JPEG", "image/png; charset=binary"])
def test_one_image_may_be_the_body_itself_whatever_kind_it_says(client, tiny_model, content_type):
    response = client.post("/classify/", content=RED, headers={"Content-Type": content_type})
    assert response.status_code == 200
    (prediction,) = response.json()["predictions"]
    assert prediction["file"] == "image"
    assert prediction["label"] == Recognizer(tiny_model).classify(RED).label


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="card.png"', "card.png"),
        ('attachment; filename="../a.png"', "a.png"),
        ("attachment; filename=a.png", "a.png"),
        ('inline; filename="\u20ac.png"', "\u20ac.png"),
        ("inline; filename*=no-such-charset''%ff.png; x", "\u00ff.png"),
        ("inline; filename*", "image"),
        ("inline; filename*=utf-8''%e2%82%ac.png", "\u20ac.png"),
        ("inline", "image"),
        ('x; filename=""', "image"),
    ],
)
def test_an_image_as_the_body_may_bring_its_name(client, disposition, name):
    headers = {"Content-Type": b"image/png", "Content-Disposition": disposition.encode()}
    assert client.post("/classify/", content=RED, headers=headers).json()["predictions"][0]["file"] == name
    body = problem(client.post("/classify/", content=b"no", headers=headers), 415, "not-an-image")
    assert body["errors"][0]["file"] == name
    assert body["detail"].startswith(f"{name}: ")


def test_an_image_as_the_body_has_the_same_limits(client):
    headers = {"Content-Type": "image/png"}
    problem(client.post("/classify/", content=b"", headers=headers), 422, "empty")
    problem(client.post("/classify/", content=bytes(200_001), headers=headers), 413, "body-too-large")
    problem(client.post("/classify/", content=iter([bytes(100_000)] * 3), headers=headers), 413, "body-too-large")
    problem(client.post("/classify/", content=RED[:40], headers=headers), 422, "damaged")


def test_the_path_without_its_last_slash_does_as_well(client):
    response = client.post("/classify", files={"files": ("card.png", RED)}, follow_redirects=False)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("notes.txt", b"two of spades, says the text", 415, "not-an-image"),
        ("cut.jpg", jpeg()[:1500], 422, "truncated"),
        ("header.jpg", jpeg()[:10], 422, "truncated"),
        ("hurt.jpg", jpeg()[:3000] + bytes(300) + jpeg()[3300:], 422, "damaged"),
        ("cut.png", RED[:20], 422, "damaged"),
        ("empty.jpg", b"", 422, "empty"),
        ("dot.png", encoded((1, 2, 3), size=(1, 1)), 422, "too-small"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(client, name, data, status, code):
    body = problem(client.post("/classify/", files={"files": (name, data)}), status, code)
    (error,) = body["errors"]
    assert (error["file"], error["index"], error["status"], error["code"]) == (name, 0, status, code)
    assert name in body["detail"]
    assert "Traceback" not in body["detail"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_limit_of_pixels_is_a_setting(tiny_model, kind):
    image = encoded((1, 2, 3), kind, (101, 100))
    for most, status in ((10_100, 200), (10_099, 422)):
        app = create_app(Settings(model=tiny_model, max_pixels=most))
        with TestClient(app) as client:
            client.portal.call(app.state.engine.settled.wait)
            response = client.post("/classify/", files={"files": ("a", image)})
            assert response.status_code == status
    assert response.json()["code"] == "too-many-pixels"
    assert response.json()["detail"].startswith("a: 101x100 pixels")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(client, side):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    body = problem(client.post("/classify/", files={"files": ("bomb.png", bomb)}), 422, "too-many-pixels")
    assert body["errors"][0]["file"] == "bomb.png"


def test_one_bad_file_among_good_ones_refuses_the_request_and_is_named_alone(client):
    files = [("files", ("good.png", RED)), ("files", ("bad.txt", b"no")), ("files", ("fine.png", BLUE))]
    body = problem(client.post("/classify/", files=files), 415, "not-an-image")
    assert [(e["file"], e["index"]) for e in body["errors"]] == [("bad.txt", 1)]


def test_files_with_different_faults_are_each_named_with_their_own_status(client):
    files = [("files", ("bad.txt", b"no")), ("files", ("cut.jpg", jpeg()[:1500])), ("files", ("good.png", RED))]
    body = problem(client.post("/classify/", files=files), 422, "bad-files")
    assert [(e["file"], e["status"]) for e in body["errors"]] == [("bad.txt", 415), ("cut.jpg", 422)]


def test_too_many_files(client):
    files = [("files", (f"{number}.png", RED)) for number in range(1, 7)]
    assert client.post("/classify/", files=files[:4]).status_code == 200
    body = problem(client.post("/classify/", files=files), 413, "too-many-files")
    assert "4 files" in body["detail"]
    assert "5.png is one more" in body["detail"]


def test_a_body_that_states_too_large_a_length_is_not_read(client):
    headers = {"Content-Type": "multipart/form-data; boundary=xyz", "Content-Length": "200001"}
    problem(client.post("/classify/", headers=headers, content=b"--xyz\r\n"), 413, "body-too-large")


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "100"}, {"Content-Length": "-1"}, {"Content-Length": "²"}])
def test_a_body_that_states_no_or_a_false_length_is_stopped_at_the_limit(client, headers):
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield b'--xyz\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(1000):
            sent += 10_000
            yield b"\0" * 10_000

    encoded_headers = {k: v.encode() for k, v in headers.items()}
    response = client.post(
        "/classify/", headers={"Content-Type": "multipart/form-data; boundary=xyz"} | encoded_headers, content=body()
    )
    problem(response, 413, "body-too-large")


def test_an_image_as_the_body_that_is_too_large_is_named_where_it_has_a_name(client):
    headers = {"Content-Type": "image/png", "Content-Disposition": 'inline; filename="large.png"'}
    refused = client.post("/classify/", headers=headers, content=bytes(200_001))
    assert "large.png" in problem(refused, 413, "body-too-large")["detail"]
    assert client.post("/classify/", headers=headers, content=bytes(200_000)).status_code == 415


def test_no_file_at_all(client):
    problem(client.post("/classify/", files={"other": (None, "text")}), 422, "no-files")
    headers, body = multipart(("files", "", b""))  # what a browser sends for a file input that was left empty
    problem(client.post("/classify/", headers=headers, content=body), 422, "no-files")


def test_a_file_in_an_unknown_field_is_not_passed_over(client):
    files = [("files", ("a.png", RED)), ("upload", ("b.png", RED))]
    body = problem(client.post("/classify/", files=files), 422, "unknown-field")
    assert "b.png" in body["detail"]
    assert "'upload'" in body["detail"]
    assert [(e["file"], e["index"], e["status"], e["code"]) for e in body["errors"]] == [
        ("b.png", 1, 422, "unknown-field")
    ]


def test_every_file_in_an_unknown_field_is_named_and_no_more_of_the_field_than_can_be_shown(client):
    field = "up\u202eload" + "x" * 3000
    files = [(field, ("a.png", RED)), ("files", ("b.png", RED)), ("other", ("c.png", RED))]
    body = problem(client.post("/classify/", files=files), 422, "unknown-field")
    assert [(e["file"], e["index"]) for e in body["errors"]] == [("a.png", 0), ("c.png", 2)]
    assert len(body["detail"]) < 600
    assert "\u202e" not in body["detail"]


def test_text_fields_are_allowed(client):
    assert client.post("/classify/", files={"files": ("a.png", RED)}, data={"note": "mine"}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data"}])
def test_another_kind_of_body(client, headers):
    problem(client.post("/classify/", headers=headers, content=b"{}"), 415, "unsupported-type")
    assert "image/*" in client.post("/classify/", headers=headers, content=b"{}").headers["accept-post"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--xyz",
        b"no boundary at all",
        multipart(("files", "a.png", RED))[1][:-8],
        b"--xyz\r\nX: " + b"y" * 150_000,  # the head of a part has an end
        b"--xyz\r\n" + b"X: y\r\n" * 20_000,
    ],
    ids=["nothing", "its beginning", "no boundary", "its end is missing", "a long header", "many headers"],
)
def test_a_malformed_multipart_body(client, body):
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    problem(client.post("/classify/", headers=headers, content=body), 400, "malformed-multipart")


def test_a_boundary_that_is_too_long(client):
    headers = {"Content-Type": f"multipart/form-data; boundary={'x' * 5000}"}
    problem(client.post("/classify/", headers=headers, content=b"--"), 400, "malformed-multipart")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_file_of_a_form_may_have_any_name(client, encoding):
    headers, body = multipart(("files", "k\u00f6nig.png", b"no"))
    sent = client.post("/classify/", headers=headers, content=body.decode().encode(encoding))
    assert problem(sent, 415, "not-an-image")["errors"][0]["file"] == "k\u00f6nig.png"


def test_what_is_wrong_with_a_form_is_said_and_from_which_file_on(client):
    headers, body = multipart(("files", "a.png", RED), ("files", "b.png", RED))
    sent = body.replace(b"\r\n--xyz--", b"\r\n--xyz++")
    assert (
        "from b.png on"
        in problem(client.post("/classify/", headers=headers, content=sent), 400, "malformed-multipart")["detail"]
    )


def test_names_are_safe_to_show(client):
    headers, body = multipart(
        ("files", "../../etc/passwd", b"no"), ("files", "C:\\me\\a\x07b.txt", b"no"), ("files", None, b"no")
    )
    errors = problem(client.post("/classify/", headers=headers, content=body), 415, "not-an-image")["errors"]
    assert [e["file"] for e in errors] == ["passwd", "ab.txt", "files[2]"]


def test_before_the_model_is_loaded_the_answer_is_503(tiny_model):
    client = TestClient(create_app(Settings(model=tiny_model)))  # not entered: its lifespan has not begun
    response = client.post("/classify/", files={"files": ("a.png", RED)})
    problem(response, 503, "not-ready")
    assert response.headers["retry-after"] == "1"


def test_an_unexpected_failure_is_a_500_that_tells_nothing(client, caplog, monkeypatch):
    async def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(client.app.state.engine, "classify", fail)
    response = client.post("/classify/", files={"files": ("a.png", RED)}, headers={"X-Request-ID": "abc"})
    body = problem(response, 500, "internal-error")
    assert "secret" not in response.text
    assert body["request_id"] == "abc"
    assert "secret" in caplog.text
    assert "id=abc" in caplog.text


def test_a_model_that_cannot_be_used_leaves_the_service_unready(tmp_path: Path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with TestClient(create_app(Settings(model=broken))) as client:
        client.portal.call(client.app.state.engine.settled.wait)
        assert client.get("/health").status_code == 200
        assert "could not be loaded" in problem(client.get("/ready"), 503, "not-ready")["detail"]
        assert "broken.onnx" in str(client.app.state.engine.error)


KINDS = ("multipart/form-data; boundary=b", "multipart/form-data", "image/jpeg", "text/plain", "", "x; boundary=b")
PIECES = st.sampled_from(
    [
        b"--b\r\n",
        b"--b--\r\n",
        b"--b",
        b"\r\n",
        b"\r\n\r\n",
        b'Content-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n',
        b'Content-Disposition: form-data; name="other"\r\n',
        b"Content-Disposition: form-data; filename*=utf-8''%ff\r\n\r\n",
        b": \r\n",
        RED,
        RED[:50],
        jpeg(),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS) | st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40),
    pieces=st.lists(PIECES | st.binary(max_size=20), max_size=8),
)
def test_whatever_comes_it_is_named_or_refused(client, kind, pieces):
    response = client.post("/classify/", content=b"".join(pieces), headers={"Content-Type": kind.encode("latin-1")})
    assert response.status_code in {200, 400, 413, 415, 422}
    if response.status_code != 200:
        body = problem(response, response.status_code, response.json()["code"])
        assert body["detail"]
        assert all(error["file"] and error["detail"] for error in body["errors"])
