import shutil

import pytest
from fastapi.testclient import TestClient

from fulldeck.serving.app import create_app
from fulldeck.serving.keys import KeyRing, add
from fulldeck.serving.settings import Settings
from sent_images import encoded

HERE, ELSEWHERE = ("127.0.0.1", 4711), ("192.0.2.7", 4711)


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copyfile(tiny_model, tmp_path / "served.onnx")


@pytest.fixture
def newer(make_model, metadata):
    return make_model(metadata=metadata | {"version": "0.0.2"}, seed=1)


@pytest.fixture
def serve(model):
    """A service with that model, asked from an address and with the keys of a file."""
    clients = []

    def begin(address=HERE, keys=None):
        app = create_app(Settings(model=model), keys and KeyRing(keys))
        client = TestClient(app, client=address)
        client.__enter__()
        clients.append(client)
        client.portal.call(app.state.engine.settled.wait)
        return client

    yield begin
    for client in clients:
        client.__exit__(None, None, None)


def version(client):
    return client.get("/ready").json()["model"]["version"]


def test_the_file_that_is_there_now_takes_over(serve, model, newer):
    client = serve()
    newer.replace(model)
    assert version(client) == "0.0.1"
    response = client.post("/admin/reload")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "model": {"name": "tiny", "version": "0.0.2"}}
    assert version(client) == "0.0.2"
    answer = client.post("/classify/", files={"files": ("a.png", encoded((1, 2, 3)))}).json()
    assert answer["model"]["version"] == "0.0.2"
    figures = client.get("/metrics").text
    assert 'fulldeck_model_loads_total{outcome="done"} 2.0' in figures
    assert 'version="0.0.2"' in figures
    assert 'version="0.0.1"' not in figures


@pytest.mark.parametrize("damage", ["cut off", "no model", "gone", "a folder", "no locator"])
def test_a_file_that_cannot_be_used_is_refused_and_the_old_model_serves_on(serve, model, damage):
    client = serve()
    if damage in {"gone", "a folder"}:
        model.unlink()
        if damage == "a folder":
            model.mkdir()
    elif damage == "no locator":
        model.with_name("locator.onnx").mkdir()
    else:
        model.write_bytes(model.read_bytes()[:-100] if damage == "cut off" else b"no model")
    response = client.post("/admin/reload")
    assert response.status_code == 409
    assert response.json()["code"] == "model-refused"
    assert ("locator.onnx" if damage == "no locator" else "served.onnx") in response.json()["detail"]
    assert response.json()["detail"].endswith("; the old model serves on")
    assert version(client) == "0.0.1"
    assert client.post("/classify/", files={"files": ("a.png", encoded((1, 2, 3)))}).status_code == 200
    assert 'fulldeck_model_loads_total{outcome="refused"} 1.0' in client.get("/metrics").text


def test_without_keys_it_is_asked_from_this_machine_alone(serve):
    assert serve(ELSEWHERE).post("/admin/reload").status_code == 403
    assert serve(("a-name", 1)).post("/admin/reload").status_code == 403
    assert serve(("::ffff:192.0.2.7", 1)).post("/admin/reload").status_code == 403
    for here in ("127.0.0.2", "::1", "::ffff:127.0.0.1"):  # the last one where a socket takes both kinds of addresses
        assert serve((here, 1)).post("/admin/reload").status_code == 200
    client = serve()
    for passed_on in ("Origin", "X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"):
        response = client.post("/admin/reload", headers={passed_on: "127.0.0.1"})
        assert (response.status_code, response.json()["code"]) == (403, "no-administrator")
    assert client.post("/admin/reload").status_code == 200


def test_with_keys_it_asks_for_an_administrators(serve, tmp_path):
    keys = tmp_path / "keys"
    user, operator = add(keys, "user"), add(keys, "operator", admin=True)
    for address in (HERE, ELSEWHERE):
        client = serve(address, keys)
        assert client.post("/admin/reload").status_code == 401
        assert client.post("/admin/reload", headers={"X-API-Key": user}).status_code == 403
        assert client.post("/admin/reload", headers={"X-API-Key": operator}).status_code == 200


@pytest.mark.parametrize("reloads", [False, True])
def test_ready_says_so_when_the_service_is_about_to_end(serve, reloads):
    client = serve()
    client.app.state.engine.drain()
    if reloads:  # a load that was under way takes nothing back
        assert client.post("/admin/reload").status_code == 200
    response = client.get("/ready")
    assert (response.status_code, response.json()["code"]) == (503, "draining")
    assert "fulldeck_ready 0.0" in client.get("/metrics").text
    assert client.post("/classify/", files={"files": ("a.png", encoded((1, 2, 3)))}).status_code == 200
