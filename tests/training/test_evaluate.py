"""The whole of an evaluation, with a model that knows red, green and blue and nothing else."""

import csv
import hashlib
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from fulldeck.cards import LABELS
from fulldeck.cli import main
from fulldeck.data.manifest import content_hash
from fulldeck.errors import DataError, ModelError
from fulldeck.inference.model_file import champion_path
from fulldeck.inference.seal import seal
from fulldeck.training.evaluate import Trials, evaluate, find_model, find_split

COLOURS = {"blue": (20, 20, 235), "green": (20, 235, 20), "red": (235, 20, 20)}
CARDS = {"ace of clubs": (235, 20, 20), "ace of spades": (20, 235, 20), "joker": (20, 20, 235)}


def sharpen(path, colours, labels, sharpness=6.0):
    """Make a model tell its labels by the channel that is brightest; grey leaves it at a loss."""
    weights = np.zeros((3, len(labels)), np.float32)
    for label, colour in colours.items():
        weights[int(np.argmax(colour)), labels.index(label)] = sharpness
    model = onnx.load(path)
    for stored in model.graph.initializer:
        if stored.name == "weights":
            stored.CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    path.write_bytes(seal(model.SerializeToString()))
    return path


@pytest.fixture
def colour_model(make_model, metadata):
    def make(colours=COLOURS, labels=None, sharpness=6.0):
        labels = list(labels or colours)
        path = make_model(labels=labels, metadata={**metadata, "labels": labels, "threshold": 0.6})
        return sharpen(path, colours, labels, sharpness)

    return make


def paint(folder, label, name, colour):
    path = folder / label / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def paint_colours(folder):
    """Three blue, three green, and three red images of which one is painted green: 8 of 9 can be right."""
    for label, colour in COLOURS.items():
        for number in range(3):
            paint(folder, label, f"{number}.png", colour)
    paint(folder, "red", "2.png", COLOURS["green"])
    return folder


@pytest.fixture
def colours(tmp_path):
    return paint_colours(tmp_path / "colours")


@pytest.fixture(scope="module")
def measured(tmp_path_factory, write_model):
    """One evaluation, with one mistake, for the tests that only read what came of it."""
    folder = tmp_path_factory.mktemp("measured")
    model = sharpen(write_model(folder / "model.onnx", labels=list(COLOURS)), COLOURS, list(COLOURS))
    return evaluate(model, paint_colours(folder / "colours"), folder / "out")


@pytest.fixture(scope="module")
def page(measured):
    return measured.report.read_text()


def test_figures_and_files(measured):
    assert (measured.measures.accuracy.right, measured.measures.images) == (8, 9)
    written = json.loads((measured.out / "metrics.json").read_text())
    assert written["accuracy"]["value"] == pytest.approx(8 / 9)
    assert written["confused"] == [{"truth": "red", "predicted": "green", "count": 1, "support": 3}]
    assert written["images"] == 9
    assert written["model"]["sha256"] == hashlib.sha256(measured.model.read_bytes()).hexdigest()
    assert written["model"]["version"] == "0.0.1"
    assert written["data"]["content_hash"] == content_hash(measured.data)
    assert written["made"]["command"] == f"fulldeck evaluate {measured.model} {measured.data}"
    assert {"fulldeck", "commit", "date"} <= written["made"].keys()
    assert {
        "macro_f1",
        "macro_precision",
        "macro_recall",
        "top5",
        "log_loss",
        "brier",
        "auc_macro",
        "calibration",
        "selection",
        "classes",
        "confusion",
    } <= written.keys()
    assert written["cards"] is None
    for name in ("reliability", "roc", "coverage", "confusion", "examples"):
        with Image.open(measured.out / f"{name}.png") as picture:
            assert min(picture.size) > 200


def test_predictions_table(colour_model, colours, tmp_path):
    paint(colours, "green", "grey.png", (128, 128, 128))
    evaluate(colour_model(), colours, tmp_path / "out")
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == 10
    wrong = rows["red/2.png"]
    assert (wrong["label"], wrong["predicted"], wrong["accepted"], wrong["right"]) == ("red", "green", "true", "false")
    assert float(wrong["probability"]) > 0.9
    assert rows["blue/0.png"]["right"] == "true"
    assert rows["green/grey.png"]["accepted"] == "false"


def test_summary_names_the_figures(measured):
    text = measured.summary()
    assert "9 images" in text
    assert "88.89%" in text
    assert str(measured.data) in text
    assert str(measured.out / "report.html") in text


def test_the_chief_figures_for_programs(colour_model, colours, tmp_path):
    done = CliRunner().invoke(
        main, ["evaluate", str(colour_model()), str(colours), "--out", str(tmp_path / "out"), "--json"]
    )
    assert done.exit_code == 0, done.output
    figures, written = json.loads(done.stdout), json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["accuracy"] == written["accuracy"]["value"]
    assert figures["ece"] == written["calibration"]["ece"]
    assert {name: figures[name] for name in ("images", "macro_f1", "log_loss")} == {
        name: written[name] for name in ("images", "macro_f1", "log_loss")
    }


def test_many_batches_keep_each_image_with_its_answer(colour_model, tmp_path):
    for number in range(75):
        label = list(COLOURS)[number % 3]
        paint(tmp_path / "many", label, f"{number}.png", COLOURS[label])
    found = evaluate(colour_model(), tmp_path / "many", tmp_path / "out")
    assert (found.measures.accuracy.right, found.measures.images) == (75, 75)


def test_cards_get_rank_suit_and_colour(colour_model, tmp_path):
    for label, colour in CARDS.items():
        paint(tmp_path / "cards", label, "0.png", colour)
    paint(tmp_path / "cards", "ace of clubs", "1.png", CARDS["ace of spades"])
    found = evaluate(colour_model(CARDS, LABELS, 9.0), tmp_path / "cards", tmp_path / "out").measures
    assert found.cards.rank.right.value == 1
    assert found.cards.suit.right.value == 0.75
    assert found.cards.colour.right.value == 1
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["cards"]["rank"]["values"]["ace"]["total"] == 3
    assert len(written["data"]["labels_without_images"]) == 50


def test_what_is_no_image_is_listed_and_not_fatal(colour_model, colours, tmp_path):
    (colours / "red" / "broken.jpg").write_bytes(b"no image at all")
    (colours / "blue" / "empty.png").touch()
    (colours / "blue" / "notes.txt").write_text("not meant to be one")
    found = evaluate(colour_model(), colours, tmp_path / "out")
    assert found.measures.images == 9
    assert [file for file, _ in found.unreadable] == ["blue/empty.png", "red/broken.jpg"]
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["data"]["files"] == 11
    assert [one["file"] for one in written["data"]["unreadable"]] == ["blue/empty.png", "red/broken.jpg"]
    page = found.report.read_text()
    assert "broken.jpg" in page
    assert "2 of 11 files are no image" in page
    assert "left out  2" in found.summary()


def test_nothing_readable(colour_model, tmp_path):
    (tmp_path / "bad" / "red").mkdir(parents=True)
    (tmp_path / "bad" / "red" / "0.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match="none of the 1 images"):
        evaluate(colour_model(), tmp_path / "bad", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_labels_are_named(colour_model, colours, tmp_path):
    paint(colours, "mauve", "0.png", (200, 100, 200))
    with pytest.raises(DataError, match="mauve"):
        evaluate(colour_model(), colours, tmp_path / "out")


@pytest.mark.parametrize("files", [[], ["0.png"], ["red/notes.txt"]])
def test_no_images(colour_model, tmp_path, files):
    folder = tmp_path / "none"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    with pytest.raises(DataError, match="no images"):
        evaluate(colour_model(), folder, tmp_path / "out")


def test_no_folder(colour_model, tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        evaluate(colour_model(), tmp_path / "absent", tmp_path / "out")


@pytest.mark.parametrize(
    ("splits", "named", "expected"),
    [
        (["train", "valid", "test"], ".", "test"),
        (["train", "valid"], ".", "valid"),
        (["train", "valid", "test"], "valid", "valid"),
        (["train"], "train", "train"),
    ],
)
def test_which_split_is_measured(tmp_path, splits, named, expected):
    for split in splits:
        paint(tmp_path / "set" / split, "red", "0.png", COLOURS["red"])
    assert find_split(tmp_path / "set" / named) == tmp_path / "set" / expected


def test_training_images_are_measured_under_protest(colour_model, tmp_path, page):
    paint(tmp_path / "set" / "train", "red", "0.png", COLOURS["red"])
    found = evaluate(colour_model(), tmp_path / "set" / "train", tmp_path / "out")
    assert found.data == tmp_path / "set" / "train"
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["data"]["split"] == "train"
    assert "These are training images" in found.report.read_text()
    assert "These are training images" not in page


def test_train_is_not_measured_unasked(colour_model, tmp_path):
    paint(tmp_path / "set" / "train", "red", "0.png", COLOURS["red"])
    with pytest.raises(DataError, match="only a train split"):
        evaluate(colour_model(), tmp_path / "set", tmp_path / "out")


def test_where_the_report_lies_by_default(colour_model, colours, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = colour_model()
    found = evaluate(model, colours)
    assert found.out.as_posix() == f"runs/evaluate/{model.stem}-colours"
    run = tmp_path / "runs" / "first"
    run.mkdir()
    (run / "model.onnx").write_bytes(model.read_bytes())
    assert evaluate(run, colours).out.as_posix() == "runs/evaluate/first-colours"


def test_a_run_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="fulldeck export"):
        find_model(tmp_path)


def test_the_word_champion():
    assert find_model("champion") == champion_path()


def test_a_model_of_one_label(make_model, tmp_path):
    paint(tmp_path / "one", "red", "0.png", COLOURS["red"])
    with pytest.raises(ModelError, match="one label"):
        evaluate(make_model(labels=["red"]), tmp_path / "one", tmp_path / "out")


class Links(HTMLParser):
    """Collects every address that a page would load or lead to."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text = set(), [], []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in {"src", "href", "srcset", "data", "action"}]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_needs_nothing_else(page):
    links = Links()
    links.feed(page)
    assert len(links.addresses) >= 5
    assert all(address.startswith("data:image/") for address in links.addresses)
    assert not links.tags & {"script", "link", "iframe", "a"}
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_page_shows_the_mistake(page):
    assert "The mistake" in page
    assert "red/2.png" in page
    assert "blue/0.png" not in page


def test_without_mistakes_the_least_sure_come_first(colour_model, colours, tmp_path):
    paint(colours, "red", "2.png", (170, 110, 110))
    page = evaluate(colour_model(), colours, tmp_path / "out").report.read_text()
    assert "No mistakes" in page
    files = re.findall(r'class="file">([^<]+\.png)', page)
    assert len(files) == 9
    assert files[0] == "red/2.png"


def test_names_are_written_as_text(colour_model, tmp_path):
    labels = {"green": COLOURS["green"], "<b>bold": COLOURS["red"]}
    paint(tmp_path / "odd", "<b>bold", "0.png", COLOURS["red"])
    page = evaluate(colour_model(labels), tmp_path / "odd", tmp_path / "out").report.read_text()
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page


def test_it_loads_no_torch():
    code = "import sys, fulldeck.training.evaluate; print(*{'torch', 'lightning', 'timm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture(scope="module")
def tried(tmp_path_factory, write_model):
    """One evaluation of everything that there is to measure, with a model that knows three colours."""
    folder = tmp_path_factory.mktemp("tried")
    model = sharpen(write_model(folder / "model.onnx", labels=list(COLOURS)), COLOURS, list(COLOURS))
    cards = paint_colours(folder / "colours")
    for kind, colour in (("grey", (120, 120, 120)), ("reddish", (235, 30, 30))):
        for number in range(3):
            paint(folder / "none" / "test", kind, f"{number}.png", colour)
    paint(folder / "scenes", "images", "one.png", COLOURS["red"])
    paint(folder / "scenes", "images", "empty.png", (128, 128, 128))
    scenes = [
        {
            "file": "images/one.png",
            "cards": [{"label": "red", "corners": [[0, 0], [40, 0], [40, 30], [0, 30]], "visible": 1}],
        },
        {"file": "images/empty.png", "cards": []},
    ]
    (folder / "scenes" / "scenes.jsonl").write_text("\n".join(map(json.dumps, scenes)))
    trials = Trials(
        robustness=True,
        unseen=(cards,),
        scenes=folder / "scenes",
        no_card=folder / "none",
        reference=cards,
    )
    return evaluate(model, cards, folder / "out", trials)


def test_robustness_is_measured_and_written(tried):
    found = tried.robustness
    assert found.pictures == 9
    assert found.clean.right == 8
    assert {len(rates) for rates in found.corruptions.values()} == {5}
    assert found.corruptions["pixelate"][4].right == 8  # one colour all over stays what it is
    mean = np.mean([rate.value for rates in found.corruptions.values() for rate in rates])
    assert found.corrupted == pytest.approx(mean)
    assert found.corruptions["contrast"][4].total == 9
    assert (len(found.turned), found.sized[1.0].total, found.covered[0.1].right) == (24, 9, 8)
    (deck,) = found.unseen.values()
    assert deck.upright.right == 8
    assert found.scenes.single.value == found.scenes.empty.value == 1
    written = json.loads((tried.out / "metrics.json").read_text())
    assert written["robustness"]["corrupted"] == found.corrupted
    assert "--robustness --unseen" in written["made"]["command"]


def test_what_shows_no_card_is_counted_by_kind(tried):
    found = tried.no_card
    assert found.pictures == 6
    assert (found.refused_by_kind["grey"].value, found.refused_by_kind["reddish"].value) == (1, 0)
    assert {one.score for one in found.scores} >= {"maximum probability", "Mahalanobis distance", "nearest neighbours"}
    assert json.loads((tried.out / "metrics.json").read_text())["no_card"]["refused"]["right"] == 3


def test_tables_are_on_the_page_in_markdown_and_in_a_picture(tried):
    page, text = tried.report.read_text(), (tried.out / "robustness.md").read_text()
    for table in tried.tables:
        assert html.escape(table.title).replace("&#x27;", "&#39;") in page
        assert f"### {table.title}" in text
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert "| gaussian noise |" in text
    assert "--no-card" in text.splitlines()[0]
    links = Links()
    links.feed(page)
    assert all(address.startswith("data:image/") for address in links.addresses)
    with Image.open(tried.out / "robustness.png") as picture:
        assert min(picture.size) > 800


def test_without_trials_there_are_no_tables(measured, page):
    assert measured.tables == []
    assert not (measured.out / "robustness.md").exists()
    assert "When it gets harder" not in page


def test_trials_that_cannot_be_fail_before_anything_is_measured(colour_model, colours, tmp_path):
    model = colour_model()
    for trials in (
        Trials(robustness=True, unseen=(tmp_path / "absent",)),
        Trials(robustness=True, scenes=tmp_path / "absent"),
        Trials(no_card=tmp_path / "absent"),
        Trials(no_card=colours, reference=tmp_path / "absent"),
    ):
        with pytest.raises(DataError):
            evaluate(model, colours, tmp_path / "out", trials)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options", [["--unseen", "x"], ["--scenes", "x"], ["--reference", "x"], ["--locator", "x"]], ids=" ".join
)
def test_options_that_go_with_another(colours, options):
    result = CliRunner().invoke(main, ["evaluate", "champion", str(colours), *options])
    assert result.exit_code == 2
    assert "belong" in result.stderr
