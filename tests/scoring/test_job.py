"""What a job is and how one chunk is done, in this process; test_score.py has Ray carry them."""

import io
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest

from fulldeck.errors import ConfigError, DataError
from fulldeck.inference.recognizer import Recognizer

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

import pyarrow.parquet as pq
from paint import paint_pictures

from fulldeck.data.deck.chance import generator
from fulldeck.data.render import rendered_style
from fulldeck.data.scene import Drawn
from fulldeck.data.storage import Storage
from fulldeck.scoring.job import open_job
from fulldeck.scoring.label import label_chunk


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Forty pictures, a damaged one, an empty one, and a file that is none; do not change them."""
    folder = paint_pictures(tmp_path_factory.mktemp("pictures"), 40)
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def begin(pictures, tiny_model, tmp_path):
    """Begin a job, or go on with it, in chunks of ten: ``begin(out=..., source=..., threshold=...)``."""

    def call(**changes):
        usual = {"source": str(pictures), "out": str(tmp_path / "out"), "model": str(tiny_model)}
        return open_job(**(usual | {"locator": None, "threshold": None, "size": 10} | changes))

    return call


def rows(out, kind):
    """All rows of one of the two tables, in their order."""
    storage = Storage(str(out))
    names = [name for name in storage.names() if name.startswith(f"{kind}/")]
    return [row for name in names for row in pq.read_table(io.BytesIO(storage.read(name))).to_pylist()]


def test_every_picture_is_labelled_once_as_classify_would(begin, pictures, tiny_model, tmp_path):
    job, chunks, before = begin()
    assert [len(chunk.files) for chunk in chunks] == [10, 10, 10, 10, 2]
    assert before == 0
    assert sum(label_chunk(job, chunk)["failed"] for chunk in chunks) == 2
    recognizer = Recognizer(tiny_model, threads=1)
    labelled = rows(tmp_path / "out", "predictions")
    assert len({row["file"] for row in labelled}) == len(labelled) == 40
    for row in labelled:
        expected = recognizer.classify(pictures / row["file"])
        assert (row["label"], row["accepted"]) == (expected.label, expected.accepted)
        assert row["probability"] == pytest.approx(expected.probability, abs=1e-6)
        assert [other["label"] for other in row["alternatives"]] == [other.label for other in expected.alternatives]
    failed = {row["file"]: row for row in rows(tmp_path / "out", "errors")}
    assert set(failed) == {"damaged.jpg", "empty.png"}
    assert failed["empty.png"]["kind"] == "empty"
    assert failed["empty.png"]["error"].startswith("empty.png: ")


def test_chunks_become_smaller_towards_the_end(begin, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(600):
        (folder / f"{number:03d}.jpg").touch()
    _, chunks, _ = begin(source=str(folder), size=30)
    sizes = [len(chunk.files) for chunk in chunks]
    assert sum(sizes) == 600
    assert sizes[0] == 30
    assert sizes[-2] == 16
    assert sizes == sorted(sizes, reverse=True)
    assert [name for chunk in chunks for name in chunk.files] == sorted(path.name for path in folder.iterdir())


def test_cards_on_their_side_are_labelled_as_classify_would(begin, tmp_path):
    deck, source = Drawn(rendered_style(1, 8), "unseen"), tmp_path / "source"
    source.mkdir()
    labels = ["seven of clubs", "queen of hearts", "two of spades", "ace of diamonds", "ten of hearts"]
    for number, label in enumerate(labels):
        face = deck.face(label, generator(0))[:, :, 2::-1]
        cv2.imwrite(str(source / f"{number}.png"), np.rot90(face, -1) if number % 2 else face)
    paint_pictures(source, 2)
    job, [chunk], _ = begin(source=str(source), model="champion")
    label_chunk(job, chunk)
    labelled = rows(tmp_path / "out", "predictions")
    assert [row["label"] for row in labelled[:5]] == labels
    assert all(row["accepted"] for row in labelled[:5])
    recognizer = Recognizer(threads=1)
    for row in labelled:
        expected = recognizer.classify(source / row["file"])
        assert (row["label"], row["accepted"]) == (expected.label, expected.accepted)
        assert row["probability"] == pytest.approx(expected.probability, abs=1e-5)


def test_a_job_goes_on_where_it_was(begin, tmp_path):
    job, chunks, _ = begin()
    label_chunk(job, chunks[1])
    _, rest, before = begin(size=3)  # the plan stays as it was
    assert [chunk.number for chunk in rest] == [0, 2, 3, 4]
    assert before == 10


def test_a_chunk_that_is_done_twice_is_there_once(begin, tmp_path):
    job, chunks, _ = begin()
    first = label_chunk(job, chunks[4])
    written = (tmp_path / "out" / chunks[4].predictions).stat().st_mtime_ns
    second = label_chunk(job, chunks[4])
    assert (tmp_path / "out" / chunks[4].predictions).stat().st_mtime_ns == written
    assert (first["images"], first["failed"]) == (second["images"], second["failed"])


def test_pictures_that_come_later_are_added(begin, pictures, tmp_path):
    source = shutil.copytree(pictures, tmp_path / "source")
    job, chunks, _ = begin(source=str(source))
    for chunk in chunks:
        label_chunk(job, chunk)
    assert begin(source=str(source))[1:] == ([], 42)
    cv2.imwrite(str(source / "a first one.png"), np.full((32, 32, 3), 90, np.uint8))
    (source / "odd" / "001.png").unlink()
    job, chunks, before = begin(source=str(source))
    assert [chunk.files for chunk in chunks] == [("a first one.png",)]
    assert before == 42
    label_chunk(job, chunks[0])
    assert sum(row["file"] == "a first one.png" for row in rows(tmp_path / "out", "predictions")) == 1


def test_a_picture_that_has_gone_since_is_an_error_of_its_own(begin, pictures, tmp_path):
    source = shutil.copytree(pictures, tmp_path / "source")
    job, chunks, _ = begin(source=str(source))
    (source / chunks[0].files[3]).unlink()
    assert label_chunk(job, chunks[0])["failed"] == 3  # damaged.jpg and empty.png are the others
    assert chunks[0].files[3] in {row["file"] for row in rows(tmp_path / "out", "errors")}


@pytest.mark.parametrize("change", [{"threshold": 0.99}, {"model": "champion"}])
def test_results_of_another_model_are_not_mixed_with(begin, change):
    begin()
    with pytest.raises(ConfigError, match="name another folder for these"):
        begin(**change)


def test_what_cannot_be_a_job(begin, tmp_path):
    for source in (tmp_path / "nowhere", Path(__file__)):
        with pytest.raises(DataError, match=f"{source}: there is no such folder"):
            begin(source=str(source))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        begin(source=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="holds something else already"):
        begin(out=str(tmp_path), source=str(begin()[0].source.folder))
    (tmp_path / "out" / "plan.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is damaged"):
        begin()


@pytest.mark.parametrize("out", ["{here}/file", "{here}/file/out", "/proc/out"])
def test_a_place_that_cannot_be_written_to(begin, tmp_path, out):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="cannot be written"):
        begin(out=out.format(here=tmp_path))


def test_a_bucket_that_is_not_there(begin, bucket):
    for change in ({"source": f"{bucket}-too/pictures"}, {"out": f"{bucket}-too/out"}):
        with pytest.raises(DataError, match=f"{next(iter(change.values()))} is not there"):
            begin(**change)
    with pytest.raises(DataError, match=f"{bucket}/nothing holds no pictures"):
        begin(source=f"{bucket}/nothing")


class Refusing(BaseHTTPRequestHandler):
    """A storage that does not do what it is asked."""

    def do_GET(self):
        self.send_response(400)
        self.end_headers()
        self.wfile.write(b'{"error": {"message": "not like this"}}')

    def log_message(self, *_):
        pass


def test_a_bucket_that_refuses_is_told_in_one_sentence(begin, monkeypatch, caplog):
    gcsfs = pytest.importorskip("gcsfs")
    gcsfs.GCSFileSystem.clear_instance_cache()
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        with pytest.raises(DataError, match=r"gs://cards/pictures cannot be listed \(HttpError: not like this, 400\)"):
            begin(source="gs://cards/pictures")
        server.shutdown()
    gcsfs.GCSFileSystem.clear_instance_cache()
    assert not [record for record in caplog.records if record.exc_info]  # no stack trace beside it


def test_from_one_bucket_to_another(begin, pictures, bucket):
    source, out = f"{bucket}/pictures", f"{bucket}/out"
    for name in Storage(str(pictures)).names():
        Storage(source).write(name, (pictures / name).read_bytes())
    job, chunks, _ = begin(source=source, out=out)
    done = [label_chunk(job, chunk) for chunk in chunks]
    assert (sum(one["images"] for one in done), sum(one["failed"] for one in done)) == (42, 2)
    assert len(rows(out, "predictions")) == 40
    assert begin(source=source, out=out)[1:] == ([], 42)
