import re
import shlex

import pytest
from fastapi.testclient import TestClient

from fulldeck import Recognizer, __version__
from fulldeck.cards import LABELS
from fulldeck.inference.model_file import champion_path
from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings
from sent_images import encoded


def figures(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_root_says_what_this_is_and_which_model_serves(client):
    body = client.get("/").json()
    assert body["service"] == "fulldeck"
    assert body["version"] == __version__
    assert body["ready"] is True
    assert body["model"]["name"] == "tiny"
    assert body["model"]["labels"] == list(LABELS)
    assert {
        client.get(path).status_code for name, path in body["links"].items() if name not in {"classify", "locate"}
    } == {200}


def test_health_and_ready_before_and_after_the_model_is_loaded(tiny_model):
    app = create_app(Settings(model=tiny_model))
    before = TestClient(app)  # not entered: its lifespan has not begun
    assert before.get("/health").json() == {"status": "ok"}
    loading = before.get("/ready")
    assert loading.status_code == 503
    described = before.get("/openapi.json").json()["paths"]["/ready"]["get"]["responses"]["503"]
    example = described["content"]["application/problem+json"]["example"]
    assert example | {"request_id": ""} == loading.json() | {"request_id": ""}
    assert before.get("/").json()["ready"] is False
    assert figures(before)["fulldeck_ready"] == 0
    with TestClient(app) as after:
        after.portal.call(app.state.engine.settled.wait)
        assert after.get("/health").status_code == 200
        assert after.get("/ready").json() == {"status": "ready", "model": {"name": "tiny", "version": "0.0.1"}}
        assert figures(after)["fulldeck_ready"] == 1


@pytest.mark.parametrize("given", ["abc-123", "A.b_c", "x" * 128])
def test_a_request_id_is_honoured(client, given):
    assert client.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "a;b", "<script>"])
def test_a_request_id_is_made_where_none_that_is_safe_came(client, given):
    headers = {} if given is None else {"X-Request-ID": given}
    made = [client.get("/health", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
    assert made[0] != made[1]


def test_the_answer_carries_the_request_id(client):
    sent = {"files": ("a.png", encoded((1, 2, 3)))}
    response = client.post("/classify/", files=sent, headers={"X-Request-ID": "mine"})
    assert response.json()["request_id"] == response.headers["x-request-id"] == "mine"


def test_metrics_follow_what_happens(client):
    before = figures(client)
    label = client.post("/classify/", files={"files": ("a.png", encoded((9, 9, 250)))}).json()["predictions"][0][
        "label"
    ]
    client.post("/classify", files={"files": ("a.txt", b"no")})
    client.get("/no/such/page")
    client.request("BREW", "/classify/")
    after = figures(client)

    def grown(key: str) -> float:
        return after[key] - before.get(key, 0)

    assert grown('fulldeck_requests_total{method="POST",route="/classify",status="200"}') == 1
    assert grown('fulldeck_requests_total{method="POST",route="/classify",status="415"}') == 1
    assert grown('fulldeck_requests_total{method="GET",route="other",status="404"}') == 1
    assert grown('fulldeck_requests_total{method="other",route="/classify",status="405"}') == 1
    assert grown(f'fulldeck_predictions_total{{label="{label}"}}') == 1
    assert grown('fulldeck_bad_files_total{code="not-an-image"}') == 1
    assert grown('fulldeck_stage_seconds_count{stage="decode"}') == 2
    assert grown('fulldeck_stage_seconds_count{stage="infer"}') == 1
    assert grown('fulldeck_stage_seconds_count{stage="total"}') == 2
    assert grown('fulldeck_problems_total{code="not-an-image"}') == 1
    assert grown('fulldeck_problems_total{code="not-found"}') == 1
    assert grown("fulldeck_confidence_count") == 1
    assert grown("fulldeck_image_bytes_count") == 2
    assert grown('fulldeck_image_bytes_bucket{le="1024.0"}') == 2
    assert grown('fulldeck_batch_images_bucket{le="1.0"}') == 1
    assert after["fulldeck_in_flight"] == 0
    assert any(key.startswith("fulldeck_model_info{") and 'name="tiny"' in key for key in after)
    assert after["process_resident_memory_bytes"] > 0


def test_predictions_that_are_not_accepted_are_counted(make_model, metadata):
    app = create_app(Settings(model=make_model(metadata=metadata | {"threshold": 1.0})))
    with TestClient(app) as client:
        client.portal.call(app.state.engine.settled.wait)
        sent = {"files": ("a.png", encoded((128, 128, 128)))}
        assert client.post("/classify/", files=sent).json()["predictions"][0]["accepted"] is False
        assert figures(client)["fulldeck_rejected_total"] == 1


def test_what_is_to_alarm_is_there_before_it_happens(client):
    shed = {key: value for key, value in figures(client).items() if key.startswith("fulldeck_shed_total")}
    assert len(shed) == 5
    assert set(shed.values()) == {0.0}


def test_two_apps_have_metrics_of_their_own(client, tiny_model):
    client.get("/health")
    other = TestClient(create_app(Settings(model=tiny_model)))
    assert not any("/health" in key for key in figures(other))


ORIGIN = {"Origin": "https://example.org"}
PREFLIGHT = ORIGIN | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


def test_safe_headers_and_no_cors(client):
    headers = client.get("/health", headers=ORIGIN).headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers
    assert "access-control-allow-origin" not in client.options("/classify/", headers=PREFLIGHT).headers


def test_cors_for_the_origins_that_the_setting_names(tiny_model):
    client = TestClient(create_app(Settings(model=tiny_model, cors_origins="https://example.org, https://b.example")))
    headers = client.get("/health", headers=ORIGIN).headers
    assert headers["access-control-allow-origin"] == "https://example.org"
    assert "X-Request-ID" in headers["access-control-expose-headers"]
    assert headers["x-content-type-options"] == "nosniff"
    preflight = client.options("/classify/", headers=PREFLIGHT)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://example.org"
    other = client.get("/health", headers={"Origin": "https://example.com"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/classify/", 405),
        ("POST", "/docs", 405),
        ("GET", "/docs-files/nothing", 404),
        ("GET", "/docs-files/../nothing", 404),
    ],
)
def test_the_frameworks_own_refusals_are_problems_too(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.request.url.path in response.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/health", "/docs", "/openapi.json", "/example.jpg"])
def test_what_can_be_got_can_be_asked_for_by_its_head(client, path):
    assert client.head(path).status_code == 200


def test_docs_load_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert addresses
    assert all(address.startswith("/docs-files/") for address in addresses)
    assert {client.get(address).status_code for address in addresses} == {200}


def test_openapi_describes_the_bodies(client):
    described = client.get("/openapi.json").json()
    assert {"/", "/classify/", "/locate/", "/health", "/ready", "/metrics", "/admin/reload"} == set(described["paths"])
    assert set(described["paths"]["/classify/"]["post"]["requestBody"]["content"]) == {"multipart/form-data", "image/*"}
    post = described["paths"]["/classify/"]["post"]
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["files"]["items"]["format"] == "binary"
    names = set(described["components"]["schemas"])
    references = set(re.findall("#/components/schemas/([A-Za-z]+)", client.get("/openapi.json").text))
    assert references <= names
    assert {"Classification", "ProblemBody", "BadFile"} <= references
    assert set(post["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "429", "503", "504"}


@pytest.fixture
def documented(client) -> dict:
    return client.get("/openapi.json").json()["paths"]["/classify/"]["post"]


def test_the_documented_image_is_one_that_the_service_names(client, documented):
    (example,) = documented["requestBody"]["content"]["image/*"]["examples"].values()
    image = client.get(example["externalValue"])
    assert image.headers["content-type"] == "image/jpeg"
    response = client.post("/classify/", content=image.content, headers={"Content-Type": image.headers["content-type"]})
    assert response.status_code == 200


def test_the_documented_commands_work_as_they_stand(client, documented):
    image = client.get("/example.jpg").content
    names = []
    for sample in documented["x-codeSamples"]:
        program, *words, address = shlex.split(sample["source"])
        assert program == "curl"
        path = address.removeprefix("http://127.0.0.1:8000")
        sent = dict.fromkeys(words[::2]) | {"files": []}
        for option, value in zip(words[::2], words[1::2], strict=True):
            if option == "-F":
                field, name = value.split("=@")
                sent["files"].append((field, (name, image)))
            sent[option] = value
        headers = dict([sent["-H"].split(": ")]) if "-H" in sent else {}
        content = image if sent.get("--data-binary") == "@example.jpg" else None
        response = client.post(path, files=sent["files"] or None, content=content, headers=headers)
        assert response.status_code == 200, sample
        names.append([p["file"] for p in response.json()["predictions"]])
    assert names == [["example.jpg", "example.jpg"], ["image"]]


def test_the_documented_answer_is_of_the_form_that_comes(client, documented):
    def form(value: object) -> object:
        if isinstance(value, dict):
            return {key: form(inner) for key, inner in value.items()}
        return [form(value[0])] if isinstance(value, list) else type(value)

    example = documented["responses"]["200"]["content"]["application/json"]["example"]
    real = client.post("/classify/", files={"files": ("example.jpg", client.get("/example.jpg").content)}).json()
    assert form(example) == form(real)
    assert example["predictions"][0]["file"] == "example.jpg"
    assert {a["label"] for p in example["predictions"] for a in (p, *p["alternatives"])} <= set(LABELS)


@pytest.mark.skipif(not champion_path().exists(), reason="no champion is shipped yet")
def test_the_documented_answer_is_the_champions(documented):
    image = TestClient(create_app(Settings())).get("/example.jpg").content
    example = documented["responses"]["200"]["content"]["application/json"]["example"]
    assert Recognizer().classify(image).label == example["predictions"][0]["label"]


def test_the_documented_problem_with_a_file_is_the_one_that_comes(client, documented):
    cut = encoded((1, 2, 3), "JPEG")
    cut = cut[: cut.index(b"\xff\xda") + 30]
    for status, name, data in (("415", "notes.txt", b"some notes"), ("422", "card.jpg", cut)):
        example = documented["responses"][status]["content"]["application/problem+json"]["example"]
        real = client.post("/classify/", files={"files": (name, data)}).json()
        assert real | {"request_id": ""} == example | {"request_id": ""}
