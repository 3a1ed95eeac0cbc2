"""`fulldeck score` on real clusters of Ray: one of two nodes, of which one is killed, and one that it starts itself."""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import psutil
import pytest
from click.testing import CliRunner

pytest.importorskip("fulldeck.scoring.score")  # before Ray is loaded, as it tells Ray how to run under `uv run`

import pyarrow.parquet as pq
from paint import paint_pictures
from ray.cluster_utils import Cluster

from fulldeck.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Ray starts a dozen processes

NODE = {"num_cpus": 1, "object_store_memory": 2**28}


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose first node has one core; tests add to it."""
    # What has died is noticed after five seconds in place of fifteen; what is slow must not be taken for dead.
    noticing = {"health_check_period_ms": 1000, "health_check_failure_threshold": 4}
    made = Cluster(
        initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": noticing}
    )
    yield made
    made.shutdown()


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A hundred pictures that each cost a search for cards, and two that cannot be read."""
    folder = paint_pictures(tmp_path / "pictures", 100)
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (folder / "empty.png").write_bytes(b"")
    return folder


def files(out: Path, kind: str) -> Counter[str]:
    """How often each picture is in one of the two tables."""
    return Counter(pq.read_table(out / kind).column("file").to_pylist())


def chunks(out: Path) -> int:
    """How many chunks are done."""
    return len(list((out / "predictions").glob("*.parquet")))


def kill_while_it_works(cluster: Cluster, node, out: Path, seen: list[int]) -> None:
    """Kill a node as soon as one of its workers is at a chunk, and note how many chunks were done then."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    while not any(re.match(r"ray::FlatMap", " ".join(worker.cmdline())) for worker in raylet.children(recursive=True)):
        time.sleep(0.01)
    seen.append(chunks(out))
    cluster.remove_node(node, allow_graceful=False)


def test_a_node_is_killed_and_nothing_is_lost_or_doubled(cluster, pictures, tmp_path, caplog):
    out, seen = tmp_path / "out", []
    caplog.set_level(logging.INFO, "fulldeck.scoring")  # as -v does
    node = cluster.add_node(**NODE)
    killer = Thread(target=kill_while_it_works, args=(cluster, node, out, seen), daemon=True)
    killer.start()
    words = ["score", str(pictures), "--out", str(out), "--chunk", "2", "--address", cluster.address]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    killer.join(timeout=60)
    assert seen, "the second node was never at work"
    assert seen[0] < chunks(out) == 51
    named, failed = files(out, "predictions"), files(out, "errors")
    assert len(named) == named.total() == 100
    assert failed == {"damaged.jpg": 1, "empty.png": 1}
    summary = "100 pictures labelled in predictions/, 2 that cannot be read in errors/; "
    assert re.search(re.escape(f"{out}: {summary}") + r"[1-9][\d,]* pictures/s\n$", done.stdout)
    told = [record.getMessage() for record in caplog.records if record.name == "fulldeck.scoring.score"]
    assert len(told) == 51
    assert re.fullmatch(r"102 of 102 pictures, [1-9]\d*/s", told[-1])


def test_on_a_terminal_a_bar_shows_how_far_it_is_and_how_fast(cluster, tmp_path):
    source = paint_pictures(tmp_path / "pictures", 6)
    words = ["score", str(source), "--out", str(tmp_path / "out"), "--chunk", "2", "--address", cluster.address]
    ours, theirs = os.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "fulldeck", *words],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # which Linux says where the other side is closed
        while some := os.read(ours, 1 << 16):
            shown += some
    os.close(ours)
    said, _ = program.communicate(timeout=60)
    assert program.returncode == 0, shown
    assert said.startswith(f"{tmp_path / 'out'}: 6 pictures labelled".encode())
    plain = re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", shown)
    assert re.search(rb"labelling .* 0/6 0/s", plain)
    assert re.search(rb"labelling .* 6/6 \d+/s", plain)


def test_it_is_interrupted_and_goes_on(cluster, pictures, tmp_path):
    out = tmp_path / "out"
    words = ["score", str(pictures), "--out", str(out), "--chunk", "2"]
    program = subprocess.Popen(
        [sys.executable, "-c", "from fulldeck.cli import main; main()", *words, "--workers", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while program.poll() is None and chunks(out) < 3:
        time.sleep(0.01)
    began = psutil.Process(program.pid).children(recursive=True)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=300)
    assert program.returncode == 130, said
    assert said == "interrupted: what is done stays done; the same command goes on\n"
    assert not psutil.wait_procs(began, timeout=30)[1]
    before = chunks(out)
    assert 3 <= before < 51
    done = CliRunner().invoke(main, [*words, "--address", cluster.address])
    assert done.exit_code == 0, done.output
    named = files(out, "predictions")
    assert len(named) == named.total() == 100
    assert "were done before" in done.output
    done = CliRunner().invoke(main, [*words, "--address", "127.0.0.1:1"])  # there is nothing to ask a cluster for
    assert done.output == f"{out}: all 102 pictures were done before\n"


def test_there_is_no_cluster(pictures, tmp_path):
    words = ["score", str(pictures), "--out", str(tmp_path / "out"), "--address", "127.0.0.1:1"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "there is no Ray cluster at 127.0.0.1:1" in done.output
