"""A model file says of its own bytes whether they are those that were exported."""

import numpy as np
import onnx
import pytest

from fulldeck.errors import ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import METADATA_KEY, champion_path
from fulldeck.inference.seal import SEAL_KEY, check_seal, seal


def refused(tmp_path, data, says):
    path = tmp_path / "changed.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"changed\.onnx: .*{says}"):
        Classifier(path)


def test_a_sealed_model_is_plain_onnx_to_others(tiny_model):
    entries = {entry.key: entry.value for entry in onnx.load(tiny_model).metadata_props}
    assert list(entries) == [METADATA_KEY, SEAL_KEY]
    assert len(bytes.fromhex(entries[SEAL_KEY])) == 32


def test_the_champion_is_sealed():
    check_seal(champion_path().read_bytes(), "champion")


def test_every_changed_byte_is_noticed(tiny_model):
    whole = tiny_model.read_bytes()
    check_seal(whole, "whole")
    for place in [*range(0, len(whole), 97), len(whole) - 1]:
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(ModelError, match="seal"):
            check_seal(bytes(changed), "changed")


def test_an_edited_label_or_weight_is_noticed(tiny_model, tmp_path):
    model = onnx.load(tiny_model)
    for entry in model.metadata_props:
        entry.value = entry.value.replace("ace of clubs", "ace of spuds")
    refused(tmp_path, model.SerializeToString(), "damaged or was changed")
    model = onnx.load(tiny_model)
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.roll(weights, 1), "weights"))
    refused(tmp_path, model.SerializeToString(), "damaged or was changed")


def test_what_is_put_behind_or_taken_away_is_noticed(tiny_model, tmp_path):
    whole = tiny_model.read_bytes()
    more = onnx.ModelProto()
    onnx.helper.set_model_props(more, {METADATA_KEY: "another"})
    refused(tmp_path, whole + more.SerializeToString(), "does not end with a seal")
    refused(tmp_path, whole[:-1], "does not end with a seal")
    stripped = onnx.load(tiny_model)
    del stripped.metadata_props[1]
    refused(tmp_path, stripped.SerializeToString(), "does not end with a seal")


def test_another_files_seal_does_not_fit(make_model, tmp_path):
    one, other = make_model(seed=1).read_bytes(), make_model(seed=2).read_bytes()
    refused(tmp_path, one[:-64] + other[-64:], "damaged or was changed")


def test_a_sealed_text_is_still_no_model(tmp_path):
    refused(tmp_path, seal(b"hello"), "no ONNX model that can be run")
