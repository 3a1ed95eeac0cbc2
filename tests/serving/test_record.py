import asyncio
import time

import pytest

from fulldeck.errors import ConfigError
from fulldeck.inference.recognizer import Prediction, Recognizer
from fulldeck.serving import record as module
from fulldeck.serving.limits import Upload
from fulldeck.serving.record import open_recorder
from fulldeck.serving.settings import Settings
from log_entries import some_entry

ROW = (Prediction("joker", 0.5, True, ()), some_entry().observation)


@pytest.fixture
def recorder(tmp_path):
    recorder = open_recorder(Settings(predictions_folder=tmp_path, predictions_images=True))
    yield recorder
    asyncio.run(recorder.log.stop(0))


def record(recorder, model, number, data=b"image"):
    return recorder.record(str(number), None, model, [(Upload("a.jpg", data), *ROW)])


@pytest.fixture
def model(tiny_model):
    return Recognizer(tiny_model).info


def test_answers_wait_until_they_are_kept_and_one_that_is_cancelled_ends_no_others_wait(
    recorder, model, held_spill, monkeypatch
):
    async def scenario() -> None:
        first, cancelled, other = [asyncio.create_task(record(recorder, model, number)) for number in range(3)]
        await asyncio.sleep(0.05)
        cancelled.cancel()
        await asyncio.sleep(0.05)
        assert not first.done()
        assert not other.done()
        assert cancelled.cancelled()
        held_spill.set()
        await asyncio.gather(first, other)

    monkeypatch.setattr(module, "KEEP_SECONDS", 60)
    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert recorder.log.figures().spill_bytes > 3 * 2560
    assert sum(recorder.log.figures().lost.values()) == 0


def test_a_disk_that_hangs_holds_no_answer_up_for_long(recorder, model, held_spill):
    async def scenario() -> None:
        start = time.perf_counter()
        await asyncio.gather(*(record(recorder, model, number) for number in range(20)))
        assert time.perf_counter() - start < 2

    asyncio.run(scenario())
    assert recorder.log.figures().queue_entries == 20


def test_large_images_of_several_answers_at_once_are_all_kept(recorder, model):
    async def scenario() -> None:
        await asyncio.gather(*(record(recorder, model, number, bytes(30 * 2**20)) for number in range(4)))

    asyncio.run(scenario())
    asyncio.run(recorder.log.stop(10))
    assert sum(recorder.log.figures().lost.values()) == 0


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "postgresql://me:pass@secret@db/x"])
def test_an_address_that_names_no_database_is_refused_at_the_start(tmp_path, url):
    with pytest.raises(ConfigError, match="FULLDECK_PREDICTIONS_DATABASE") as refused:
        open_recorder(Settings(predictions_folder=tmp_path, predictions_database=url))
    assert "secret" not in str(refused.value)
