import io
import tarfile
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from torch.utils.data import DataLoader

pytest.importorskip("webdataset")

from fulldeck.cli import main
from fulldeck.data.dataset import DeckDataModule
from fulldeck.data.shards import Shard, write_shards
from fulldeck.data.storage import Storage
from fulldeck.data.streaming import ShardStream, StreamedDataModule, read_samples
from fulldeck.errors import DataError
from real_bucket import an_empty_bucket

IMAGES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of twenty noisy images; the first pixel's red tells which it is. Do not change it."""
    root, generator = tmp_path_factory.mktemp("data") / "set", np.random.default_rng(0)
    for number in range(IMAGES):
        path = root / "abc"[number // 20] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        pixels[0, 0] = 4 * number
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    """Its shards: nine of six images to train on, and one of six that are held out. Do not change them."""
    target = Storage(str(tmp_path_factory.mktemp("data") / "shards"))
    return target, write_shards(folder, target, holdout=0.1, images=6)


def stream(shards, **options):
    target, index = shards
    usual = {"stored_size": 32, "size": 32, "batch_size": 6, "seed": 0}
    return ShardStream(target, index.train, 3, **(usual | options))


def seen(batches):
    """Which images there are in some batches, in their order."""
    return [int(pixels[0, 0, 0]) // 4 for images, _ in batches for pixels in images]


def labelled(batches):
    """The label of each image in some batches."""
    pairs = [pair for images, numbers in batches for pair in zip(images.numpy(), numbers.tolist(), strict=True)]
    return {pixels.tobytes(): number for pixels, number in pairs}


def test_one_reader_sees_every_image_once_in_an_order_of_the_epochs_own(shards):
    first, again, second = (seen(stream(shards, epoch=epoch)) for epoch in (0, 0, 1))
    assert len(set(first)) == len(first) == 54
    assert first == again
    assert sorted(first) == sorted(second)
    assert first != second


def test_an_image_comes_with_its_label_and_the_pixels_of_a_local_copy(shards, folder, tmp_path):
    local = DeckDataModule(folder, size=24, stored_size=28, holdout=0.1, cache=tmp_path)
    streamed = StreamedDataModule(shards[0].address, size=24, stored_size=28, cache=tmp_path)
    local.setup()
    streamed.setup()
    assert streamed.labels == local.labels
    assert streamed.hashes == local.hashes
    assert streamed.counts() == local.counts()
    for loader in ("train_dataloader", "val_dataloader"):
        pairs = [labelled(getattr(data, loader)()) for data in (local, streamed)]
        assert pairs[0] == pairs[1]


@pytest.mark.parametrize(("ranks", "workers"), [(1, 3), (3, 0), (3, 3)])
def test_each_reader_has_images_of_its_own(shards, ranks, workers):
    parts = []
    for rank in range(ranks):
        loader = DataLoader(stream(shards, part=(rank, ranks)), batch_size=None, num_workers=workers)
        batches = list(loader)
        assert len(batches) == len(loader) == 9
        assert all(len(numbers) == 6 // ranks for _, numbers in batches)
        parts.append(seen(batches))
    assert Counter(image for part in parts for image in part) == Counter(seen(stream(shards)))


def test_each_process_of_a_training_streams_its_own_part(shards, tmp_path):
    seen_by, held_out = [], []
    for rank in range(2):
        data = StreamedDataModule(shards[0].address, size=32, stored_size=32, batch_size=12, cache=tmp_path)
        data.setup()
        data.part = rank, 2
        seen_by.append(seen(data.train_dataloader()))
        held_out.append(seen(data.val_dataloader()))
    assert [len(images) for images in seen_by] == [24, 24]  # four batches of twelve, of which each has half
    assert not set(seen_by[0]) & set(seen_by[1])
    assert sorted(held_out[0] + held_out[1]) == sorted(set(range(IMAGES)) - set(seen(stream(shards))))


def test_ranks_that_cannot_share_evenly_have_as_many_batches_all_the_same(shards):
    parts = [stream(shards, part=(rank, 4), batch_size=8) for rank in range(4)]
    assert {len(part) for part in parts} == {6}
    images = [seen(part) for part in parts]
    assert {len(part) for part in images} == {12}
    assert not set(images[1]) & set(images[2])


def test_fewer_shards_than_readers(shards):
    with pytest.raises(DataError, match="has 9 shards for 10 readers"):
        stream(shards, part=(0, 10), batch_size=10)


def test_a_shard_that_has_changed_stops_the_epoch_with_its_name(folder, tmp_path):
    target = Storage(str(tmp_path / "shards"))
    index = write_shards(folder, target, images=6)
    target.write(index.train[3].name, b"something else")
    with pytest.raises(DataError, match=index.train[3].name):
        seen(stream((target, index)))


def tar(*files):
    """A tar of (name, bytes), or of ready members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, data in files:
            member = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                member.size = len(data)
                made.addfile(member, io.BytesIO(data))
            else:
                member.type, member.linkname = tarfile.SYMTYPE, data
                made.addfile(member)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no tar", "is no tar"),
        (tar(("0.png", "/etc/passwd")), "is no plain file"),
        (tar(("0.png", b"x"), ("0.cls", b"3")), "is no image with the number of a label"),
        (tar(("0.png", b"x")), "is no image with the number of a label"),
        (tar(("0.cls", b"1")), "is no image with the number of a label"),
    ],
)
def test_a_shard_of_another_make(tmp_path, data, sentence):
    with pytest.raises(DataError, match=sentence):
        list(read_samples(Storage(str(tmp_path)), [(Shard("train-0", 1, len(data), ""), data)], labels=3))


@pytest.mark.slow
def test_a_training_out_of_a_bucket(folder, tmp_path):
    with an_empty_bucket("cards") as bucket:
        words = ["data", "shards", str(folder), f"{bucket}/shards", "--holdout", "0.2", "--images", "8"]
        packed = CliRunner().invoke(main, words)
        assert packed.exit_code == 0, packed.output
        assert f"next: fulldeck train data=shards data.shards={bucket}/shards" in packed.output
        run = tmp_path / "run"
        tiny = ["model=small", "model.backbone=test_efficientnet", "data.size=32", "data.stored_size=32"]
        tiny += ["trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.precision=32-true", "logger=none"]
        words = ["train", "--out", str(run), "data=shards", f"data.shards={bucket}/shards", "data.batch_size=8"]
        trained = CliRunner().invoke(main, [*words, f"data.cache={tmp_path / 'cache'}", *tiny])
        assert trained.exit_code == 0, trained.output
        exported = CliRunner().invoke(main, ["export", str(run)])  # calibrates on what was held out
        assert exported.exit_code == 0, exported.output
    assert sum(path.suffix == ".jpg" for path in (tmp_path / "cache").rglob("*")) == 12
    refused = CliRunner().invoke(main, ["train", "data=shards", "data.extra=[data/decks]", *tiny])
    assert "leave these to `fulldeck data shards`" in refused.output
