import csv
import json
import shutil
import signal
from collections import Counter
from importlib.metadata import version

import pytest
import torch
from click.testing import CliRunner
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from PIL import Image

from fulldeck.cards import LABELS
from fulldeck.cli import main
from fulldeck.data.manifest import content_hash
from fulldeck.data.render import render
from fulldeck.errors import ConfigError, DataError
from fulldeck.training import train as training
from fulldeck.training.train import compose_config, moving_average, train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning:lightning")]

PLAIN = ("data.augment=null", "model.drop_rate=0", "model.drop_path_rate=0")
"""Without chance beside order and weights."""


def rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def figures(found):
    return {key: round(value, 4) for key, value in found.metrics.items() if key != "seconds"}


class Interrupting(Callback):
    """Presses Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == self.epoch:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interrupt(monkeypatch):
    """Interrupt the next training in the epoch that is named, counted from 0; returns its run folder."""
    usual = training.callbacks

    def interrupted(runs, overrides, epoch):
        with monkeypatch.context() as patch:
            patch.setattr(training, "callbacks", lambda config: [*usual(config), Interrupting(epoch)])
            with pytest.raises(KeyboardInterrupt):
                train(overrides)
        [run] = runs.iterdir()
        return run

    return interrupted


def refused(overrides, error=ConfigError, **options):
    """The error's text, and nothing was begun."""
    with pytest.raises(error) as caught:
        train(overrides, **options)
    text = str(caught.value)
    assert "Traceback" not in text
    return text


# A run


def test_a_run_folder_tells_all_about_the_run(trained, colours):
    run = trained.folder
    assert {path.name for path in run.iterdir()} >= {
        "config.yaml",
        "environment.json",
        "data.json",
        "metrics.csv",
        "metrics.json",
        "curves.png",
        "checkpoints",
    }
    config = OmegaConf.load(run / "config.yaml")
    assert config.model.backbone == "test_efficientnet"
    assert config.trainer.max_epochs == 8
    assert config.data.folder == str(colours)
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["torch"] == version("torch")
    assert {"fulldeck", "commit", "python", "platform", "started"} <= environment.keys()
    data = json.loads((run / "data.json").read_text())
    assert data["hashes"] == {str(colours): content_hash(colours)}
    assert data["labels"] == ["blue", "green", "red"]
    assert data["images"] == {"train": 36, "validation": 12}
    with Image.open(run / "curves.png") as curves:
        assert curves.format == "PNG"
        assert min(curves.size) > 200


def test_the_figures_agree_with_each_other(trained):
    assert json.loads((trained.folder / "metrics.json").read_text()) == trained.metrics
    table = rows(trained.folder)
    assert len(table) == trained.metrics["epochs"] == 8
    best = min(table, key=lambda row: float(row["val/loss"]))
    assert float(best["val/loss"]) == trained.metrics["val/loss"]
    assert float(best["val/accuracy"]) == trained.metrics["val/accuracy"]
    assert table.index(best) + 1 == trained.metrics["best_epoch"]
    assert trained.metrics["val/accuracy"] > 0.6  # one in three would be chance
    assert float(table[-1]["train/loss"]) < float(table[0]["train/loss"])


def test_the_run_folder_can_be_named(tiny, tmp_path):
    done = CliRunner().invoke(main, ["train", "--out", str(tmp_path / "mine"), *tiny(tmp_path, "trainer.max_epochs=1")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "mine" / "metrics.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_named_run_folder_is_a_new_one(tiny, trained):
    assert "holds something already" in refused(tiny("runs"), out=trained.folder)
    done = CliRunner().invoke(main, ["train", "--out", "new", "--resume", str(trained.folder)])
    assert done.exit_code == 2
    assert "leave out --out" in done.output


def test_the_summary_says_what_to_do_next(trained):
    text = trained.summary()
    assert f"fulldeck export {trained.folder}" in text
    assert f"{trained.metrics['val/accuracy']:.2%}" in text


def test_the_checkpoint_of_the_best_epoch_is_kept(trained):
    best = torch.load(trained.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] + 1 == trained.metrics["best_epoch"]
    assert (trained.folder / "checkpoints" / "last.ckpt").is_file()


def test_the_same_seed_gives_the_same_figures(tiny, tmp_path):
    first, second, other = (train(tiny(tmp_path, f"seed={seed}")) for seed in (3, 3, 4))
    assert first.folder != second.folder
    assert figures(first) == figures(second)
    assert [list(row.values()) for row in rows(first.folder)] == [list(row.values()) for row in rows(second.folder)]
    assert figures(first) != figures(other)
    weights = [
        torch.load(run.folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"] for run in (first, second)
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_rendered_decks_with_the_small_model(tmp_path):
    render(tmp_path / "decks", decks=2, per_card=1, seed=0)
    done = CliRunner().invoke(
        main,
        [
            "train",
            "data=rendered",
            "model=small",
            f"data.folder={tmp_path / 'decks'}",
            f"data.cache={tmp_path / 'cache'}",
            f"runs={tmp_path / 'runs'}",
            "data.size=64",
            "data.start_size=32",
            "data.stored_size=64",
            "trainer.max_epochs=1",
            "name=decks",
            "logger=none",
        ],
    )
    assert done.exit_code == 0, done.output
    [run] = (tmp_path / "runs").iterdir()
    assert run.name.endswith("-decks")
    assert f"fulldeck export {run}" in done.output
    data = json.loads((run / "data.json").read_text())
    assert data["labels"] == list(LABELS)
    assert data["images"] == {"train": 53, "validation": 53}


def test_early_stopping(tiny, tmp_path):
    run = train(tiny(tmp_path, "model.lr=0", "trainer.average=0", "trainer.max_epochs=30", "trainer.patience=2"))
    assert run.metrics["epochs"] < 15


@pytest.mark.slow
def test_a_warm_up_of_one_step(tiny, tmp_path):
    assert train(tiny(tmp_path, "trainer.max_epochs=5", "model.warmup=0.05")).metrics["epochs"] == 5  # of 4 steps each


def test_profile_leaves_a_trace_and_a_table(tiny, tmp_path):
    run = train(tiny(tmp_path, "data.batch_size=3", "trainer.max_epochs=1"), profile=True)
    trace = json.loads((run.folder / "profile" / "trace.json").read_text())
    names = [event.get("name", "") for event in trace["traceEvents"]]
    assert any("convolution_backward" in name for name in names)
    assert sum(name.startswith("ProfilerStep#") for name in names) >= 6
    table = (run.folder / "profile" / "operators.txt").read_text()
    assert "Self CPU" in table
    assert "aten::convolution_backward" in table


def test_profile_of_a_short_training(tiny, tmp_path):
    run = train(tiny(tmp_path, "data.batch_size=18", "trainer.max_epochs=1"), profile=True)
    assert "convolution_backward" in (run.folder / "profile" / "operators.txt").read_text()
    assert (run.folder / "profile" / "trace.json").stat().st_size > 1000


def test_without_profile_there_is_none(trained):
    assert not (trained.folder / "profile").exists()


# Starting from another run


def test_init_starts_from_the_best_weights(tiny, trained, tmp_path):
    still = ("model.lr=0", "model.weight_decay=0", "trainer.average=0", "trainer.max_epochs=1", *PLAIN)
    run = train(tiny(tmp_path, f"init={trained.folder}", *still))
    mine, theirs = (
        torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for folder in (run.folder, trained.folder)
    )
    weights = [key for key in theirs if "running" not in key and "num_batches" not in key]
    assert all(torch.equal(mine[key], theirs[key]) for key in weights)


def test_init_of_another_network_is_refused(tiny, trained, tmp_path):
    text = refused(tiny(tmp_path / "runs", "model.backbone=test_resnet", f"init={trained.folder}"))
    assert "another network" in text
    assert not (tmp_path / "runs").exists()


def test_init_of_other_labels_is_refused(tiny, trained, colours, tmp_path):
    shutil.copytree(colours / "red", tmp_path / "two" / "red")
    shutil.copytree(colours / "blue", tmp_path / "two" / "blue")
    assert "other labels" in refused(tiny(tmp_path / "runs", f"init={trained.folder}", folder=tmp_path / "two"))


def test_init_of_nothing_is_refused(tiny, tmp_path):
    assert "no run to start from" in refused(tiny(tmp_path / "runs", f"init={tmp_path}"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", "half"], ids=["empty", "foreign", "truncated"])
def test_init_of_a_broken_checkpoint_is_refused(tiny, trained, tmp_path, content):
    whole = (trained.folder / "checkpoints" / "best.ckpt").read_bytes()
    broken = tmp_path / "old" / "checkpoints" / "best.ckpt"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    text = refused(tiny(tmp_path / "runs", f"init={tmp_path / 'old'}"))
    assert "best.ckpt cannot be read; it is truncated" in text


# Interrupted and taken up again


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tiny, tmp_path, interrupt):
    overrides = ("trainer.max_epochs=4", "model.drop_rate=0.2")  # and images that are augmented
    whole = train(tiny(tmp_path / "whole", *overrides))
    run = interrupt(tmp_path / "runs", tiny(tmp_path / "runs", *overrides), epoch=2)
    assert not (run / "metrics.json").exists()
    resumed = train([], resume=run)
    assert resumed.folder == run
    assert figures(resumed) == figures(whole)
    for mine, theirs in zip(rows(run), rows(whole.folder), strict=True):
        assert {key: round(float(value), 4) for key, value in mine.items()} == {
            key: round(float(value), 4) for key, value in theirs.items()
        }


def test_only_what_is_left_is_trained(tiny, tmp_path, interrupt, monkeypatch):
    run = interrupt(tmp_path, tiny(tmp_path, "trainer.max_epochs=4"), epoch=2)
    steps = []

    class Noting(Callback):
        def on_train_batch_start(self, trainer, *_):
            steps.append(trainer.current_epoch)

    usual = training.callbacks
    monkeypatch.setattr(training, "callbacks", lambda config: [*usual(config), Noting()])
    assert train([], resume=run).metrics["epochs"] == 4
    assert Counter(steps) == {2: 4, 3: 4}


def test_a_finished_run_has_nothing_left_to_train(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    again = train([], resume=run)
    assert figures(again) == figures(trained)
    assert rows(run) == rows(trained.folder)
    assert again.metrics["seconds"] == pytest.approx(trained.metrics["seconds"], rel=0.5)  # those of before count


def test_ctrl_c_on_the_command_line_says_how_to_go_on(tiny, tmp_path, monkeypatch, caplog):
    usual = training.callbacks
    monkeypatch.setattr(training, "callbacks", lambda config: [*usual(config), Interrupting(1)])
    handler = signal.getsignal(signal.SIGINT)
    done = CliRunner().invoke(main, ["train", *tiny(tmp_path, "trainer.max_epochs=3")])
    assert signal.getsignal(signal.SIGINT) is handler
    [run] = tmp_path.iterdir()
    assert done.exit_code == 1
    assert done.output.strip() == "Aborted!"
    assert f"fulldeck train --resume {run}" in caplog.text


def test_nothing_to_resume(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        assert "no run to resume" in refused([], resume=folder)


def test_an_interruption_in_the_first_epoch_leaves_nothing_to_resume(tiny, tmp_path, interrupt):
    run = interrupt(tmp_path, tiny(tmp_path), epoch=0)
    assert "one epoch must be finished" in refused([], resume=run)


def test_resume_takes_no_overrides(trained):
    assert "leave out trainer.max_epochs=9" in refused(["trainer.max_epochs=9"], resume=trained.folder)


def test_resume_from_a_truncated_checkpoint_is_refused(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    assert "last.ckpt cannot be read" in refused([], resume=run)


def test_resume_on_other_images_is_refused(tiny, colours, tmp_path):
    shutil.copytree(colours, tmp_path / "data")
    run = train(tiny(tmp_path / "runs", "trainer.max_epochs=1", folder=tmp_path / "data")).folder
    (tmp_path / "data" / "red" / "0.png").unlink()
    assert "the images have changed" in refused([], resume=run)


# What cannot be trained


def test_missing_data(tiny, tmp_path):
    text = refused(tiny(tmp_path / "runs", folder=tmp_path / "absent"), DataError)
    assert "absent" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nonsense=1", "nonsense"),
        ("model.nonsense=1", "nonsense"),
        ("+model.nonsense=1", "there is no setting model.nonsense"),
        ("+data.augment.rotat=1", "there is no setting data.augment.rotat"),
        ("model=gigantic", "lite0"),
        ("experiment=unheard-of", "champion"),
        ("model.lr", "the configuration does not compose"),
        ("model.backbone=[a", "the configuration does not compose"),
        ("model.backbone=resnetto", "no network named 'resnetto'"),
        ("model.lr=fast", "model.lr is a number, not 'fast'"),
        ("model.prune=nan", "model.prune is a number, not nan"),
        ("model.pretrained=maybe", "model.pretrained is true or false, not 'maybe'"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs is a whole number, not 1.5"),
        ("trainer.max_epochs=0", "trainer.max_epochs is at least 1, not 0"),
        ("trainer.precision=17", "these trainer settings cannot be used here"),
        ("trainer.accelerator=abacus", "these trainer settings cannot be used here"),
        ("data.batch_size=0", "data.batch_size is at least 1"),
        ("data.holdout=1.5", "data.holdout is at most 1"),
        ("data.folder=null", "data.folder is a text"),
        ("data.extra=data/decks", "data.extra is a list, not 'data/decks'"),
        ("data.augment=strong", "data.augment is a group of settings, not 'strong'"),
        ("data.start_size=64", "data.start_size=64 is above data.size=32"),
        ("data.start_size=tiny", "data.start_size is a whole number"),
        ("seed=-1", "seed is at least 0"),
    ],
)
def test_what_cannot_be_set_is_a_sentence(tiny, tmp_path, override, says):
    done = CliRunner().invoke(main, ["train", *tiny(tmp_path / "runs", override)])
    assert done.exit_code == 1
    assert says in done.output
    assert done.output.startswith("Error: ")
    assert not (tmp_path / "runs").exists()


def test_runs_where_no_folder_can_be_made(tiny, tmp_path):
    (tmp_path / "file").touch()
    assert "runs=FOLDER" in refused(tiny(tmp_path / "file"))


def test_a_loss_that_is_lost_is_an_error(tiny, tmp_path):
    assert "a lower learning rate" in refused(tiny(tmp_path, "model.lr=1e30", "trainer.average=0"))


# The parts


def test_an_experiment_wins_over_the_defaults_and_the_command_line_over_both():
    assert compose_config([]).name == "tf_efficientnet_lite0"
    config = compose_config(["experiment=quickstart"])
    assert (config.name, config.data.size, config.trainer.max_epochs) == ("quickstart", 96, 8)
    assert compose_config(["experiment=champion"]).name == "champion"
    config = compose_config(["experiment=quickstart", "name=mine", "trainer.max_epochs=2"])
    assert (config.name, config.trainer.max_epochs) == ("mine", 2)
    assert compose_config(["model=small"]).name == "mobilenetv3_small_050"


def test_groups_are_switched_off_by_null():
    assert compose_config(["data.augment=null"]).data.augment is None
    assert compose_config(["data.validation=valid", "data.start_size=96"]).data.start_size == 96


def test_the_average_has_a_short_memory_at_first():
    def averaged(old: float, n: int) -> float:
        average = torch.full((1,), old)
        moving_average(0.99)([average], [torch.ones(1)], torch.tensor(n))
        return average.item()

    assert averaged(0.0, 0) == pytest.approx(0.9)
    assert averaged(0.0, 90) == pytest.approx(0.09)
    assert averaged(0.0, 10_000) == pytest.approx(0.01)
    assert averaged(1.0, 5) == pytest.approx(1)


def test_a_count_of_batches_is_averaged_as_a_whole_number():
    counts = [torch.tensor(10), torch.tensor(20)]
    moving_average(0.5)(counts, [torch.tensor(30), torch.tensor(40)], torch.tensor(100))
    assert [count.item() for count in counts] == [20, 30]
