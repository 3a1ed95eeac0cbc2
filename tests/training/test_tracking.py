"""Records in a real MLflow server, in a SQLite file, and in what an offline run of W&B's writes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from fulldeck.cli import main
from fulldeck.data.compose import compose
from fulldeck.data.manifest import content_hash, data_hash
from fulldeck.errors import ConfigError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.locate import Locator
from fulldeck.training.again import read_run, train_again, warn_of_changes
from fulldeck.training.locator_train import train_locator
from fulldeck.training.refiner_module import RefinerModule
from fulldeck.training.refiner_train import train_refiner
from fulldeck.training.train import train

pytest.importorskip("mlflow")
pytest.importorskip("wandb")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from wandb_file import read_records

from fulldeck.training.tracking import mlflow_record, wandb_record, watch
from fulldeck.training.tracking.lost import BEAT, HOST, REASON, mark_lost
from fulldeck.training.training_pictures import draw_gradients

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PICTURES = {"samples", "gradients", "confusion", "roc", "reliability", "coverage", "mistakes"}
STEP_FIGURES = {"step/loss", "step/lr", "step/gradient_norm", "step/images_per_second"}
EPOCHS, STEPS = 2, 4  # 36 images in batches of 8, the rest dropped


@pytest.fixture(scope="session")
def offline(tmp_path_factory):
    """W&B without a key, all of whose files lie in one folder."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(folder))
        patch.setenv("NETRC", str(folder / "no-netrc"))
        for name in ("WANDB_API_KEY", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
        yield folder


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(address, process, seconds=280):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"the server at {address} has ended"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                return answer.read()
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server at {address} does not answer")


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """The folder in which the server was started, and keeps its runs."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def server(home):
    """The address of an MLflow server in a process of its own, which is what ``fulldeck tracking`` starts."""
    port = free_port()
    command = [Path(sys.executable).parent / "fulldeck", "tracking", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def client(server):
    return MlflowClient(server)


@pytest.fixture
def on_server(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)


@pytest.fixture(scope="session")
def tracked(tiny, server, offline, tmp_path_factory):
    """A finished run, kept on the server and for W&B; do not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server)
        return train(tiny(tmp_path_factory.mktemp("runs"), "logger=both", f"trainer.max_epochs={EPOCHS}", "name=kept"))


@pytest.fixture(scope="session")
def kept(tracked, client):
    """What MLflow knows of that run."""
    return client.get_run(tracked.records["mlflow"]["run"])


def code(run):
    return json.loads((run.folder / "environment.json").read_text())["commit"] or "unknown"


def artifacts(client, run, path=None):
    found = set()
    for entry in client.list_artifacts(run, path):
        found |= artifacts(client, run, entry.path) if entry.is_dir else {entry.path}
    return found


def wandb_folder(run):
    return Path(run["wandb"]["folder"])


def wandb_records(run):
    [file] = wandb_folder(run).glob("*.wandb")
    return read_records(file)


def history(records):
    """What was logged, one mapping a step; the parts of a picture or histogram are named "roc/path" and so on."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


# MLflow


def test_mlflow_has_the_configuration_the_data_and_the_code(tracked, kept, client, colours, tmp_path):
    assert kept.info.status == "FINISHED"
    assert kept.info.run_name == tracked.folder.name
    assert kept.data.params["model/backbone"] == "test_efficientnet"
    assert kept.data.params["trainer/precision"] == "32-true"
    assert kept.data.tags["data_hash"] == content_hash(colours)
    assert kept.data.tags["commit"] == code(tracked)
    [data] = kept.inputs.dataset_inputs
    assert content_hash(colours).startswith(data.dataset.digest)
    composed = Path(client.download_artifacts(kept.info.run_id, "config.yaml", str(tmp_path)))
    assert OmegaConf.load(composed) == OmegaConf.load(tracked.folder / "config.yaml")


def test_mlflow_has_the_figures_of_every_step_and_epoch(tracked, kept, client):
    for name in STEP_FIGURES:
        told = client.get_metric_history(kept.info.run_id, name)
        assert sorted(metric.step for metric in told) == list(range(EPOCHS * STEPS)), name
        assert all(metric.value > 0 for metric in told), name
    losses = [metric.value for metric in client.get_metric_history(kept.info.run_id, "val/loss")]
    assert len(losses) == EPOCHS
    assert min(losses) == pytest.approx(tracked.metrics["val/loss"])
    assert kept.data.metrics["best/val/loss"] == pytest.approx(tracked.metrics["val/loss"])
    assert 0 <= kept.data.metrics["held_out/ece"] <= 1
    assert "system/cpu_utilization_percentage" in kept.data.metrics
    assert "system/system_memory_usage_megabytes" in kept.data.metrics


def test_mlflow_has_the_pictures_and_the_gradients(kept, client, tmp_path):
    there = artifacts(client, kept.info.run_id)
    pictures = {path for path in there if path.startswith("pictures/")}
    assert {path.split("/")[1] for path in pictures} == PICTURES
    for path in pictures:
        content = Path(client.download_artifacts(kept.info.run_id, path, str(tmp_path))).read_bytes()
        assert content.startswith(b"\x89PNG")
    spread = json.loads(
        Path(client.download_artifacts(kept.info.run_id, "gradients/step-000000.json", str(tmp_path))).read_text()
    )
    assert {"conv_stem", "blocks.0", "classifier"} <= spread.keys()
    for part in spread.values():
        assert len(part["edges"]) == len(part["counts"]) + 1
        assert sum(part["counts"]) > 0
    assert f"gradients/step-{STEPS:06d}.json" in there


def test_mlflow_has_the_model_with_its_metadata(tracked, kept, client, tmp_path, colours):
    folder = Path(client.download_artifacts(kept.info.run_id, "model", str(tmp_path)))
    info = Classifier(folder / "model.onnx").info
    assert info.labels == ("blue", "green", "red")
    assert (folder / "model.onnx").read_bytes() == (tracked.folder / "model.onnx").read_bytes()
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["version"] == info.version
    assert metadata["data_hash"] == content_hash(colours)


def test_what_died_elsewhere_is_marked_and_what_lives_is_not(tracked, client):
    def begin(**tags):
        run = client.create_run(client.get_run(tracked.records["mlflow"]["run"]).info.experiment_id)
        for key, value in {"fulldeck.folder": str(tracked.folder), HOST: "elsewhere", **tags}.items():
            client.set_tag(run.info.run_id, key, value)
        return run.info.run_id

    silent, alive = begin(**{BEAT: str(time.time() - 3600)}), begin(**{BEAT: str(time.time() - 60)})
    foreign = client.create_run("0").info.run_id  # not ours: no tags
    assert mark_lost(client) == [silent]
    assert client.get_run(silent).info.status == "FAILED"
    assert client.get_run(alive).info.status == "RUNNING"
    assert client.get_run(foreign).info.status == "RUNNING"


def test_a_store_that_fails_does_not_end_the_training(tiny, tmp_path, monkeypatch, offline, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    class Breaking(Callback):
        def on_train_epoch_end(self, *_):
            for file in Path("mlruns").glob("mlflow.db*"):
                file.write_bytes(b"no database" * 1000)

    run = train(tiny(tmp_path / "runs", "logger=mlflow"), watch=[Breaking()])
    assert run.metrics["epochs"] == 2
    assert "MLflow misses something of this run" in caplog.text


def test_a_sweep_whose_workers_are_silent_is_marked_as_well(client, tracked):
    experiment = client.get_run(tracked.records["mlflow"]["run"]).info.experiment_id
    old, new = str(time.time() - 3600), str(time.time() - 60)

    def begin(beat, **tags):
        tags = {BEAT: beat, **{name.replace("_", "."): value for name, value in tags.items()}}
        return client.create_run(experiment, tags=tags).info.run_id

    dead, begun, busy = begin(old, fulldeck_study="a"), begin(new, fulldeck_study="b"), begin(old, fulldeck_study="c")
    begin(old, mlflow_parentRunId=dead)
    begin(new, mlflow_parentRunId=busy)
    assert mark_lost(client) == [dead]
    assert client.get_run(dead).info.status == "FAILED"
    assert [client.get_run(run).info.status for run in (begun, busy)] == ["RUNNING"] * 2
    for run in (begun, busy):
        client.set_terminated(run)


@pytest.mark.parametrize("down", [True, False])
def test_a_store_that_cannot_be_asked_is_told(down, tiny, tmp_path, monkeypatch):
    address = f"http://127.0.0.1:{free_port()}" if down else "nonsense://x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    commands = {
        "does not keep this run": ["train", *tiny(tmp_path, "logger=mlflow")],
        "has no run 0b6d": ["train", "--from-run", "0b6d"],
        "cannot be asked": ["tracking"],
    }
    for what, command in commands.items():
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1
        assert isinstance(done.exception, SystemExit), command  # and no other, which would show a stack
        why = "does not answer" if down else f"{what}: Model registry functionality is unavailable; got unsupported URI"
        assert f"Error: MLflow at {address} {why}" in done.output


def test_a_server_that_is_down_is_not_asked_for_minutes():
    """MLflow's own default are seven retries, each after twice as long."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    code = "import os, fulldeck.training.tracking.page; print(os.environ['MLFLOW_HTTP_REQUEST_MAX_RETRIES'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 2


# W&B


def test_wandb_offline_has_the_configuration_the_data_and_the_code(tracked, colours):
    records = wandb_records(tracked.records)
    [run] = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    for record in records:
        config |= {item.key: json.loads(item.value_json) for item in record.config.update}
    assert run.display_name == tracked.folder.name
    assert config["model"]["backbone"] == "test_efficientnet"
    assert config["data_hash"] == content_hash(colours)
    assert config["commit"] == code(tracked)
    assert (wandb_folder(tracked.records) / "files" / "config.yaml").read_text() == (
        tracked.folder / "config.yaml"
    ).read_text()
    [end] = [record.exit for record in records if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 0
    assert any(record.WhichOneof("record_type") == "stats" for record in records)  # system use


def test_wandb_offline_has_the_figures_of_every_step_and_epoch(tracked):
    rows = history(wandb_records(tracked.records))
    for name in STEP_FIGURES:
        assert [row["trainer/global_step"] for row in rows if name in row] == list(range(EPOCHS * STEPS))
    losses = [row["val/loss"] for row in rows if "val/loss" in row]
    assert len(losses) == EPOCHS
    assert min(losses) == pytest.approx(tracked.metrics["val/loss"])
    assert [row["gradients/classifier/_type"] for row in rows if "gradients/classifier/_type" in row] == (
        ["histogram"] * EPOCHS
    )


def test_wandb_offline_has_the_pictures_and_the_model(tracked):
    rows = history(wandb_records(tracked.records))
    for name in PICTURES:
        [path] = [row[f"{name}/path"] for row in rows if row.get(f"{name}/_type") == "image-file"]
        assert (wandb_folder(tracked.records) / "files" / path).read_bytes().startswith(b"\x89PNG")
    [model] = [
        record.artifact for record in wandb_records(tracked.records) if record.WhichOneof("record_type") == "artifact"
    ]
    assert model.type == "model"
    assert {entry.path for entry in model.manifest.contents} == {"model.onnx", "model.parity.json"}
    assert json.loads(model.metadata)["labels"] == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "0" * 40}, "online"),
        ({"WANDB_MODE": "disabled"}, None),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "0" * 40}, None),
    ],
)
def test_wandb_is_online_with_a_key(environment, expected, offline, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_record.mode() == expected


@pytest.mark.parametrize(("host", "expected"), [("api.wandb.ai", "online"), ("elsewhere.org", "offline")])
def test_a_login_is_a_key(host, expected, offline, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine {host}\n  login user\n  password {'0' * 40}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_record.mode() == expected


def test_wandb_can_be_switched_off(tiny, tmp_path, offline, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = train(tiny(tmp_path / "runs", "trainer.max_epochs=1", "logger=wandb"))
    assert run.records == {}
    assert run.kept() == ""


# Which


def test_none_keeps_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(tiny(tmp_path / "runs", "trainer.max_epochs=1"))
    assert run.records == {}
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert not (run.folder / "model.onnx").exists()


def test_an_unknown_kind_is_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"logger\.kind is none, mlflow, wandb, both or auto, not 'tensorboard'"):
        train(tiny(tmp_path, "logger.kind=tensorboard"))
    assert list(tmp_path.iterdir()) == []


# Interrupted, killed, taken up again


class Interrupting(Callback):
    """Presses Ctrl-C in the middle of the second epoch, two of whose steps are in the records then."""

    def on_train_batch_end(self, trainer, *rest):
        if trainer.current_epoch == 1 and rest[-1] == 2:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("on_server", "offline")
def test_an_interrupted_run_is_marked_and_goes_on_in_the_same_records(tiny, tmp_path, client, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path, "logger=both", "trainer.max_epochs=3", "logger.model=false"), watch=[Interrupting()])
    [folder] = tmp_path.iterdir()
    first = json.loads((folder / "tracking.json").read_text())
    assert client.get_run(first["mlflow"]["run"]).info.status == "KILLED"
    [end] = [record.exit for record in wandb_records(first) if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 130

    drawn = []
    monkeypatch.setattr(
        watch, "draw_gradients", lambda spreads, out: drawn.append(spreads) or draw_gradients(spreads, out)
    )
    run = train([], resume=folder)
    assert [sorted(spreads) for spreads in drawn] == [[0, 1, 2]]  # also of the epochs before
    assert run.records["mlflow"]["run"] == first["mlflow"]["run"]
    assert run.records["wandb"]["run"] == first["wandb"]["run"]
    [told] = re.findall(r"wandb sync (.+)/(.+)", run.kept())
    named = sorted(map(str, Path(told[0]).glob(told[1])))
    assert named == [first["wandb"]["folder"], run.records["wandb"]["folder"]]
    assert client.get_run(first["mlflow"]["run"]).info.status == "FINISHED"
    told = client.get_metric_history(first["mlflow"]["run"], "val/loss")
    assert [metric.step for metric in sorted(told, key=lambda metric: metric.timestamp)] == [3, 7, 11]
    told = client.get_metric_history(first["mlflow"]["run"], "step/loss")
    assert sorted(metric.step for metric in told) == list(range(3 * STEPS))  # none is there twice
    rows = [*history(wandb_records(first)), *history(wandb_records(run.records))]
    for name in ("step/loss", "gradients/classifier/_type"):
        steps = [row["trainer/global_step"] for row in rows if name in row]
        assert steps == list(range(0, 3 * STEPS, 1 if name == "step/loss" else STEPS))


def test_a_run_that_is_told_to_end_is_marked(tiny, tmp_path, on_server, client):
    class Ending(Callback):
        def on_train_epoch_end(self, *_):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path, "logger=mlflow"), watch=[Ending()])
    [folder] = tmp_path.iterdir()
    run = json.loads((folder / "tracking.json").read_text())["mlflow"]["run"]
    assert client.get_run(run).info.status == "KILLED"


def test_a_killed_run_is_marked_at_the_next_look_and_goes_on(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    more = ("trainer.max_epochs=6", "logger=mlflow", "logger.model=false")
    command = [Path(sys.executable).parent / "fulldeck", "train", *tiny(tmp_path / "runs", *more)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not list(tmp_path.glob("runs/*/checkpoints/last.ckpt")):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)  # so that it lives, and gets no further, while others look
        [folder] = (tmp_path / "runs").iterdir()
        with pytest.raises(ConfigError, match="is being trained by another process"):
            train([], resume=folder)
    finally:
        process.kill()
        process.wait()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    run = json.loads((folder / "tracking.json").read_text())["mlflow"]["run"]
    assert client.get_run(run).info.status == "RUNNING"
    assert mark_lost(client) == [run]
    dead = client.get_run(run)
    assert dead.info.status == "FAILED"
    assert "without a word" in dead.data.tags[REASON]

    finished = train([], resume=folder)
    assert finished.records["mlflow"]["run"] == run
    assert client.get_run(run).info.status == "FINISHED"
    told = client.get_metric_history(run, "val/loss")
    assert len({metric.step for metric in told}) == finished.metrics["epochs"] == 6


def test_a_run_that_learns_nothing_is_marked_as_failed(tiny, tmp_path, on_server, client):
    with pytest.raises(ConfigError, match="never finite"):
        train(tiny(tmp_path, "logger=mlflow", "model.lr=1e20", "trainer.gradient_clip=0", "trainer.average=0"))
    [folder] = tmp_path.iterdir()
    run = json.loads((folder / "tracking.json").read_text())["mlflow"]["run"]
    assert client.get_run(run).info.status == "FAILED"


# The networks that find and mend corners


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Eight small scenes; do not change them."""
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    compose(folder, scenes=8, seed=3, drawn=1, side=200, cards=(1, 3))
    return folder


def words(scenes, runs, *more):
    """The overrides of a training that takes seconds: two steps an epoch."""
    return [f"scenes=[{scenes}]", f"validation={scenes}", f"runs={runs}", "batch_size=4", "accelerator=cpu", *more]


@pytest.mark.usefixtures("on_server", "offline", "one_thread")
def test_a_locators_run_is_kept_with_its_model(scenes, tmp_path, client):
    run = train_locator(words(scenes, tmp_path / "runs", "size=96", "width=16", "max_epochs=2", "logger=both"))
    kept = client.get_run(run.records["mlflow"]["run"])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["width"] == "16"
    assert kept.data.tags["data_hash"] == data_hash({str(scenes): content_hash(scenes)})
    assert kept.data.tags["commit"] == code(run)
    assert kept.data.metrics["best/val/recall"] == pytest.approx(run.metrics["val/recall"])
    for name in STEP_FIGURES:
        told = client.get_metric_history(kept.info.run_id, name)
        assert sorted(metric.step for metric in told) == [0, 1, 2, 3], name
    assert len(client.get_metric_history(kept.info.run_id, "val/precision")) == 2

    there = artifacts(client, kept.info.run_id)
    assert {"config.yaml", "data.json", "environment.json", "metrics.json", "metrics.csv", "curves.png"} <= there
    assert {"pictures/samples/step-000000.png", "pictures/gradients/step-000004.png"} <= there
    folder = Path(client.download_artifacts(kept.info.run_id, "model", str(tmp_path)))
    assert Locator(folder / "locator.onnx", threads=1).info.size == 96
    assert json.loads((folder / "metadata.json").read_text())["data_hash"] == kept.data.tags["data_hash"]

    rows = history(wandb_records(run.records))
    assert [row["trainer/global_step"] for row in rows if "step/loss" in row] == [0, 1, 2, 3]
    [model] = [
        record.artifact for record in wandb_records(run.records) if record.WhichOneof("record_type") == "artifact"
    ]
    assert [entry.path for entry in model.manifest.contents] == ["locator.onnx"]


@pytest.mark.usefixtures("on_server", "one_thread")
def test_an_interrupted_refiners_run_goes_on_in_the_same_record(scenes, tmp_path, client, monkeypatch, caplog):
    def press_ctrl_c(self, *_):
        if self.trainer.global_step == 4:  # the second epoch's last step, which is not in the record then
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RefinerModule, "on_train_batch_end", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            train_refiner(words(scenes, tmp_path, "max_epochs=3", "logger=mlflow"))
    [folder] = tmp_path.iterdir()
    assert f"fulldeck train-refiner --resume {folder}" in caplog.text
    first = json.loads((folder / "tracking.json").read_text())["mlflow"]["run"]
    assert client.get_run(first).info.status == "KILLED"

    run = train_refiner([], resume=folder)
    assert run.records["mlflow"]["run"] == first
    assert client.get_run(first).info.status == "FINISHED"
    for name, steps in (("step/loss", [0, 1, 2, 3, 4, 5]), ("val/overlap", [1, 3, 5])):
        assert sorted(metric.step for metric in client.get_metric_history(first, name)) == steps
    assert "pictures/samples/step-000000.png" in artifacts(client, first)


@pytest.mark.usefixtures("one_thread")
def test_scenes_that_have_changed_are_no_way_to_go_on(scenes, tmp_path):
    own = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    run = train_refiner(words(own, tmp_path / "runs", "max_epochs=1", "logger=none"))
    assert run.records == {}
    with pytest.raises(ConfigError, match="of another command"):
        train_again(str(run.folder))
    with next((own / "images").iterdir()).open("ab") as image:
        image.write(b"more")
    with pytest.raises(ConfigError, match="the images have changed"):
        train_refiner([], resume=run.folder)


# The page


def test_the_page_shows_the_runs_of_its_folder(tiny, home, server, client, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(home)
    run = train(tiny("runs", "trainer.max_epochs=1", "logger=auto", "logger.model=false"))
    assert run.records["mlflow"]["uri"].startswith("sqlite:")
    with urllib.request.urlopen(f"{server}/", timeout=30) as page:
        assert b"<title>MLflow</title>" in page.read()
    shown = client.get_run(run.records["mlflow"]["run"])
    assert shown.info.run_name == run.folder.name


def test_with_a_server_the_page_is_its_own(on_server, server):
    done = CliRunner().invoke(main, ["tracking"])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == server


# Again


def test_a_run_is_made_again_from_its_record_alone(tracked, on_server, monkeypatch, offline):
    found = CliRunner().invoke(main, ["train", "--from-run", tracked.records["mlflow"]["run"]])
    assert found.exit_code == 0, found.output
    assert "the same as recorded: 5 figures to 4 decimals" in found.output
    [other] = [folder for folder in tracked.folder.parent.iterdir() if folder != tracked.folder]
    figures = json.loads((other / "metrics.json").read_text())
    assert {name: round(value, 4) for name, value in figures.items() if name != "seconds"} == {
        name: round(value, 4) for name, value in tracked.metrics.items() if name != "seconds"
    }
    assert json.loads((other / "data.json").read_text()) == json.loads((tracked.folder / "data.json").read_text())
    then, now = (onnx.load(folder / "model.onnx").graph.initializer for folder in (tracked.folder, other))
    assert [(weight.name, weight.raw_data) for weight in now] == [(weight.name, weight.raw_data) for weight in then]


def test_what_has_changed_since_a_run_is_told(caplog):
    then = {"commit": "0b6d", "python": "3.11.7", "packages": {"torch": "2.6"}, "threads": 1, "cuda": None}
    warn_of_changes(then, then | {"packages": {"torch": "2.7"}, "machine": "another"})
    assert [record.message for record in caplog.records] == [
        "packages was {'torch': '2.6'} and is {'torch': '2.7'}: figures may differ"
    ]


def test_a_record_keeps_the_precision_that_was_chosen(tiny, tmp_path):
    run = train(tiny(tmp_path, "trainer.precision=auto", "trainer.max_epochs=1"))
    assert read_run(str(run.folder)).config.trainer.precision in {"32-true", "bf16-mixed"}


def test_a_run_is_not_made_again_on_other_images(tiny, colours, tmp_path):
    images = Path(shutil.copytree(colours, tmp_path / "images"))
    run = train(tiny(tmp_path / "runs", "trainer.max_epochs=1", folder=images))
    (images / "red" / "0.png").unlink()
    with pytest.raises(ConfigError, match="the images have changed"):
        train_again(str(run.folder))


def test_what_is_no_finished_run_is_not_made_again(tmp_path, on_server):
    with pytest.raises(ConfigError, match=r"has no config\.yaml"):
        read_run(str(tmp_path))
    with pytest.raises(ConfigError, match="is not there"):
        read_run("runs/nowhere")
    with pytest.raises(ConfigError, match=f"has no run {'0' * 32}"):
        read_run("0" * 32)


def test_an_experiment_that_others_make_at_the_same_moment_is_found(client, monkeypatch):
    client.create_experiment("raced")
    answers = iter([None])
    asked = client.get_experiment_by_name
    monkeypatch.setattr(client, "get_experiment_by_name", lambda name: next(answers, asked(name)))
    found = mlflow_record.experiment_id(client, "raced")
    assert found == asked("raced").experiment_id
    with pytest.raises(MlflowException):
        client.create_experiment("raced")
