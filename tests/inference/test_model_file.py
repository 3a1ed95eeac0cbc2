import json

import pytest

from fulldeck.errors import ModelError
from fulldeck.inference.model_file import LocatorInfo, ModelInfo, champion_path, locator_beside


def test_round_trip(metadata):
    info = ModelInfo.from_json(json.dumps(metadata), "a.onnx")
    assert json.loads(info.to_json()) == metadata
    assert ModelInfo.from_json(info.to_json(), "a.onnx") == info
    assert info.labels[0] == "ace of clubs"
    assert info.mean == (0.5, 0.5, 0.5)


def test_what_only_reports_read_may_be_missing(metadata):
    for key in ("config", "metrics", "reference"):
        del metadata[key]
    assert ModelInfo.from_json(json.dumps(metadata), "a.onnx").metrics == {}


def test_fields_of_a_later_writer_are_ignored(metadata):
    metadata["note"] = "new"
    assert ModelInfo.from_json(json.dumps(metadata), "a.onnx").name == "tiny"


@pytest.mark.parametrize("schema", [None, 0, 2, "1", True])
def test_another_schema_version_is_refused(metadata, schema):
    metadata["schema"] = schema
    with pytest.raises(ModelError, match=rf"a\.onnx: it has model schema {schema!r}, and this fulldeck reads schema 1"):
        ModelInfo.from_json(json.dumps(metadata), "a.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\0"])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(ModelError, match=r"a\.onnx: its fulldeck metadata is no JSON object"):
        ModelInfo.from_json(text, "a.onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 1),
        ("labels", []),
        ("labels", "ace of clubs"),
        ("labels", ["a", 1]),
        ("labels", ["a", "a"]),
        ("size", 0),
        ("size", 160.5),
        ("size", True),
        ("mean", [0.5]),
        ("std", ["a", "b", "c"]),
        ("temperature", 0),
        ("temperature", float("nan")),
        ("threshold", 1.5),
        ("threshold", None),
        ("created", 20250101),
        ("config", []),
        ("reference", None),
    ],
)
def test_a_wrong_field_is_named(metadata, key, value):
    metadata[key] = value
    with pytest.raises(ModelError, match=rf"a\.onnx: its metadata field '{key}' is not "):
        ModelInfo.from_json(json.dumps(metadata), "a.onnx")


@pytest.mark.parametrize("key", ["name", "labels", "size", "mean", "threshold", "data_hash"])
def test_a_missing_field_is_named(metadata, key):
    del metadata[key]
    with pytest.raises(ModelError, match=f"'{key}'"):
        ModelInfo.from_json(json.dumps(metadata), "a.onnx")


def test_the_champion_lies_in_the_package():
    assert champion_path().parts[-3:] == ("fulldeck", "weights", "champion.onnx")
    assert locator_beside(champion_path()) == champion_path().parent / "locator.onnx"


def test_a_locators_round_trip(locator_metadata):
    info = LocatorInfo.from_json(json.dumps(locator_metadata), "a.onnx")
    assert json.loads(info.to_json()) == locator_metadata
    assert LocatorInfo.from_json(info.to_json(), "a.onnx") == info
    assert (info.size, info.stride, info.threshold) == (320, 4, 0.3)


def test_each_kind_of_model_is_refused_where_the_other_is_wanted(metadata, locator_metadata):
    with pytest.raises(ModelError, match=r"a\.onnx: this model is a locator, and a classifier is wanted here"):
        ModelInfo.from_json(json.dumps(locator_metadata), "a.onnx")
    with pytest.raises(ModelError, match=r"a\.onnx: this model is a classifier, and a locator is wanted here"):
        LocatorInfo.from_json(json.dumps(metadata), "a.onnx")


@pytest.mark.parametrize(("key", "value"), [("size", 0), ("stride", 4.5), ("threshold", 2), ("name", None)])
def test_a_wrong_field_of_a_locator_is_named(locator_metadata, key, value):
    locator_metadata[key] = value
    with pytest.raises(ModelError, match=f"its metadata field '{key}' is not "):
        LocatorInfo.from_json(json.dumps(locator_metadata), "a.onnx")
