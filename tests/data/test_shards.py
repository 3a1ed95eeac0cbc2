import hashlib
import io
import json
import tarfile

import pytest
from PIL import Image

pytest.importorskip("webdataset")

from fulldeck.data.dataset import DeckDataModule
from fulldeck.data.manifest import content_hash
from fulldeck.data.shards import INDEX, read_index, read_shard, write_shards
from fulldeck.data.storage import Storage
from fulldeck.errors import DataError


def paint(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (grey,) * 3).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of twelve images, each of a grey of its own."""
    for number in range(24):
        paint(tmp_path / "set" / ("cat" if number < 12 else "dog") / f"{number:02d}.png", 10 * number)
    return tmp_path / "set"


@pytest.fixture
def target(tmp_path):
    return Storage(str(tmp_path / "shards"))


def contents(target, shards):
    """Each image in some shards, as (its grey, the number of its label)."""
    found = []
    for shard in shards:
        with tarfile.open(fileobj=io.BytesIO(target.read(shard.name))) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        assert len(files) == 2 * shard.images
        for name, data in files.items():
            if not name.endswith(".cls"):
                with Image.open(io.BytesIO(data)) as picture:
                    found.append((picture.getpixel((0, 0))[0] // 10, int(files[name.partition(".")[0] + ".cls"])))
    return found


def test_every_image_is_in_one_shard_with_its_label(folder, target):
    index = write_shards(folder, target, holdout=0.25, images=5)
    assert index.labels == ("cat", "dog")
    assert index.hashes == {str(folder): content_hash(folder)}
    assert [shard.images for shard in index.train] == [5, 5, 4, 4]
    train, held_out = contents(target, index.train), contents(target, index.validation)
    assert sorted(number for number, _ in train + held_out) == list(range(24))
    assert all(label == (number >= 12) for number, label in train + held_out)
    assert [number for number, _ in train] != sorted(number for number, _ in train)
    assert read_index(target) == index


def test_the_same_images_are_held_out_as_without_shards(folder, target, tmp_path):
    data = DeckDataModule(folder, size=16, stored_size=16, holdout=0.25, seed=3, cache=tmp_path / "cache")
    data.setup()
    local = sorted(int(pixels[0, 0, 0]) // 10 for batch, _ in data.val_dataloader() for pixels in batch)
    index = write_shards(folder, target, holdout=0.25, seed=3)
    assert sorted(number for number, _ in contents(target, index.validation)) == local


def test_other_datasets_outliers_and_what_is_left_out(folder, target, tmp_path):
    paint(tmp_path / "extra" / "train" / "zebra" / "0.png", 240)
    paint(tmp_path / "others" / "whatever" / "0.png", 250)
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    (tmp_path / "list").write_text("cat/00.png\n")
    index = write_shards(
        folder,
        target,
        extra=[tmp_path / "extra"],
        outliers=[tmp_path / "others"],
        exclude=tmp_path / "list",
        holdout=0.1,
    )
    assert index.labels == ("cat", "dog", "zebra")
    images = dict(contents(target, (*index.train, *index.validation)))
    assert sorted(images) == list(range(1, 26))
    assert (images[24], images[25]) == (2, -1)


def test_a_split_is_held_out(folder, target, tmp_path):
    (tmp_path / "both").mkdir()
    folder.rename(tmp_path / "both" / "train")
    paint(tmp_path / "both" / "valid" / "dog" / "0.png", 240)
    index = write_shards(tmp_path / "both", target, validation="valid")
    assert contents(target, index.validation) == [(24, 1)]
    paint(tmp_path / "both" / "valid" / "emu" / "0.png", 240)
    with pytest.raises(DataError, match="labels that training has not: emu"):
        write_shards(tmp_path / "both", target, validation="valid")


def test_what_is_there_is_not_written_again(folder, target, tmp_path):
    first = write_shards(folder, target, images=5)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.tar")}
    lost = next(iter(times))
    lost.unlink()
    assert write_shards(folder, target, images=5) == first
    assert {path for path in times if path.stat().st_mtime_ns != times[path]} == {lost}


def test_a_shard_that_has_changed_is_refused(folder, target, tmp_path):
    shard = write_shards(folder, target).train[0]
    assert hashlib.sha256(read_shard(target, shard)).hexdigest() == shard.sha256
    (tmp_path / "shards" / shard.name).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"is not what shards\.json says"):
        read_shard(target, shard)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "is of schema 2, not 1"),
        ({"labels": ["cat", "../dog"]}, "is no label"),
        ({"labels": ["cat"]}, "nothing to tell apart"),
        ({"train": [{"name": "../x.tar", "images": 1, "bytes": 1, "sha256": ""}]}, "is no shard"),
        ({"train": 3}, "is damaged"),
        ({"validation": []}, "to hold out"),
    ],
)
def test_an_index_that_cannot_be_trusted(folder, target, change, sentence):
    write_shards(folder, target)
    target.write(INDEX, json.dumps(json.loads(target.read(INDEX)) | change).encode())
    with pytest.raises(DataError, match=sentence):
        read_index(target)


def test_no_shards(target):
    with pytest.raises(DataError, match=r"shards\.json is not there"):
        read_index(target)
