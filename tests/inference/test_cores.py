import math
import os

import pytest

from fulldeck.inference.cores import available_cores, quota


@pytest.fixture
def machine(tmp_path):
    """``machine(membership, files)``: what a machine's control groups say."""

    def made(membership, files):
        (tmp_path / "self").write_text(membership)
        for name, text in files.items():
            file = tmp_path / "groups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return quota(tmp_path / "groups", tmp_path / "self")

    return made


def test_version_2_in_a_container(machine):
    assert machine("0::/\n", {"cpu.max": "150000 100000\n"}) == 1.5


def test_version_2_takes_the_least_of_all_groups_above(machine):
    files = {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n", "a/b/c/cpu.max": "300000 100000\n"}
    assert machine("0::/a/b/c\n", files) == 3


def test_version_1(machine):
    files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert machine("4:memory:/x\n3:cpu,cpuacct:/x\n", files) == math.inf
    files = {"cpu/x/cpu.cfs_quota_us": "50000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}
    assert machine("4:memory:/x\n3:cpu,cpuacct:/x\n", files) == 0.5


def test_version_1_in_a_container_which_is_called_otherwise_outside(machine):
    files = {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert machine("3:cpu,cpuacct:/docker/1f0c\n", files) == 2


@pytest.mark.parametrize("text", ["", "max 100000\n", "nonsense\n", "100000 0\n"])
def test_no_quota(machine, text):
    assert machine("0::/\nnonsense\n", {"cpu.max": text}) == math.inf


def test_no_control_groups(tmp_path):
    assert quota(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_one_core_of_all():
    cores = os.sched_getaffinity(0)
    assert 1 <= available_cores() <= len(cores)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, cores)
