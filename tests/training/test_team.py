"""Trainings on several processes and machines, started by the real torchrun."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed import PrefixStore, TCPStore

from fulldeck.data.dataset import Batches, open_cache
from fulldeck.errors import ConfigError
from fulldeck.inference import image
from fulldeck.training.team import Team, team
from fulldeck.training.train import train

TORCHRUN = Path(sys.executable).parent / "torchrun"

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
OVER_THE_CABLE = {**ONE_THREAD, "GLOO_SOCKET_IFNAME": "cable"}

# Without batch normalisation, augmentation and dropout, nothing depends on who computes what.
EXACT = (
    "model.backbone=test_convnext",
    "model.lr=0.0003",  # so slow that there is something left to be wrong by
    "model.drop_rate=0",
    "model.drop_path_rate=0",
    "data.augment=null",
    "trainer.max_epochs=3",
)

MEMBER = """
import json, os, signal, sys
from pathlib import Path
from lightning.pytorch.callbacks import Callback
from fulldeck.training.train import train

class Member(Callback):
    seen = 0

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.seen += len(batch[1])
        if (trainer.global_rank, trainer.current_epoch, index) == (1, 1, 2) and not told("RESTART_COUNT"):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_end(self, trainer, module):
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        figures |= {"seen": self.seen, "attempt": told("RESTART_COUNT")}
        Path(f"rank-{trainer.global_rank}-epoch-{trainer.current_epoch}.json").write_text(json.dumps(figures))
        self.seen = 0

def told(name):
    return int(os.environ[f"TORCHELASTIC_{name}"])

train(sys.argv[1:], watch=[Member()])
"""


def told(folder):
    """What each member has told, by rank and epoch."""
    files = {tuple(map(int, file.stem.split("-")[1::2])): file for file in folder.glob("rank-*.json")}
    return {place: json.loads(file.read_text()) for place, file in files.items()}


# Parts


@pytest.mark.parametrize("seed", [None, 3])
def test_the_parts_of_a_batch_are_together_what_one_process_would_see(seed):
    positions = np.arange(100, 123)
    whole = list(Batches(positions, 8, seed))
    parts = [list(Batches(positions, 8, seed, part=(rank, 3))) for rank in range(3)]
    assert [len(part) for part in parts] == [len(whole)] * 3
    for batch, *pieces in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(place for piece in pieces for place in piece)
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_few_images_are_shared_evenly():
    parts = [list(Batches(np.arange(5), 8, 0, part=(rank, 2))) for rank in range(2)]
    assert [[len(batch) for batch in part] for part in parts] == [[2], [2]]


def test_of_those_who_need_a_cache_one_decodes(colours, tmp_path, monkeypatch):
    decoded = []
    load = image.load
    monkeypatch.setattr(image, "load", lambda file, size: decoded.append(file) or load(file, size))
    with ThreadPoolExecutor(4) as pool:
        caches = list(pool.map(lambda _: open_cache(colours, 16, tmp_path), range(4)))
    assert len(decoded) == len(set(decoded)) == len(caches[0].rows) == 48
    assert all(np.array_equal(cache.images, caches[0].images) for cache in caches)


# Who this is


def test_alone_one_asks_oneself():
    alone = team()
    assert alone == Team(rank=0, count=1, here=1, attempt=0, launched=False)
    assert alone.first
    assert alone.agree("word", lambda: "mine") == alone.remember("word", lambda: "mine") == "mine"


def test_unlike_machines_are_refused(monkeypatch):
    told = {"RANK": 0, "WORLD_SIZE": 3, "LOCAL_WORLD_SIZE": 2}
    for name, value in {**told, "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": 0}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match="as many processes on each machine"):
        team()


@pytest.fixture
def one_of_two(monkeypatch):
    """Let this process be one of two, whose torchrun keeps the store that is returned."""
    kept = TCPStore("localhost", 0, is_master=True)

    def become(rank):
        told = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RESTART_COUNT": 0}
        told |= {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "localhost", "MASTER_PORT": kept.port}
        for name, value in told.items():
            monkeypatch.setenv(name, str(value))
        return PrefixStore("fulldeck/words", kept)

    return become


def test_what_cannot_be_shared_is_refused(tiny, tmp_path, one_of_two):
    one_of_two(0)
    with pytest.raises(ConfigError, match="batch_size=7 images are no equal parts for 2 processes"):
        train(tiny(tmp_path / "runs", "data.batch_size=7"))
    assert not (tmp_path / "runs").exists()


def test_other_images_than_the_first_machines_are_refused(tiny, tmp_path, one_of_two):
    first = one_of_two(1)
    first.set("folder", str(tmp_path / "runs" / "one"))
    first.set("0/images", '["0123"]')
    with pytest.raises(ConfigError, match="are not those of the first machine; copy them from there"):
        train(tiny(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_several_devices_want_torchrun(tiny, tmp_path):
    with pytest.raises(ConfigError, match="torchrun --nproc-per-node 2 -m fulldeck train"):
        train(tiny(tmp_path, "trainer.devices=2"))
    assert list(tmp_path.iterdir()) == []


# Several processes and machines


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    """The figures of one process."""
    return train(tiny(tmp_path_factory.mktemp("alone"), *EXACT)).metrics


def check_figures(runs, alone):
    """Hold that two processes have left one run, with the figures of one process, and return its folder."""
    [folder] = runs.iterdir()
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2
    together = json.loads((folder / "metrics.json").read_text())
    assert together["epochs"] == alone["epochs"] == 3
    for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/f1"):
        assert together[name] == pytest.approx(alone[name], rel=1e-3), name
    return folder


def check_taken_up(folder, alone):
    """Hold that two members, one of which was killed in the second epoch, have gone on after the first one."""
    run = check_figures(folder / "runs", alone)
    assert {path.name for path in (run / "logs").iterdir()} == {"version_0", "version_1"}  # it was taken up once

    members = told(folder)
    assert set(members) == {(rank, epoch) for rank in range(2) for epoch in range(3)}
    assert [members[0, epoch]["attempt"] for epoch in range(3)] == [0, 1, 1]
    for epoch in range(3):
        assert members[0, epoch] == members[1, epoch]  # the same figures on both
        assert members[0, epoch]["seen"] == 16  # 36 images are 4 batches of 8, of which each has half


@contextmanager
def running(*commands, **options):
    """Start commands and let them end, with all that they started, whatever happens."""
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()  # torchrun ends its own
        for process in processes:
            process.wait(60)


@pytest.mark.slow
def test_two_processes_train_what_one_would_though_one_is_killed(tiny, tmp_path, alone):
    (tmp_path / "member.py").write_text(MEMBER)
    command = [TORCHRUN, "--standalone", "--nproc-per-node=2", "--max-restarts=1", "member.py"]
    with running([*command, *tiny("runs", *EXACT)], cwd=tmp_path, env=ONE_THREAD) as [process]:
        said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    check_taken_up(tmp_path, alone)


@contextmanager
def two_hosts():
    """Two network namespaces with a cable between them; their names and addresses."""
    ip = shutil.which("ip")
    if ip is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2")
    name = uuid.uuid4().hex[:8]
    hosts = [f"cards-{name}-a", f"cards-{name}-b"]

    def run(*words):
        subprocess.run([ip, *words], check=True, capture_output=True, text=True)

    made = []
    try:
        for host in hosts:
            run("netns", "add", host)
            made.append(host)
        run("link", "add", "cable", "netns", hosts[0], "type", "veth", "peer", "cable", "netns", hosts[1])
        for number, host in enumerate(hosts, start=1):
            run("-n", host, "address", "add", f"10.77.0.{number}/24", "dev", "cable")
            run("-n", host, "link", "set", "cable", "up")
            run("-n", host, "link", "set", "lo", "up")
        yield {host: f"10.77.0.{number}" for number, host in enumerate(hosts, start=1)}
    finally:
        for host in made:
            run("netns", "delete", host)


def on_both(hosts, *words):
    """The commands that start torchrun on each host, which meet on the first one."""
    meet = ["--nnodes=2", f"--master-addr={next(iter(hosts.values()))}", "--master-port=29400", "--nproc-per-node=1"]
    return [
        ["ip", "netns", "exec", host, TORCHRUN, f"--node-rank={rank}", *meet, *words] for rank, host in enumerate(hosts)
    ]


@pytest.mark.slow
def test_two_hosts_train_what_one_would(tiny, tmp_path, alone):
    with two_hosts() as hosts:
        commands = on_both(hosts, "-m", "fulldeck", "train", *tiny(tmp_path / "runs", *EXACT))
        with running(*commands, env=OVER_THE_CABLE) as processes:
            said = [process.communicate(timeout=200) for process in processes]
        counter = ["ip", "netns", "exec", next(iter(hosts)), "cat", "/sys/class/net/cable/statistics/rx_bytes"]
        received = int(subprocess.run(counter, check=True, capture_output=True, text=True).stdout)
    assert [process.returncode for process in processes] == [0, 0], said
    folder = check_figures(tmp_path / "runs", alone)
    assert "held-out accuracy" in said[0][0]
    assert said[1][0] == ""  # the first one speaks for both
    weights = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    learnt = sum(value.nbytes for name, value in weights.items() if name.startswith("network."))
    assert received > 12 * learnt  # in each of the 12 steps came the gradients


@pytest.mark.slow
def test_two_hosts_go_on_though_a_process_on_the_second_is_killed(tiny, tmp_path, alone):
    (tmp_path / "member.py").write_text(MEMBER)
    with two_hosts() as hosts:
        commands = on_both(hosts, "--max-restarts=1", "member.py", *tiny("runs", *EXACT))
        with running(*commands, cwd=tmp_path, env=OVER_THE_CABLE) as processes:
            said = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    check_taken_up(tmp_path, alone)
