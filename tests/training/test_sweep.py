"""Sweeps: studies in SQLite, shared by real worker processes, each trial a real (tiny) training."""

import csv
import json
import platform
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from fulldeck.cli import main
from fulldeck.errors import ConfigError
from fulldeck.training.train import compose_config, train

pytest.importorskip("optuna")

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from fulldeck.training import sweep as sweeping
from fulldeck.training.search import read_search
from fulldeck.training.sweep import HOST, PARENT, give_up_dead, open_study, sweep
from fulldeck.training.sweep_report import front
from real_postgres import postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SEARCH = {
    "trials": 4,
    "metric": "val/loss",
    "direction": "minimize",
    "train": [],
    "space": {
        "model.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.drop_rate": {"low": 0.0, "high": 0.4},
        "data.batch_size": {"choices": [4, 8]},
    },
    "pruning": {"startup_trials": 100, "warmup_epochs": 0},
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty current folder, and nothing that leads to a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def write(folder, **changes):
    file = folder / "seek.yaml"
    file.write_text(yaml.safe_dump(SEARCH | changes))
    return str(file)


def settings(tiny, *more):
    """The overrides of a tiny training, without those that a sweep sets itself."""
    return [setting for setting in tiny("runs", *more) if not setting.startswith("runs=")]


def states(study):
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def start_worker(source, overrides, *more):
    command = [Path(sys.executable).parent / "fulldeck", "sweep", source, *overrides, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


# What is sought


def test_the_sweeps_that_come_along_can_be_trained(tmp_path):
    folder = Path(__file__).parents[2] / "src" / "fulldeck" / "configs" / "sweep"
    names = {file.stem for file in folder.glob("*.yaml")}
    assert names == {"small", "lite0"}
    for name in names:
        search = read_search(name)
        config = compose_config([*search.train, *search.example()])
        assert config.model.lr == pytest.approx(search.space["model.lr"].low)
        assert search.trials >= 10
    assert "data.size" not in read_search("lite0").space


def test_limits_make_the_right_kind_of_value(home):
    space = {
        "model.lr": {"low": 1.0e-4, "high": 1.0e-2, "log": True},
        "trainer.max_epochs": {"low": 2, "high": 6},
        "data.size": {"low": 64, "high": 96, "step": 16},
        "model.backbone": {"choices": ["a", "b"]},
    }
    search = read_search(write(home, space=space))
    trial = optuna.create_study().ask()
    chosen = dict(setting.split("=") for setting in search.suggest(trial))
    assert 1e-4 <= float(chosen["model.lr"]) <= 1e-2
    assert 2 <= int(chosen["trainer.max_epochs"]) <= 6
    assert int(chosen["data.size"]) in {64, 80, 96}
    assert chosen["model.backbone"] in {"'a'", "'b'"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"direction": "best"}, "direction is minimize or maximize, not 'best'"),
        ({"space": {}}, "its space is empty"),
        ({"space": {"model.lr": {"low": 1.0}}}, r"space\.model\.lr needs low and high"),
        ({"space": {"model.lr": {"low": 2.0, "high": 1.0}}}, r"space\.model\.lr needs low and high"),
        ({"pruning": {}}, "'startup_trials' is missing"),
        ({"trails": 3}, "there is no setting trails"),
        ({"trials": 0}, "trials is at least 1, not 0"),
        ({"train": None}, "train is a list of overrides, not None"),
        ({"space": ["model.lr"]}, r"space is names with their limits, not \['model.lr'\]"),
        ({"space": {"model.lr": 5}}, r"space\.model\.lr needs low and high"),
    ],
)
def test_what_cannot_be_sought_is_refused(home, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read_search(write(home, **changes))


def test_a_sweep_that_is_not_there_is_refused(home):
    with pytest.raises(ConfigError, match="the sweep nothing cannot be read"):
        read_search("nothing")
    with pytest.raises(ConfigError, match=r"the sweep nothing\.yaml cannot be read"):
        read_search("nothing.yaml")


def test_a_sweep_that_is_no_yaml_is_refused(home):
    (home / "seek.yaml").write_text("trials: [1\nspace: }")
    with pytest.raises(ConfigError, match=r"the sweep seek\.yaml cannot be read: while parsing"):
        read_search("seek.yaml")


def test_a_wrong_setting_is_refused_before_any_trial(home, tiny):
    source = write(home, space={"model.speed": {"low": 1.0, "high": 2.0}})
    done = CliRunner().invoke(main, ["sweep", source, *settings(tiny)])
    assert done.exit_code == 1
    assert "model.speed" in done.output
    assert not (home / "runs").exists()


@pytest.mark.parametrize("metric", ["val/speed", "train/loss"])
def test_a_figure_that_no_epoch_has_is_refused(home, tiny, metric):
    done = CliRunner().invoke(main, ["sweep", write(home, metric=metric), *settings(tiny)])
    assert done.exit_code == 1
    assert f"judged by '{metric}': the held-out images give val/accuracy, val/f1, val/loss" in done.output


def test_what_ends_a_worker_is_told_in_one_sentence(home, tiny):
    worker = start_worker(write(home), [*settings(tiny), "data.folder=nowhere"])
    assert worker.communicate()[0].startswith("Error: nowhere has no 'train' images")
    assert worker.returncode == 1


# One worker


@pytest.fixture(scope="module")
def swept(tiny, tmp_path_factory):
    """A finished sweep of four trials, kept in MLflow; do not change it."""
    home = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        found = sweep(write(home), settings(tiny, "logger=mlflow", "trainer.max_epochs=1"))
        yield home, found


def test_a_sweep_leaves_a_table_and_pictures(swept):
    home, found = swept
    folder = home / found.folder
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    for row in rows:
        assert row["state"] == "complete"
        metrics = json.loads((home / row["run"] / "metrics.json").read_text())
        assert float(row["value"]) == pytest.approx(metrics["val/loss"])
        assert float(row["val/accuracy"]) == pytest.approx(metrics["val/accuracy"])
        config = (home / row["run"] / "config.yaml").read_text()
        assert f"batch_size: {row['data.batch_size']}" in config
        assert float(row["mflops"]) > 0
    head, _, *lines = (folder / "trials.md").read_text().splitlines()
    assert head.startswith("| trial | state | figure | ")
    assert head.count("|") == lines[0].count("|")
    order = [int(line.split("|")[1]) for line in lines]
    assert order == [trial.number for trial in sorted(found.study.trials, key=lambda trial: trial.value)]
    for name in ("importance.png", "front.png"):
        with Image.open(folder / name) as picture:
            assert picture.format == "PNG"


def test_the_summary_names_the_best_trial(swept):
    _, found = swept
    best = min(found.study.trials, key=lambda trial: trial.value)
    text = found.summary()
    assert "seek: 4 of 4 trials, 0 of them pruned" in text
    assert f"best: trial {best.number}, {best.value:.4f}" in text
    assert f"model.lr={best.params['model.lr']}" in text


def test_each_trial_is_a_child_run_in_mlflow(swept):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    home, found = swept
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    parent = client.get_run(found.study.user_attrs[PARENT])
    assert parent.info.run_name == "sweep seek"
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best"] == pytest.approx(found.study.best_value)
    assert {entry.path for entry in client.list_artifacts(parent.info.run_id)} == {
        "trials.csv",
        "trials.md",
        "importance.png",
        "front.png",
    }
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.info.run_id for run in children} == {trial.user_attrs["mlflow"] for trial in found.study.trials}
    assert {run.info.status for run in children} == {"FINISHED"}
    for trial in found.study.trials:
        run = next(run for run in children if run.info.run_id == trial.user_attrs["mlflow"])
        assert float(run.data.params["model/lr"]) == pytest.approx(trial.params["model.lr"])


def test_a_study_with_all_its_trials_is_not_gone_on_with(swept, tiny):
    home, found = swept
    again = sweep(str(home / "seek.yaml"), settings(tiny, "logger=mlflow", "trainer.max_epochs=1"))
    assert len(again.study.trials) == len(found.study.trials) == 4


def test_a_sweep_that_goes_on_is_said_to_run(swept, monkeypatch, caplog):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    from fulldeck.training.tracking import parent

    home, found = swept
    uri = f"sqlite:///{home}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = parent.begin("elsewhere", "another")
    parent.keep(run, found.folder, None, "killed")
    assert MlflowClient(uri).get_run(run).info.status == "KILLED"
    parent.go_on(run)
    assert MlflowClient(uri).get_run(run).info.status == "RUNNING"
    assert caplog.text == ""
    parent.go_on("0" * 32)  # as of a worker that keeps its runs elsewhere
    assert "all workers need the same MLFLOW_TRACKING_URI" in caplog.text


def test_a_study_that_was_begun_without_mlflow_gets_its_run_there_later(home, tiny, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.setattr(sweeping, "WAIT", 0.0)
    one_epoch = settings(tiny, "trainer.max_epochs=1")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(ConfigError, match="does not answer"):
            sweep(write(home), [*one_epoch, "logger=mlflow"])
    study = sweep(write(home), [*one_epoch, "logger=mlflow", "logger.model=false"], trials=1).study
    trial = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db").get_run(study.trials[0].user_attrs["mlflow"])
    assert trial.data.tags["mlflow.parentRunId"] == study.user_attrs[PARENT]


def test_a_study_is_not_turned_round(swept, tiny):
    home, _ = swept
    other = home / "other"
    other.mkdir(exist_ok=True)
    source = write(other, direction="maximize")
    with pytest.raises(ConfigError, match="the study seek was begun to minimize"):
        sweep(source, settings(tiny))


def test_the_front_is_what_none_beats():
    points = [(0, 5.0, 0.7), (1, 3.0, 0.6), (2, 4.0, 0.5), (3, 9.0, 0.7), (4, 9.0, 0.9), (5, 3.0, 0.4)]
    assert front(points) == [(1, 3.0, 0.6), (0, 5.0, 0.7), (4, 9.0, 0.9)]


# Pruning


def test_hopeless_trials_are_ended_early(home, tiny, monkeypatch):
    """One setting alone decides: whether anything is learnt at all."""
    # Both choices must come up, the hopeless one not only first: by mere chance they would not, once in twenty times.
    monkeypatch.setattr(optuna.samplers, "TPESampler", partial(optuna.samplers.TPESampler, seed=0))
    space = {"model.lr": {"choices": [0.003, 0.0]}}
    source = write(home, space=space, pruning={"startup_trials": 1, "warmup_epochs": 1}, trials=6)
    plain = settings(tiny, "trainer.max_epochs=6", "trainer.average=0", "data.augment=null", "logger=none")
    study = sweep(source, plain).study
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    finished = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(pruned) + len(finished) == 6
    assert study.best_trial.params["model.lr"] == 0.003
    assert any(trial.params["model.lr"] == 0.0 for trial in pruned)
    for trial in pruned:
        assert trial.user_attrs["epochs"] == len(trial.intermediate_values) < 6
    for trial in finished:
        assert list(trial.intermediate_values) == list(range(6))


def test_a_trial_whose_loss_is_lost_is_pruned_and_the_sweep_goes_on(home, tiny):
    source = write(home, space={"model.lr": {"choices": [1e20]}}, trials=2)
    study = sweep(source, settings(tiny, "trainer.gradient_clip=0", "trainer.average=0", "trainer.max_epochs=1")).study
    assert states(study) == [TrialState.PRUNED] * 2


# Several workers


def test_workers_share_a_study_and_a_killed_one_s_trial_is_tried_again(home, tiny):
    source = write(home, trials=3)
    worker = start_worker(source, settings(tiny, "trainer.max_epochs=400", "trainer.patience=400"))
    try:
        while not list(home.glob("runs/sweeps/seek/runs/*/checkpoints/last.ckpt")):
            assert worker.poll() is None, worker.communicate()[0]
            time.sleep(0.05)
        shared = sweep(source, settings(tiny, "trainer.max_epochs=1")).study
        assert states(shared) == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.COMPLETE]
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
    study = sweep(source, settings(tiny, "trainer.max_epochs=1")).study
    assert states(study) == [TrialState.FAIL, *[TrialState.COMPLETE] * 3]
    assert study.trials[3].params == study.trials[0].params


def test_a_trial_is_not_given_up_while_its_worker_writes_down_what_came_of_it(home, tiny, monkeypatch):
    url = f"sqlite:///{home / 'studies.db'}"
    write_down = RDBStorage.set_trial_state_values

    def watched(storage, trial_id, state, values=None):
        if state == TrialState.COMPLETE:
            give_up_dead(optuna.load_study(study_name="seek", storage=url), home / "runs" / "sweeps" / "seek")
        return write_down(storage, trial_id, state, values)

    monkeypatch.setattr(RDBStorage, "set_trial_state_values", watched)
    study = sweep(write(home, trials=2), settings(tiny, "trainer.max_epochs=1"), storage=url).study
    assert states(study) == [TrialState.COMPLETE] * 2


def given_up_by(home, first):
    """A study whose one trial has no worker, and another view of it that may look first."""
    url = f"sqlite:///{home / 'studies.db'}"
    study = open_study("seek", url, read_search(write(home)), None)
    study.ask().set_user_attr(HOST, platform.node())
    first(lambda: give_up_dead(optuna.load_study(study_name="seek", storage=url), home))
    give_up_dead(study, home)
    return study


def test_a_dead_trial_that_two_workers_find_is_tried_again_once(home, monkeypatch):
    def first(look):
        waiting = [look]

        def looked(_):
            while waiting:
                waiting.pop()()
            return False

        monkeypatch.setattr(sweeping, "is_held", looked)

    assert states(given_up_by(home, first)) == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_that_is_tried_again_is_its_new_worker_s_from_the_start(home):
    study = given_up_by(home, lambda look: look())
    again = study.ask()
    give_up_dead(study, home)  # before the worker has begun with it
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING]
    again.set_user_attr(HOST, platform.node())
    give_up_dead(study, home)
    assert states(study) == [TrialState.FAIL, TrialState.FAIL]


def test_workers_share_a_study_in_postgresql(home, tiny):
    source = write(home, trials=4)
    with postgres() as server:
        url = server.url.replace("postgresql:", "postgresql+psycopg:")
        one_epoch = settings(tiny, "trainer.max_epochs=1")
        worker = start_worker(source, one_epoch, "--storage", url)
        sweep(source, one_epoch, storage=url)
        output = worker.communicate()[0]
        assert worker.returncode == 0, output
        assert "of 4 trials" in output
        done = states(optuna.load_study(study_name="seek", storage=url))
        # Two that take the last trial at the same moment may make one more than was asked for.
        assert done in ([TrialState.COMPLETE] * 4, [TrialState.COMPLETE] * 5)
    assert not (home / "runs" / "sweeps" / "studies.db").exists()


# Databases and names


def test_a_database_that_is_not_there_is_refused(home, tiny):
    with pytest.raises(ConfigError, match=r"the database of studies at sqlite:////nowhere/x\.db cannot be used"):
        sweep(write(home), settings(tiny), storage="sqlite:////nowhere/x.db")


def test_a_database_s_password_is_not_shown(home, tiny):
    with pytest.raises(ConfigError, match=r"at postgresql\+psycopg://127\.0\.0\.1:9/x cannot be used") as caught:
        sweep(write(home), settings(tiny), storage="postgresql+psycopg://user:hidden@127.0.0.1:9/x")
    assert "hidden" not in str(caught.value)


def test_a_database_that_is_lost_meanwhile_is_told(home, tiny, monkeypatch):
    def lose(*_):
        for file in home.glob("runs/sweeps/studies.db*"):
            file.write_bytes(b"no database" * 1000)

    monkeypatch.setattr(sweeping, "note", lose)
    with pytest.raises(ConfigError, match=r"the database of studies at .*studies\.db cannot be used"):
        sweep(write(home), settings(tiny, "trainer.max_epochs=1"))


def test_a_study_s_name_is_a_plain_one(home, tiny):
    with pytest.raises(ConfigError, match="a study's name is made of"):
        sweep(write(home), settings(tiny), name="../other")


# W&B's own sweeps


def test_wandb_s_agent_makes_a_command_that_trains(tiny, tmp_path, monkeypatch, request):
    wandb = pytest.importorskip("wandb")
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args, load_sweep_config
    from wandb_file import read_records

    file = Path(__file__).parents[2] / "deploy" / "wandb" / "sweep.yaml"
    described = load_sweep_config(str(file))
    chosen = {}
    for name, limits in described["parameters"].items():
        chosen[name] = {"value": limits["values"][0] if "values" in limits else limits["min"]}
    given = create_sweep_command_args({"args": chosen})
    command = []
    for word in create_sweep_command(described["command"]):
        macro = re.fullmatch(r"\$\{(\w+)\}", word)
        command += given[macro.group(1)] if macro else [word]
    assert command[:2] == [described["program"], "train"]
    overrides = command[2:]
    config = compose_config(overrides)
    assert config.logger.kind == "wandb"
    assert config.model.lr == pytest.approx(described["parameters"]["model.lr"]["min"])
    assert config.data.batch_size == 32

    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_RUN_ID", "ofagent1")  # as the agent sets it
    wandb.teardown()  # a process reads these but once, and the agent starts one for each run
    request.addfinalizer(wandb.teardown)
    run = train(
        tiny(
            tmp_path / "runs",
            *overrides,
            "data.batch_size=8",
            "data.size=32",
            "trainer.max_epochs=1",
            "model.backbone=test_efficientnet",
            "data.stored_size=32",
            "logger.group=seek",
        )
    )
    [file] = Path(run.records["wandb"]["folder"]).glob("*.wandb")
    [begun] = [record.run for record in read_records(file) if record.WhichOneof("record_type") == "run"]
    assert begun.run_group == "seek"
    assert run.records["wandb"]["run"] == "ofagent1"
