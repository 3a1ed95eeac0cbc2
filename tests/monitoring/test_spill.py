import os
import subprocess
import sys

import pytest

from fulldeck.monitoring import spill as module
from fulldeck.monitoring.entry import HEAD
from fulldeck.monitoring.spill import Spill, SpillFullError

MOST = (10**6, 10**9)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spill"


@pytest.fixture
def spill(folder):
    spill = Spill(folder, 10**6)
    yield spill
    spill.close()


@pytest.fixture
def records(entry):
    return [entry(number).to_record() for number in range(20)]


def drain(spill, most=7):
    bodies = []
    while batch := spill.read(most, 10**9):
        bodies += batch.bodies
        spill.release(batch)
    return bodies


def bodies_of(records):
    return [record[HEAD.size :] for record in records]


def orphan(folder, records):
    """Files whose process was killed."""
    code = (
        "import os, sys; from pathlib import Path; from fulldeck.monitoring.spill import Spill\n"
        "Spill(Path(sys.argv[1]), 10**9).append(sys.stdin.buffer.read()); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], input=b"".join(records), check=False)
    assert done.returncode == -9


def test_records_come_out_as_they_went_in(spill, records):
    for record in records:
        spill.append(record)
    assert spill.waiting_bytes == sum(map(len, records))
    assert drain(spill) == bodies_of(records)
    assert spill.waiting_bytes == 0
    assert spill.read(*MOST) is None


def test_what_was_not_released_comes_again(spill, records):
    spill.append(b"".join(records))
    assert spill.read(3, 10**9).bodies == spill.read(3, 10**9).bodies == bodies_of(records[:3])


def test_a_batch_ends_by_its_bytes_too_but_has_one_record_at_least(spill, records):
    spill.append(b"".join(records))
    assert len(spill.read(20, 1).bodies) == 1
    assert len(spill.read(20, len(records[0]) * 3).bodies) == 4


def test_files_are_deleted_as_they_are_released(spill, folder, records, monkeypatch):
    monkeypatch.setattr(module, "SEGMENT_BYTES", 3 * len(records[0]))
    for record in records:
        spill.append(record)
    assert len(list(folder.glob("*.spill"))) > 4
    assert drain(spill) == bodies_of(records)
    assert [path.stat().st_size for path in folder.glob("*.spill")] in ([], [0])
    spill.close()
    assert list(folder.iterdir()) == []


def test_the_limit_holds_and_nothing_is_half_written(folder, records):
    spill = Spill(folder, 2 * len(records[0]) + 10)
    spill.append(records[0])
    with pytest.raises(SpillFullError):
        spill.append(b"".join(records[1:3]))
    spill.append(records[1])
    assert drain(spill) == bodies_of(records[:2])
    spill.append(records[2])
    assert drain(spill) == bodies_of(records[2:3])
    spill.close()


def test_files_of_a_process_that_was_killed_are_taken_over_once(spill, folder, records):
    orphan(folder, records)
    spill.append(records[0])
    assert spill.adopt() == 1
    assert spill.adopt() == 0
    other = Spill(folder, 10**6)
    assert other.adopt() == 0
    assert drain(spill) == bodies_of([*records, records[0]])
    other.close()
    spill.close()
    assert list(folder.iterdir()) == []


def test_what_waits_at_the_end_is_for_the_next_process(spill, folder, records):
    spill.append(b"".join(records))
    assert Spill(folder, 10**6).adopt() == 0  # the first still lives
    spill.close()
    following = Spill(folder, 10**6)
    assert following.adopt() == 1
    assert drain(following) == bodies_of(records)


def test_a_file_that_cannot_be_opened_is_left_and_holds_no_other_up(spill, folder, records):
    orphan(folder, records[:2])
    orphan(folder, records[2:4])
    first, _ = sorted(folder.glob("*.spill"))
    kept = first.rename(folder / "kept")
    first.mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            spill.adopt()
    assert len(drain(spill)) == 2
    first.rmdir()
    kept.rename(first)
    assert spill.adopt() == 1
    assert len(drain(spill)) == 2


@pytest.mark.parametrize("cut", [1, 9, 1000])
def test_a_record_that_was_cut_off_by_a_kill_ends_its_file(spill, folder, records, cut):
    orphan(folder, records)
    (file,) = folder.glob("*.spill")
    os.truncate(file, file.stat().st_size - cut)
    spill.adopt()
    assert drain(spill) == bodies_of(records[:-1])
    assert not list(folder.glob("*.damaged"))


@pytest.mark.parametrize("change", ["a byte", "zeros"])
def test_a_damaged_file_is_read_as_far_as_it_goes_and_kept(spill, folder, records, change):
    orphan(folder, records)
    (file,) = folder.glob("*.spill")
    whole = sum(map(len, records[:10]))
    damage = b"?" if change == "a byte" else bytes(file.stat().st_size - whole)
    with file.open("r+b") as opened:
        opened.seek(whole + 100 if change == "a byte" else whole)
        opened.write(damage)
    spill.adopt()
    batch = spill.read(*MOST)
    assert batch.bodies == bodies_of(records[:10])
    assert batch.damaged == sum(map(len, records[10:]))
    spill.release(batch)
    assert spill.read(*MOST) is None
    assert len(list(folder.glob("*.damaged"))) == 1


def test_syncing_is_asked_of_the_disk_once(spill, records, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "fsync", asked.append)
    spill.append(records[0])
    spill.sync()
    spill.sync()
    assert len(asked) == 1


def left_in_a_journal(folder, records, signal):
    """A process whose journal has these, which then ends."""
    code = (
        "import os, sys; from pathlib import Path; from fulldeck.monitoring.spill import Spill\n"
        "spill = Spill(Path(sys.argv[1]), 10**9); journal = spill.open_journal(2**16)\n"
        "assert journal.put(sys.stdin.buffer.read())\n"
        "spill.close() if sys.argv[2] == '0' else os.kill(os.getpid(), int(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(folder), str(signal)]
    done = subprocess.run(command, input=b"".join(records), check=False)
    assert done.returncode == -signal


@pytest.mark.parametrize("signal", [0, 9])
def test_what_is_in_the_journal_of_a_process_that_has_ended_is_taken_over_once(spill, folder, records, signal):
    left_in_a_journal(folder, records[:9], signal)
    orphan(folder, records[9:])
    assert spill.adopt() == 2
    assert spill.adopt() == 0
    assert sorted(drain(spill)) == sorted(bodies_of(records))
    assert not list(folder.glob("*.journal"))
    assert not list(folder.glob("*.spill"))


def test_one_with_nothing_in_it_goes_with_its_process(folder, spill):
    other = Spill(folder, 10**6)
    assert other.open_journal() is other.open_journal()
    assert spill.adopt() == 0
    other.close()
    assert not list(folder.glob("*.journal"))


@pytest.mark.parametrize("alive", [False, True])
def test_half_a_journal_goes_when_its_process_has_gone(spill, folder, alive):
    code = (
        "import os, sys, time; from pathlib import Path; from fulldeck.monitoring.spill import Spill\n"
        "Path.replace = lambda *_: (print(flush=True), time.sleep(100))\n"
        "Spill(Path(sys.argv[1]), 10**9).open_journal(2**16)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        if not alive:
            process.kill()
            process.wait()
        assert spill.adopt() == 0
        process.kill()
    assert len(list(folder.glob("*.part"))) == alive
    assert len(list(folder.glob("*.lock"))) == 1 + alive


def test_what_waits_in_the_journal_counts_as_waiting(spill, records):
    assert spill.open_journal().put(records[0])
    assert spill.waiting_bytes == len(records[0])


def test_a_journal_that_cannot_be_read_is_left_and_holds_no_other_up(spill, folder, records):
    (folder / "abc.journal").write_bytes(b"something else")
    orphan(folder, records)
    with pytest.raises(OSError, match="no journal"):
        spill.adopt()
    assert drain(spill) == bodies_of(records)
    assert (folder / "abc.journal").read_bytes() == b"something else"
