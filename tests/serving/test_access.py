import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from fulldeck.serving.access import Rates
from fulldeck.serving.app import create_app
from fulldeck.serving.keys import KeyRing, add, read, revoke
from fulldeck.serving.settings import Settings
from sent_images import encoded

IMAGE = encoded((250, 10, 10))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def client(tiny_model: Path, keys: Path) -> Iterator[TestClient]:
    """A service that asks for keys, and lets each have five images at once and then next to none."""
    settings = Settings(model=tiny_model, rate_burst=5, rate_per_second=0.01)
    with TestClient(create_app(settings, KeyRing(keys))) as client:
        client.portal.call(client.app.state.engine.settled.wait)
        yield client


def ask(client: TestClient, images: int = 1, **headers: str):
    return client.post("/classify/", files=[("files", ("a.png", IMAGE))] * images, headers=headers)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_either_header_carries_a_key(client, keys):
    key = add(keys, "me")
    assert ask(client, **bearer(key)).status_code == 200
    assert ask(client, **{"X-API-Key": key}).status_code == 200
    assert ask(client, Authorization=f"bearer {key}").status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "no-key"),
        ({"Authorization": "Basic bWU6c2VjcmV0"}, "no-key"),
        ({"X-API-Key": ""}, "no-key"),
        ({"Authorization": "Bearer fd_00000000_nothing"}, "wrong-key"),
        ({"X-API-Key": "something else"}, "wrong-key"),
    ],
)
def test_without_a_key_the_answer_is_401(client, keys, headers, code):
    add(keys, "me")
    response = ask(client, **headers)
    assert response.status_code == 401
    assert response.json()["code"] == code
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_key_opens_nothing_any_more_and_a_new_one_does(client, keys):
    old = add(keys, "old")
    assert ask(client, **bearer(old)).status_code == 200
    revoke(keys, "old")
    assert ask(client, **bearer(old)).json()["code"] == "wrong-key"
    assert ask(client, **bearer(add(keys, "new"))).status_code == 200


def test_metrics_ask_for_a_key_and_what_probes_need_does_not(client, keys):
    key = add(keys, "me")
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=bearer(key)).status_code == 200
    assert {client.get(path).status_code for path in ("/", "/health", "/ready", "/docs", "/example.jpg")} == {200}


def test_a_key_that_asks_too_much_waits_and_the_others_do_not(client, keys):
    mine, yours = add(keys, "mine"), add(keys, "yours")
    assert ask(client, 3, **bearer(mine)).status_code == 200
    assert ask(client, 3, **bearer(mine)).status_code == 200  # which is one image more than there were tokens
    refused = ask(client, **bearer(mine))
    assert refused.status_code == 429
    assert refused.json()["code"] == "rate-limit"
    assert 150 <= int(refused.headers["retry-after"]) <= 200  # two tokens at 0.01 a second
    assert ask(client, **bearer(yours)).status_code == 200


def test_what_cannot_be_used_counts_as_one_image_at_least(client, keys):
    key = bearer(add(keys, "me"))
    for sent in ("multipart/form-data; boundary=b", "text/plain", "image/png") * 2:
        last = client.post("/classify/", content=b"no", headers=key | {"Content-Type": sent})
    assert last.status_code == 429


def test_requests_that_are_on_their_way_at_once_count_from_their_beginning(client, keys):
    headers = bearer(add(keys, "me")) | {"Content-Type": "image/png"}

    async def scenario() -> list[int]:
        asked = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            await asked.wait()
            yield IMAGE

        async with httpx.AsyncClient(transport=httpx.ASGITransport(client.app), base_url="http://x") as other:
            asking = [asyncio.create_task(other.post("/classify/", content=body(), headers=headers)) for _ in range(7)]
            await asyncio.wait(asking, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            asked.set()
            return sorted(answer.status_code for answer in await asyncio.gather(*asking))

    assert client.portal.call(scenario) == [200] * 5 + [429] * 2


def test_keys_that_cannot_be_read_open_nothing_and_the_log_says_why(client, keys, caplog):
    key = add(keys, "me")
    keys.unlink()
    response = ask(client, **bearer(key))
    assert response.status_code == 503
    assert response.json()["code"] == "no-keys"
    assert str(keys) in caplog.text
    assert str(keys) not in response.text
    described = client.get("/openapi.json").json()["paths"]
    asking = [
        (path, method) for path, methods in described.items() for method in methods if "security" in methods[method]
    ]
    assert len(asking) == 4
    for path, method in asking:
        refused = client.request(method, path, headers=bearer(key))
        assert refused.status_code == 503
        example = described[path][method]["responses"]["503"]["content"]["application/problem+json"]["example"]
        if path in {"/metrics", "/admin/reload"}:  # the others have more to say with it
            assert (example["code"], example["detail"]) == (refused.json()["code"], refused.json()["detail"])


def test_the_access_line_names_the_key_by_its_id_alone(client, keys, caplog):
    caplog.set_level("DEBUG")
    key = add(keys, "me")
    ask(client, **bearer(key))
    assert f"key={read(keys)[0].id}" in caplog.text
    assert key not in caplog.text


def test_openapi_says_how_a_key_is_sent(client):
    described = client.get("/openapi.json").json()
    schemes = described["components"]["securitySchemes"]
    assert {(s["type"], s.get("scheme"), s.get("name")) for s in schemes.values()} == {
        ("http", "bearer", None),
        ("apiKey", None, "X-API-Key"),
    }
    assert {name for use in described["paths"]["/classify/"]["post"]["security"] for name in use} == set(schemes)


def test_tokens_come_back_at_their_rate_and_not_above_the_burst():
    now = 100.0
    rates = Rates(2.0, 10, lambda: now)
    assert rates.wait("k") == 0
    rates.take("k", 14)
    assert rates.wait("k") == pytest.approx(2.5)  # from -4 to 1
    now += 2.4
    assert rates.wait("k") == pytest.approx(0.1)
    now += 0.1
    assert rates.wait("k") == 0
    now += 1000
    rates.take("k", 10)
    assert rates.wait("k") == pytest.approx(0.5)


def test_a_rate_of_zero_is_no_limit():
    rates = Rates(0, 1)
    rates.take("k", 1000)
    assert rates.wait("k") == 0
