"""One champion at a time: changes are whole, in order, and made by one process at a time."""

import multiprocessing
import os
import signal
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fulldeck.registry import champions
from fulldeck.registry.champions import change_champion, history, rollback
from fulldeck.registry.store import FILE, RegistryError, current_aliases, find, open_registry


def promote(registry, old, new):
    return change_champion(registry, old=old, new=new, kind="promotion", reason="it is better")


def test_the_first_champion_and_the_next(three):
    promote(three, None, 3)
    assert current_aliases(three) == {"champion": 3}
    promote(three, 3, 2)
    assert current_aliases(three) == {"champion": 2, "previous": 3}
    first, second = history(three)
    assert (first.old, first.new, first.outcome) == (None, 3, "done")
    assert (second.old, second.new, second.kind, second.reason) == (3, 2, "promotion", "it is better")
    assert "@" in second.by
    assert datetime.now(UTC) - second.begun < timedelta(minutes=1)


def test_a_rollback_and_back_again(three):
    promote(three, None, 1)
    with pytest.raises(RegistryError, match="version 1 of fulldeck is the first champion"):
        rollback(three, "it fails on jokers")
    promote(three, 1, 2)
    rollback(three, "it fails on jokers")
    assert current_aliases(three) == {"champion": 1, "previous": 2, "challenger": 3}
    assert history(three)[-1].reason == "it fails on jokers"
    rollback(three, "it was the camera")
    assert current_aliases(three)["champion"] == 2


def test_a_rollback_of_nothing(three):
    with pytest.raises(RegistryError, match="has no champion of fulldeck"):
        rollback(three, "fear")


def test_no_way_back_to_a_file_that_cannot_be_trusted(three):
    promote(three, None, 1)
    promote(three, 1, 2)
    stored = Path(find(three, "1").source.removeprefix("file://")) / FILE
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(RegistryError, match="version 1 of fulldeck is not the file that was registered"):
        rollback(three, "it fails on jokers")
    stored.unlink()
    with pytest.raises(RegistryError):
        rollback(three, "it fails on jokers")
    assert current_aliases(three) == {"champion": 2, "previous": 1, "challenger": 3}
    assert len(history(three)) == 2


def test_who_was_compared_with_another_champion_loses(three):
    promote(three, None, 1)
    promote(three, 1, 2)
    with pytest.raises(RegistryError, match="version 3 was compared with version 1, and the champion is version 2"):
        promote(three, 1, 3)
    assert current_aliases(three) == {"champion": 2, "previous": 1, "challenger": 3}
    assert history(three)[-1].outcome == "abandoned"


# Real processes, which need not import MLflow each.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["fulldeck.registry.champions"])


def race(uri, old, new, gate, results):
    registry = open_registry(uri)
    current_aliases(registry)  # all that is slow is done
    gate.wait(60)
    try:
        promote(registry, old, new)
        results.put((new, "won"))
    except RegistryError as error:
        results.put((new, str(error)))


def test_of_two_processes_one_wins(three, uri):
    promote(three, None, 1)
    for _ in range(3):
        champion = current_aliases(three)["champion"]
        gate, results = PROCESSES.Barrier(2), PROCESSES.Queue()
        others = {1, 2, 3} - {champion}
        racers = [PROCESSES.Process(target=race, args=(uri, champion, number, gate, results)) for number in others]
        for racer in racers:
            racer.start()
        said = dict(results.get(timeout=60) for _ in racers)
        for racer in racers:
            racer.join()
        assert said.keys() == others
        [winner] = [number for number, text in said.items() if text == "won"]
        [loser] = others - {winner}
        assert said[loser].startswith("the champion was not changed: ")
        assert current_aliases(three)["champion"] == winner
        assert current_aliases(three)["previous"] == champion
    assert [change.outcome for change in history(three)].count("done") == 4


WRITES = (
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_model_version_tag",
)


def die(uri, after):
    """Change the champion from 2 to 3, and be killed before the write of this number, counted from 0."""
    left = after

    def dying(write):
        def call(*args, **kwargs):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return write(*args, **kwargs)

        return call

    for name in WRITES:
        setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
    promote(open_registry(uri), 2, 3)


def half_a_minute_passes(uri):
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE model_versions SET creation_time = creation_time - ?", (1000 * champions.LEASE,))
    database.close()


def test_a_process_that_is_killed_between_steps_leaves_the_old_champion(three, uri):
    promote(three, None, 1)
    promote(three, 1, 2)
    died = []
    for after in range(10):
        process = PROCESSES.Process(target=die, args=(uri, after))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        died.append(current_aliases(three)["champion"])
        unfinished = [change for change in history(three) if change.outcome == "open"]
        if unfinished:  # it may still live, so nobody else may change anything
            with pytest.raises(RegistryError, match="is not finished; if it has died, try again"):
                rollback(three, "wait")
        half_a_minute_passes(uri)
        if died[-1] == 2:
            # the next change settles what was left, and the way back is what it was
            assert rollback(three, "on call").new == 1
            assert rollback(three, "all is well").new == 2
            assert current_aliases(three) == {"champion": 2, "previous": 1, "challenger": 3}
        else:
            assert rollback(three, "on call").new == 2
            three.client.set_registered_model_alias(three.name, "challenger", "3")
        assert not [change for change in history(three) if change.outcome == "open"]
    else:
        pytest.fail("it never finished")
    assert died[:4] == [2, 2, 2, 2]  # before: the ledger, the ticket, `previous`, `champion`
    assert set(died[4:]) == {3}  # after: only tidying up is left
    assert current_aliases(three) == {"champion": 3, "previous": 2}
