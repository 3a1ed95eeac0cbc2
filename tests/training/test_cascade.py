import functools
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from onnx import helper
from PIL import Image

from fulldeck.cli import main
from fulldeck.data.dataset import to_float
from fulldeck.errors import ConfigError, DataError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.image import resize
from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.seal import check_seal
from fulldeck.training.cascade import BARS, cascade, choose_bar, ratio
from fulldeck.training.cascade_graph import first_look, join, last_network, pool_plainly
from fulldeck.training.compress import compress
from fulldeck.training.export import OPSET, Answering, store_half, to_onnx, write_model
from fulldeck.training.from_model import start_from_model
from fulldeck.training.module import CardModule
from fulldeck.training.teacher import load_teacher

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]

LABELS = ("blue", "green", "red")
SIZE = 32
PATCHES = np.random.default_rng(1).integers(0, 256, (36, 4, 4, 3), dtype=np.uint8)
PICTURES = PATCHES.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)
PIXELS, OTHERS = PICTURES[:12], PICTURES[12:]


@functools.cache
def traced():
    """The graph of a network, which takes seconds; `write` gives it other weights, and another size."""
    torch.manual_seed(0)
    module = CardModule("test_efficientnet", LABELS, pretrained=False).eval()
    with torch.no_grad():
        for name, value in module.named_parameters():
            if name.endswith("bias"):  # else all that comes out is next to nothing
                value.normal_(0, 0.5)
    return to_onnx(Answering(module, 1.0), SIZE).SerializeToString()


def write(file, size, seed, *, half=False, spread=1.5, labels=LABELS, head=None):
    """A model file of random weights whose logits spread so far; or that sees nothing and has the logits ``head``."""
    graph, generator = onnx.load_from_string(traced()), np.random.default_rng(seed)
    weights = {each.name: each for each in graph.graph.initializer if each.name.startswith("network.")}

    def put(name, values):
        weights[name].CopyFrom(onnx.numpy_helper.from_array(np.asarray(values, np.float32), name))

    for name, tensor in weights.items():
        values = onnx.numpy_helper.to_array(tensor)
        put(name, values + generator.normal(0, 0.3 * values.std(), values.shape))
    del graph.graph.value_info[:]
    for at in (1, 2):
        graph.graph.input[0].type.tensor_type.shape.dim[at].dim_value = size
    shown = np.stack([resize(picture, size) for picture in OTHERS])
    [embedding] = ort.InferenceSession(graph.SerializeToString()).run(["embedding"], {"images": shown})
    layer = generator.normal(size=(len(labels), embedding.shape[1]))
    layer *= 0 if head else spread / (embedding @ layer.T).std(0)[:, None]
    put("network.classifier.weight", layer)
    put("network.classifier.bias", head or -(embedding @ layer.T).mean(0))
    if half:
        store_half(graph)
    info = ModelInfo(
        name="test_efficientnet",
        version=f"random-{seed}",
        labels=labels,
        size=size,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        temperature=1.0,
        threshold=0.6,
        data_hash=f"hash-{seed}",
        commit=f"commit-{seed}",
        created="2026-01-01T00:00:00+00:00",
        config={"model": {"backbone": "test_efficientnet"}},
        reference={"brightness_mean": 0.5},
    )
    write_model(graph, info, file)
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cascade")


@pytest.fixture(scope="module")
def data(colours, folder):
    shutil.copytree(colours, folder / "data" / "train")
    return folder / "data"


@pytest.fixture(scope="module")
def first(folder):
    return write(folder / "first.onnx", SIZE // 2, 1)


@pytest.fixture(scope="module")
def then(folder):
    return write(folder / "then.onnx", SIZE, 2, half=True)


@pytest.fixture(scope="module")
def usual(data, folder):
    """The options that most have in common."""
    return {"data": data, "cache": folder / "cache"}


@pytest.fixture(scope="module")
def early(first):
    """What the first says of the pixels, shrunk."""
    return Classifier(first, threads=1).run(np.stack([resize(image, SIZE // 2) for image in PIXELS]))


@pytest.fixture(scope="module")
def late(then):
    return Classifier(then, threads=1).run(PIXELS)


@pytest.fixture(scope="module")
def report(first, then, usual, folder, early):
    """A cascade whose first is sure of about half of the pixels; do not change its file."""
    ratios = np.sort(ratio(early[0]))
    bar = float((ratios[5] + ratios[6]) / 2)
    return cascade(first, then, folder / "joined.onnx", bar=bar, **usual)


@pytest.fixture(scope="module")
def joined(report):
    return Classifier(report.model, threads=1)


@pytest.fixture(scope="module")
def sure(report, early):
    return ratio(early[0]) >= report.bar


def test_sure_images_get_the_firsts_answer_and_the_others_the_seconds(joined, early, late, sure):
    assert 0 < sure.sum() < len(sure)
    probabilities, embedding = joined.run(PIXELS)
    assert np.abs(early[0] - late[0]).max(1).min() > 1e-3  # so that they can be told apart
    assert np.allclose(probabilities, np.where(sure[:, None], early[0], late[0]), atol=1e-6)
    assert np.allclose(embedding[~sure], late[1][~sure], atol=1e-5)
    assert embedding.shape == late[1].shape


def test_alone_and_all_alike(joined, early, late, sure):
    for at in (np.flatnonzero(sure), np.flatnonzero(~sure), np.flatnonzero(sure)[:1], np.flatnonzero(~sure)[:1]):
        wanted = (early if sure[at[0]] else late)[0][at]
        assert np.allclose(joined.run(PIXELS[at])[0], wanted, atol=1e-6)


def test_the_firsts_embeddings_are_brought_among_the_seconds(report, joined):
    assert report.likeness > 0.9
    assert report.likeness_settled is None
    assert joined.run(PIXELS)[1].dtype == np.float32


def test_it_is_a_model_file_of_its_own(report, joined, then, first):
    check_seal(Path(report.model).read_bytes(), report.model)
    onnx.checker.check_model(onnx.load(report.model))
    before, after = Classifier(then, threads=1).info, joined.info
    kept = ("name", "labels", "size", "mean", "std", "temperature", "threshold", "data_hash", "commit", "reference")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.version == report.version != before.version
    told = after.config["cascade"]
    assert after.config["model"] == before.config["model"]
    assert told["bar"] == report.bar
    assert told["first"] == {
        "version": "random-1",
        "name": "test_efficientnet",
        "size": SIZE // 2,
        "data_hash": "hash-1",
        "commit": "commit-1",
        "config": {"model": {"backbone": "test_efficientnet"}},
    }
    assert told["then"] == {"version": "random-2"}
    written = json.loads(Path(report.model).with_suffix(".parity.json").read_text())
    assert written == json.loads(json.dumps(asdict(report)))


def test_another_bar_or_another_second_is_another_version(report, first, then, usual, tmp_path):
    joined = cascade(first, then, tmp_path / "a.onnx", bar=1.1, **usual)
    assert joined.version != report.version
    other = write(tmp_path / "other.onnx", SIZE, 7)
    assert cascade(first, other, tmp_path / "b.onnx", bar=1.1, **usual).version != joined.version


def test_what_starts_from_a_cascade_starts_from_its_second(report, then):
    images = to_float(torch.from_numpy(PIXELS))

    def started(file):
        module = CardModule("test_efficientnet", LABELS, pretrained=False)
        start_from_model(module, Path(file), [images])
        return module.state_dict()

    wanted, found = started(then), started(report.model)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_its_second_teaches(report, then):
    images = to_float(torch.from_numpy(PIXELS))
    wanted, found = (load_teacher(Path(file), LABELS, [images])(images) for file in (then, report.model))
    assert torch.equal(wanted, found)


def test_the_second_comes_out_as_it_went_in(report, then, tmp_path, late):
    graph = last_network(onnx.load(report.model))
    onnx.checker.check_model(graph)
    write_model(graph, Classifier(then, threads=1).info, tmp_path / "out.onnx")
    probabilities, embedding = Classifier(tmp_path / "out.onnx", threads=1).run(PIXELS)
    assert np.array_equal(probabilities, late[0])
    assert np.array_equal(embedding, late[1])
    whole = onnx.load(then)
    assert last_network(whole) == whole


# The bar


def test_a_ratio_is_that_of_the_two_best():
    found = ratio(np.array([[0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.0, 1.0, 0.0]], np.float32))
    assert found[:2] == pytest.approx([8, 2])
    assert found[2] > BARS[-1]
    assert ratio(np.zeros((0, 3), np.float32)).shape == (0,)


def test_the_lowest_bar_by_which_few_pictures_are_settled_unsafely_is_chosen():
    kinds = np.repeat([0, 1, 2], 1000)
    ratios, unsafe = np.full(3000, 1e6, np.float32), np.zeros(3000, bool)
    assert choose_bar(ratios, unsafe, kinds) == BARS[0]
    unsafe[[0, 1000, 2000]] = True  # one in a thousand of each kind may be
    assert choose_bar(ratios, unsafe, kinds) == BARS[0]
    for place in (1, 1001, 2001):  # and not one more of any
        unsafe[place], ratios[place] = True, 550.0
        assert choose_bar(ratios, unsafe, kinds) == 600
        unsafe[place] = False
    unsafe[1] = True
    assert choose_bar(ratios[:1000], unsafe[:1000], kinds[:1000]) == 600  # of the other kinds none were shown
    unsafe[:3], ratios[:3] = True, 1e6
    with pytest.raises(ModelError, match=r"no bar is safe.* unsafely 3 of 1000 upright cards, 1 of 1000 turned ones"):
        choose_bar(ratios, unsafe, kinds)
    with pytest.raises(ModelError, match="no bar is safe"):  # nothing is settled, which is of no use
        choose_bar(np.full(9, 5.0, np.float32), np.zeros(9, bool), np.zeros(9, np.int64))


@pytest.fixture(scope="module")
def redsayers(folder):
    """Two firsts and two seconds, which name red whatever they see: one of each is sure of it."""
    return {
        "sure": write(folder / "sure.onnx", 16, 3, head=(0, 0, 20.0)),
        "faint": write(folder / "faint.onnx", 16, 4, head=(0, 0, 2.0)),
        "then": write(folder / "red.onnx", SIZE, 5, head=(0, 0, 20.0)),
        "unsure": write(folder / "unsure.onnx", SIZE, 6, head=(0, 0, 1.0)),
    }


@pytest.fixture(scope="module")
def red(colours, folder):
    """Held-out pictures, all of which are red."""
    shutil.copytree(colours / "red", folder / "red" / "red")
    return folder / "red"


def test_a_first_that_is_right_settles_all(redsayers, usual, red, tmp_path):
    made = cascade(
        redsayers["sure"],
        redsayers["then"],
        tmp_path / "out.onnx",
        held_out=[red],
        no_card=[red],
        **usual,
    )
    assert made.chosen
    assert made.bar == BARS[0]
    assert (made.upright.pictures, made.upright.settled, made.upright.unsafe) == (16, 16, 0)
    assert (made.turned.pictures, made.turned.settled, made.turned.unsafe) == (7 * 16, 7 * 16, 0)
    assert (made.no_card.pictures, made.no_card.settled, made.no_card.unsafe) == (8 * 16, 8 * 16, 0)
    assert made.same_label == 16
    assert made.tried["100"] == (16, 0, 0, 0)
    assert Classifier(made.model, threads=1).info.config["cascade"]["held_out"]["turned"]["settled"] == 7 * 16


@pytest.mark.parametrize(
    ("models", "shown"),
    [
        (("sure", "unsure"), {"held_out": "data/train"}),  # most of which are not red
        (("faint", "then"), {"held_out": "red"}),  # which it is not sure of
        (("sure", "unsure"), {"held_out": "red", "no_card": "red"}),  # which the second would search for cards
    ],
)
@pytest.mark.usefixtures("red")
def test_no_bar_is_safe(redsayers, usual, tmp_path, models, shown):
    folders = {name: [usual["data"].parent / folder] for name, folder in shown.items()}
    with pytest.raises(ModelError, match="no bar is safe"):
        cascade(
            *(redsayers[name] for name in models),
            tmp_path / "out.onnx",
            **folders,
            **usual,
        )
    assert not list(tmp_path.iterdir())


def test_what_the_second_takes_for_the_same_wrong_card_is_not_the_firsts_fault(redsayers, usual, tmp_path):
    models = (redsayers[name] for name in ("sure", "then"))
    made = cascade(*models, tmp_path / "out.onnx", held_out=[usual["data"] / "train"], **usual)
    assert made.upright.settled == made.upright.pictures > 16
    assert made.upright.unsafe == made.turned.unsafe == 0


def test_what_the_first_takes_for_another_card_when_it_is_turned_is_unsafe(then, usual, tmp_path):
    sharp = write(tmp_path / "sharp.onnx", SIZE // 2, 1, spread=100.0)
    says = Classifier(sharp, threads=1)
    for number, picture in enumerate(PICTURES):
        label = LABELS[says.run(resize(picture, SIZE // 2)[None])[0].argmax()]
        (tmp_path / "named" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.repeat(7, 0).repeat(7, 1)).save(tmp_path / "named" / label / f"{number}.png")
    folders = {"held_out": [tmp_path / "named"], **usual}
    made = cascade(sharp, then, tmp_path / "out.onnx", bar=2, **folders)
    assert made.upright.settled > 30
    assert made.upright.unsafe == 0
    assert made.turned.pictures == 7 * made.upright.pictures
    assert made.turned.unsafe > 10
    with pytest.raises(ModelError, match="no bar is safe"):
        cascade(sharp, then, tmp_path / "none.onnx", **folders)


# The command, and what is refused


def test_the_command(first, then, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the cache of decoded images is made here
    words = ["cascade", str(first), str(then), "--out", "out.onnx", "--bar", "2", "--data", str(data)]
    done = CliRunner().invoke(main, [*words, "--held-out", str(data / "train")])
    assert done.exit_code == 0, done.output
    assert "where it is sure by 2 to 1" in done.output
    assert "upright" in done.output
    assert Classifier("out.onnx").info.labels == LABELS
    done = CliRunner().invoke(main, ["cascade", str(first), str(then), "--out", "more.onnx", "--data", str(data)])
    assert done.exit_code == 1
    assert "name pictures with --held-out" in done.output
    assert "Traceback" not in done.output
    done = CliRunner().invoke(main, ["cascade", str(first), str(then), "--out", "more.onnx", "--bar", "-1"])
    assert done.exit_code == 2
    assert "'--bar': -1.0 is not in the range x>=0" in done.output


def test_models_that_do_not_go_together(first, then, report, usual, tmp_path):
    out = tmp_path / "out.onnx"
    options = {"bar": 0.9, **usual}
    other = write(tmp_path / "other.onnx", 16, 1, labels=("blue", "green", "mauve"))
    odd = write(tmp_path / "odd.onnx", 24, 1)
    with pytest.raises(ConfigError, match="know different labels"):
        cascade(other, then, out, **options)
    with pytest.raises(ConfigError, match="name the model of the smaller images first"):
        cascade(then, first, out, **options)
    with pytest.raises(ConfigError, match="24 pixels do not go into 32 pixels evenly"):
        cascade(odd, then, out, **options)
    with pytest.raises(ModelError, match="is a cascade already"):
        cascade(first, report.model, out, **options)
    with pytest.raises(ModelError, match="is a cascade already"):
        cascade(report.model, then, out, **options)
    with pytest.raises(ConfigError, match="is one of the models"):
        cascade(first, then, first, **options)
    with pytest.raises(ConfigError, match="is a folder"):
        cascade(first, then, tmp_path, **options)
    with pytest.raises(ModelError, match="no such model file"):
        cascade(tmp_path / "absent.onnx", then, out, **options)
    assert not out.exists()


def test_folders_that_cannot_be_used(first, then, usual, red, tmp_path):
    shutil.copytree(red / "red", tmp_path / "odd" / "mauve")
    out = tmp_path / "out.onnx"
    with pytest.raises(DataError, match="do not know: mauve"):
        cascade(first, then, out, held_out=[tmp_path / "odd"], **usual)
    with pytest.raises(DataError, match="has splits; name the one"):
        cascade(first, then, out, held_out=[usual["data"]], **usual)
    with pytest.raises(DataError, match="is not a folder"):
        cascade(first, then, out, bar=0.9, no_card=[tmp_path / "absent"], **usual)
    assert not out.exists()


def test_one_size_for_both_needs_no_shrinking(then, usual, tmp_path):
    same = write(tmp_path / "same.onnx", SIZE, 9)
    made = cascade(same, then, tmp_path / "out.onnx", bar=0.0, **usual)
    found, _ = Classifier(made.model, threads=1).run(PIXELS)
    assert np.allclose(found, Classifier(same, threads=1).run(PIXELS)[0], atol=1e-6)


@pytest.mark.parametrize("times", [2, 3, 4, 6])
def test_each_pixel_is_the_mean_of_several_rounded_half_up(times):
    small = 6
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["levels"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Flatten", ["levels"], ["probabilities"]),
        helper.make_node("Flatten", ["levels"], ["embedding"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3 * small**2])
        for name in ("probabilities", "embedding")
    ]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["n", small, small, 3])
    first = helper.make_model(
        helper.make_graph(nodes, "levels", [images], ends),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    # Every sum that there is: from black on, one level more of one pixel at a time.
    most = 255 * times**2
    sums = np.resize(np.arange(most + 1), (most // (3 * small**2) + 1, small, small, 3))
    rest, pixel = sums[..., None] - 255 * np.arange(times**2), np.random.default_rng(0).permutation(times**2)
    squares = rest.clip(0, 255)[..., pixel].reshape(*sums.shape, times, times).astype(np.uint8)
    shown = squares.transpose(0, 1, 4, 2, 5, 3).reshape(len(sums), small * times, small * times, 3)
    session = ort.InferenceSession(first_look(first, small * times).SerializeToString())
    [found] = session.run(["probabilities"], {"images": shown})
    wanted = (2 * sums + times**2) // (2 * times**2)
    assert np.array_equal(found, wanted.transpose(0, 3, 1, 2).reshape(len(sums), -1))


def walked(graph):
    """The graph as torch exports it where planes lie channels last: the means are gathered by their places."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    pool = [node for node in made.graph.node if node.op_type == "GlobalAveragePool"][-1]
    width = next(each for each in made.graph.output if each.name == "embedding").type.tensor_type.shape.dim[1].dim_value
    numbers = {
        "axes": np.array([-1, -2]),
        "flat": np.array([-1]),
        "none": np.array(0),
        "one": np.array(1),
        "width": np.array(width),
        "inner": np.array([1, 2, 3]),
        "channels": np.arange(width).reshape(1, width, 1, 1),
    }
    nodes = [
        helper.make_node("ReduceMean", [pool.input[0], "axes"], ["means"], keepdims=1),
        helper.make_node("Reshape", ["means", "flat"], ["list"]),
        helper.make_node("Shape", ["images"], ["count"], start=0, end=1),
        helper.make_node("Squeeze", ["count"], ["n"]),
        helper.make_node("Range", ["none", "n", "one"], ["each"]),
        helper.make_node("Mul", ["each", "width"], ["starts"]),
        helper.make_node("Unsqueeze", ["starts", "inner"], ["from"]),
        helper.make_node("Add", ["from", "channels"], ["places"]),
        helper.make_node("Gather", ["list", "places"], list(pool.output), axis=0),
    ]
    at = list(made.graph.node).index(pool)
    kept = [*made.graph.node[:at], *nodes, *made.graph.node[at + 1 :]]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in numbers.items())
    return made


def test_means_that_are_gathered_by_their_places_are_pooled():
    graph = onnx.load_from_string(traced())
    old = walked(graph)
    onnx.checker.check_model(old)
    made = pool_plainly(old)
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in graph.graph.node]
    assert {one.name for one in made.graph.initializer} == {one.name for one in graph.graph.initializer}
    ran = [ort.InferenceSession(each.SerializeToString()).run(None, {"images": PIXELS}) for each in (old, made)]
    for wanted, found in zip(*ran, strict=True):
        assert np.allclose(wanted, found, rtol=1e-5, atol=1e-6)
    assert "Gather" in [node.op_type for node in old.graph.node]  # what is given stays as it is


@pytest.mark.parametrize("name", ["channels", "width", "none", "one"])
def test_means_that_are_gathered_otherwise_are_left(name):
    old = walked(onnx.load_from_string(traced()))
    [places] = [tensor for tensor in old.graph.initializer if tensor.name == name]
    other = onnx.numpy_helper.to_array(places)
    places.CopyFrom(onnx.numpy_helper.from_array(other[:, ::-1].copy() if other.ndim else other + 1, name))
    assert "Gather" in [node.op_type for node in pool_plainly(old).graph.node]


def test_both_networks_of_a_cascade_pool_plainly():
    graph = onnx.load_from_string(traced())
    old = walked(graph)
    width = next(each for each in old.graph.output if each.name == "embedding").type.tensor_type.shape.dim[1].dim_value
    brought = np.eye(width, dtype=np.float32), np.eye(width, dtype=np.float32), np.zeros(width, np.float32)
    whole = join(old, old, 1.0, brought)
    onnx.checker.check_model(whole)
    kinds = [node.op_type for node in whole.graph.node], [node.op_type for node in last_network(whole).graph.node]
    assert all("GlobalAveragePool" in each and "ReduceMean" not in each for each in kinds)
    assert kinds[1] == [node.op_type for node in graph.graph.node]


def test_the_first_may_be_stored_in_half_precision_too(then, usual, tmp_path):
    first = write(tmp_path / "first.onnx", SIZE // 2, 1, half=True)
    made = cascade(first, then, tmp_path / "out.onnx", bar=0.0, **usual)
    found, _ = Classifier(made.model, threads=1).run(PIXELS)
    shrunk = np.stack([resize(image, SIZE // 2) for image in PIXELS])
    assert np.allclose(found, Classifier(first, threads=1).run(shrunk)[0], atol=1e-6)


@pytest.mark.parametrize("bar", [-0.1, float("nan"), float("inf")])
def test_a_bar_that_is_no_ratio(first, then, usual, tmp_path, bar):
    with pytest.raises(ConfigError, match="the bar is a ratio"):
        cascade(first, then, tmp_path / "out.onnx", bar=bar, **usual)


def test_a_file_that_cannot_be_written_is_refused_before_the_work(first, then, usual, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"file/out\.onnx cannot be written \(.*\): name another file with --out"):
        cascade(first, then, tmp_path / "file" / "out.onnx", **usual | {"data": tmp_path / "absent"}, bar=0.9)


def test_of_a_cascade_the_second_is_compressed(report, then, data, tmp_path):
    made = compress(report.model, tmp_path / "out.onnx", data, precision="float", cache=tmp_path)
    assert "the large network of" in made.summary()
    after, before = Classifier(made.model, threads=1), Classifier(then, threads=1)
    assert "cascade" not in after.info.config
    assert after.info.config["compression"]["of"] == before.info.version == made.source_version
    assert after.info.config["model"] == before.info.config["model"]
    assert np.allclose(after.run(PIXELS)[0], before.run(PIXELS)[0], atol=1e-5)


def test_a_file_that_does_not_answer_as_its_parts_is_not_left_behind(first, then, usual, tmp_path, monkeypatch):
    def join_wrongly(first, then, _bar, brought):
        return join(first, then, 0.0, brought)

    monkeypatch.setattr("fulldeck.training.cascade.join", join_wrongly)
    with pytest.raises(ModelError, match="was not written"):
        cascade(first, then, tmp_path / "out.onnx", bar=1e6, **usual)
    assert not list(tmp_path.iterdir())
