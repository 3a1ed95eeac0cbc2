import subprocess
import sys
import threading

import pytest

from fulldeck.monitoring.entry import HEAD
from fulldeck.monitoring.journal import Journal

SLOTS = 5


@pytest.fixture
def records(entry):
    """Records of several lengths."""
    return [entry(number, request_id="x" * (1 + number % 90)).to_record() for number in range(300)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.journal"


@pytest.fixture
def journal(path, records):
    """One with room for a few records."""
    journal = Journal.create(path, SLOTS * max(map(len, records)) // 8 * 8)
    yield journal
    journal.unmap()


def test_records_come_out_as_they_went_in_however_often_they_go_round(journal, records):
    found = []
    for first in range(0, len(records), 3):
        assert journal.put(b"".join(records[first : first + 3]))
        assert journal.waiting == sum(map(len, records[first : first + 3]))
        found += (some := journal.peek())
        assert journal.peek() == some
        journal.release(sum(map(len, some)))
    assert found == records
    assert journal.waiting == 0


def test_what_finds_no_room_is_not_taken_and_changes_nothing(journal, records):
    taken = [record for record in records[:20] if journal.put(record)]
    assert SLOTS <= len(taken) < 20
    assert not journal.put(b"".join(records[:20]))
    assert journal.peek() == taken
    journal.release(len(taken[0]))
    assert journal.put(taken[0])
    assert journal.peek() == [*taken[1:], taken[0]]


def test_another_process_sees_it_and_what_a_killed_one_left_is_there(path, journal, records):
    code = (
        "import os, sys; from pathlib import Path; from fulldeck.monitoring.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); data = sys.stdin.buffer.read()\n"
        "assert journal.peek() and journal.put(data); os.kill(os.getpid(), 9)"
    )
    assert journal.put(records[0])
    done = subprocess.run([sys.executable, "-c", code, str(path)], input=records[1], check=False)
    assert done.returncode == -9
    assert journal.peek() == records[:2]


def test_one_thread_leaves_and_another_takes_at_the_same_time(path, journal, records):
    def leave() -> None:
        other = Journal(path)
        for record in records:
            while not other.put(record):
                pass
        other.unmap()

    thread = threading.Thread(target=leave)
    thread.start()
    found = []
    while len(found) < len(records):
        found += (some := journal.peek())
        journal.release(sum(map(len, some)))
    thread.join()
    assert found == records


def test_nothing_is_left_in_a_closed_one(path, journal, records):
    other = Journal(path)
    assert journal.put(records[0])
    other.close_for_good()
    assert not journal.put(records[1])
    assert other.rest() == records[0]
    other.unmap()


def test_records_are_read_up_to_one_that_is_not_whole_yet(path, journal, records):
    assert journal.put(b"".join(records[:3]))
    content = path.read_bytes()
    at = content.index(records[1]) + HEAD.size + 4
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([content[at] ^ 1]))
    assert journal.peek() == records[:1]
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content[at : at + 1])
    assert journal.peek() == records[:3]


@pytest.mark.parametrize("content", [b"", b"\1", bytes(32), bytes(64), b"\2" + bytes(63), b"x" * 77])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "b.journal").write_bytes(content)
    with pytest.raises(OSError, match=r"b\.journal is no journal"):
        Journal(tmp_path / "b.journal")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_one_that_finds_no_room_on_the_disk_leaves_nothing_there(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path; from fulldeck.monitoring.journal import Journal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: Journal.create(Path(sys.argv[1]))\n"
        "except OSError: sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "c.journal")], check=False)
    assert done.returncode == 3
    assert not list(tmp_path.iterdir())
