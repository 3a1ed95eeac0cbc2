import json
import logging
import shutil
from collections import Counter

import lightning as L  # noqa: N812 - Lightning's own custom
import numpy as np
import pytest
import torch
from PIL import Image

from fulldeck.data import dataset
from fulldeck.data.augment import Strength, to_float
from fulldeck.data.dataset import NO_LABEL, Batches, DeckDataModule, Images, hold_out, open_cache
from fulldeck.data.manifest import content_hash
from fulldeck.errors import DataError
from fulldeck.inference import image


def paint(path, colour, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three classes that are no cards: 4 cats, 3 dogs, 2 zebras, each image of a grey of its own."""
    for start, (label, count) in enumerate({"cat": 4, "dog": 3, "zebra": 2}.items()):
        for number in range(count):
            paint(tmp_path / "set" / label / f"{number}.png", (20 + 80 * start + 10 * number,) * 3)
    return tmp_path / "set"


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded from here on."""
    names = []
    load = image.load

    def noting(path, side=None):
        names.append(path.name)
        return load(path, side)

    monkeypatch.setattr(image, "load", noting)
    return names


# The cache


def test_the_cache_holds_each_image_with_its_label(folder, tmp_path):
    cache = open_cache(folder, 32, tmp_path / "cache")
    assert cache.images.shape == (9, 32, 32, 3)
    assert cache.images.dtype == np.uint8
    assert Counter(cache.labels) == {"cat": 4, "dog": 3, "zebra": 2}
    assert cache.hash == content_hash(folder)
    for row, label, file in zip(cache.rows, cache.labels, cache.files, strict=True):
        assert file.startswith(f"{label}/")
        with Image.open(folder / file) as original:
            assert (cache.images[row] == original.getpixel((0, 0))).all()


def test_the_pixels_are_those_that_serving_sees(tmp_path):
    path = tmp_path / "set" / "a" / "0.jpg"
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    cache = open_cache(tmp_path / "set", 48, tmp_path / "cache")
    assert (cache.images[0] == image.resize(image.load(path, 48), 48)).all()


def test_the_cache_cannot_be_written_to(folder, tmp_path):
    cache = open_cache(folder, 32, tmp_path / "cache")
    with pytest.raises(ValueError, match="read-only"):
        cache.images[0] = 0


def test_what_was_decoded_is_used_again_wherever_it_lies(folder, tmp_path, decoded):
    first = open_cache(folder, 32, tmp_path / "cache")
    assert len(decoded) == 9
    shutil.copytree(folder, tmp_path / "copy")
    again = open_cache(tmp_path / "copy", 32, tmp_path / "cache")
    assert len(decoded) == 9
    assert again.files == first.files
    assert again.hash == first.hash


@pytest.mark.parametrize("change", ["pixels", "new", "gone", "moved"])
def test_other_content_is_decoded_anew(folder, tmp_path, change):
    before = open_cache(folder, 32, tmp_path / "cache")
    if change == "pixels":
        paint(folder / "cat" / "0.png", (250, 0, 0))
    elif change == "new":
        paint(folder / "cat" / "9.png", (250, 0, 0))
    elif change == "gone":
        (folder / "cat" / "0.png").unlink()
    else:
        (folder / "cat" / "0.png").rename(folder / "dog" / "9.png")
    after = open_cache(folder, 32, tmp_path / "cache")
    assert after.hash != before.hash
    assert len(after.rows) == {"new": 10, "gone": 8}.get(change, 9)
    for row, file in zip(after.rows, after.files, strict=True):
        with Image.open(folder / file) as original:
            assert (after.images[row] == original.getpixel((0, 0))).all()


def test_another_size_is_another_cache(folder, tmp_path, decoded):
    assert open_cache(folder, 32, tmp_path / "cache").images.shape[1] == 32
    assert open_cache(folder, 24, tmp_path / "cache").images.shape[1] == 24
    assert len(decoded) == 18


def test_an_interrupted_cache_is_neither_trusted_nor_left_behind(folder, tmp_path, monkeypatch):
    load = image.load

    def interrupted(path, side=None):
        if path.name == "2.png":
            raise KeyboardInterrupt
        return load(path, side)

    with monkeypatch.context() as patch:
        patch.setattr(image, "load", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_cache(folder, 32, tmp_path / "cache")
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}
    cache = open_cache(folder, 32, tmp_path / "cache")
    assert len(cache.rows) == 9
    assert (cache.images[cache.rows].mean((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("missing", ["json", "npy"])
def test_half_a_cache_is_decoded_anew(folder, tmp_path, decoded, missing):
    open_cache(folder, 32, tmp_path / "cache")
    next((tmp_path / "cache").glob(f"*.{missing}")).unlink()
    assert len(open_cache(folder, 32, tmp_path / "cache").rows) == 9
    assert len(decoded) == 18


def test_what_is_no_image_is_left_out_with_a_warning(folder, tmp_path, caplog):
    (folder / "cat" / "1.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        cache = open_cache(folder, 32, tmp_path / "cache")
    assert "cat/1.png" in caplog.text
    assert "cat/1.png" not in cache.files
    assert Counter(cache.labels) == {"cat": 3, "dog": 3, "zebra": 2}
    for row, file in zip(cache.rows, cache.files, strict=True):
        with Image.open(folder / file) as original:
            assert (cache.images[row] == original.getpixel((0, 0))).all()


def test_nothing_readable_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "0.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 1 images"):
        open_cache(tmp_path / "set", 32, tmp_path / "cache")
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}


def test_no_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        open_cache(tmp_path / "absent", 32, tmp_path / "cache")
    paint(tmp_path / "flat" / "0.png", (1, 2, 3))
    with pytest.raises(DataError, match="holds no images"):
        open_cache(tmp_path / "flat", 32, tmp_path / "cache")


# Images and batches


def test_images_of_several_caches_keep_their_labels(folder, tmp_path):
    paint(tmp_path / "more" / "ape" / "0.png", (255, 0, 0))
    paint(tmp_path / "more" / "dog" / "0.png", (0, 255, 0))
    caches = [open_cache(one, 32, tmp_path / "cache") for one in (folder, tmp_path / "more")]
    labels = ("ape", "cat", "dog", "zebra")
    images = Images(caches, labels, 32)
    assert len(images) == 11
    pixels, targets = images[list(range(11))]
    assert pixels.shape == (11, 32, 32, 3)
    assert pixels.dtype == torch.uint8
    assert targets.dtype == torch.int64
    assert [labels[target] for target in targets] == [label for cache in caches for label in cache.labels]
    assert tuple(pixels[-2, 0, 0]) == (255, 0, 0)
    assert tuple(pixels[-1, 0, 0]) == (0, 255, 0)
    shuffled, of = images[[10, 0, 9]]
    assert torch.equal(shuffled, pixels[[10, 0, 9]])
    assert torch.equal(of, targets[[10, 0, 9]])


def test_another_size_is_resized_as_serving_does(folder, tmp_path):
    cache = open_cache(folder, 32, tmp_path / "cache")
    pixels, _ = Images([cache], ("cat", "dog", "zebra"), 24)[[3]]
    assert (pixels[0].numpy() == image.resize(cache.images[cache.rows[3]], 24)).all()


def test_batches_in_order_are_complete():
    batches = Batches(np.arange(10, 20), 4)
    assert list(batches) == [[10, 11, 12, 13], [14, 15, 16, 17], [18, 19]]
    assert len(batches) == 3


def test_shuffled_batches_are_full_and_never_repeat_an_image():
    batches = Batches(np.arange(10), 4, seed=0)
    found = list(batches)
    assert len(batches) == len(found) == 2
    assert [len(batch) for batch in found] == [4, 4]
    assert len({position for batch in found for position in batch}) == 8


def test_the_order_is_the_seeds_and_the_epochs():
    def order(seed, epoch):
        batches = Batches(np.arange(40), 8, seed)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(1, 0) == order(1, 0)
    assert order(1, 2) == order(1, 2)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert sorted(position for batch in order(1, 3) for position in batch) == list(range(40))


def test_a_batch_larger_than_the_set_is_the_set():
    assert [sorted(batch) for batch in Batches(np.arange(3), 64, seed=0)] == [[0, 1, 2]]


def test_hold_out_is_stratified_and_reproducible():
    targets = np.repeat([0, 1, 2], [100, 40, 3])
    kept, held = hold_out(targets, 0.1, seed=4)
    assert Counter(targets[held].tolist()) == {0: 10, 1: 4, 2: 1}
    assert sorted([*kept, *held]) == list(range(143))
    again = hold_out(targets, 0.1, seed=4)
    assert (again[0] == kept).all()
    assert (again[1] == held).all()
    assert not np.array_equal(hold_out(targets, 0.1, seed=5)[1], held)


# The data module


def make(folder, tmp_path, **options):
    options = {"size": 24, "stored_size": 32, "batch_size": 4, "cache": tmp_path / "cache"} | options
    return DeckDataModule(folder, **options)


def test_labels_come_from_the_data(folder, tmp_path):
    data = make(folder, tmp_path, holdout=0.3)
    data.setup()
    assert data.labels == ("cat", "dog", "zebra")
    assert data.hashes == {str(folder): content_hash(folder)}
    assert data.counts() == {"train": 6, "validation": 3}
    pixels = torch.cat([pixels for pixels, _ in data.val_dataloader()])
    assert pixels.shape == (3, 24, 24, 3)
    assert pixels.dtype == torch.uint8


def test_training_and_held_out_images_are_apart(folder, tmp_path):
    data = make(folder, tmp_path, holdout=0.3, batch_size=1)
    data.setup()

    def greys(loader):
        return {int(pixels[0, 0, 0, 0]) for pixels, _ in loader}

    train, held = greys(data.train_dataloader()), greys(data.val_dataloader())
    assert len(train) == 6
    assert len(held) == 3
    assert not train & held


def test_the_seed_decides_what_is_held_out(folder, tmp_path):
    def held(seed):
        data = make(folder, tmp_path, holdout=0.3, seed=seed)
        data.setup()
        return torch.cat([pixels for pixels, _ in data.val_dataloader()])[:, 0, 0, 0].tolist()

    assert held(0) == held(0)
    assert len({tuple(held(seed)) for seed in range(5)}) > 1


def test_extra_data_is_trained_on_and_never_held_out(folder, tmp_path):
    for number in range(6):
        paint(tmp_path / "extra" / "train" / "ape" / f"{number}.png", (0, 0, 200 + number))
        paint(tmp_path / "extra" / "valid" / "ape" / f"{number}.png", (0, 200 + number, 0))
    data = make(folder, tmp_path, extra=[tmp_path / "extra"], holdout=0.3)
    data.setup()
    assert data.labels == ("ape", "cat", "dog", "zebra")
    assert list(data.hashes) == [str(folder), str(tmp_path / "extra")]
    assert data.counts() == {"train": 12, "validation": 3}
    targets = torch.cat([targets for _, targets in data.val_dataloader()])
    assert 0 not in targets


def test_a_named_split_is_watched_instead(folder, tmp_path):
    root = tmp_path / "split"
    shutil.copytree(folder, root / "train")
    paint(root / "valid" / "zebra" / "0.png", (9, 8, 7))
    data = make(root, tmp_path, validation="valid")
    data.setup()
    assert data.counts() == {"train": 9, "validation": 1}
    [(pixels, targets)] = data.val_dataloader()
    assert tuple(pixels[0, 0, 0]) == (9, 8, 7)
    assert targets.tolist() == [2]
    with pytest.raises(DataError, match="no 'test' images"):
        make(root, tmp_path, validation="test").setup()


def test_a_watched_label_that_training_lacks_is_named(folder, tmp_path):
    root = tmp_path / "split"
    shutil.copytree(folder, root / "train")
    paint(root / "valid" / "yak" / "0.png", (9, 8, 7))
    with pytest.raises(DataError, match="labels that training has not: yak"):
        make(root, tmp_path, validation="valid").setup()


def test_too_little_to_learn_from_is_refused(tmp_path):
    paint(tmp_path / "one" / "cat" / "0.png", (1, 1, 1))
    paint(tmp_path / "one" / "cat" / "1.png", (2, 2, 2))
    with pytest.raises(DataError, match="one label, 'cat'"):
        make(tmp_path / "one", tmp_path).setup()
    paint(tmp_path / "single" / "cat" / "0.png", (1, 1, 1))
    paint(tmp_path / "single" / "dog" / "0.png", (2, 2, 2))
    with pytest.raises(DataError, match="no image is left to train on"):
        make(tmp_path / "single", tmp_path).setup()


def test_set_up_twice_reads_once(folder, tmp_path, monkeypatch):
    data = make(folder, tmp_path)
    data.setup("fit")
    monkeypatch.setattr(dataset, "open_cache", None)
    data.setup("validate")
    assert data.counts()["validation"] == 3


class Watching(L.LightningModule):
    """Learns nothing; notes what arrives."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained, self.validated = [], []

    def training_step(self, batch, batch_idx):  # noqa: ARG002 - Lightning's signature
        self.trained.append((self.current_epoch, *batch))
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):  # noqa: ARG002 - Lightning's signature
        self.validated.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, epochs=1, seed=0):
    L.seed_everything(seed, verbose=False)
    module = Watching()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data)
    return module


@pytest.mark.filterwarnings("ignore")
def test_batches_are_augmented_for_training_only(folder, tmp_path):
    options = {"holdout": 0.3, "batch_size": 3, "seed": 1}
    changed = fit(make(folder, tmp_path, augment=Strength(), **options))
    plain = fit(make(folder, tmp_path, augment=None, **options))
    assert len(changed.trained) == len(plain.trained) == 2
    for (_, ours, targets), (_, theirs, same) in zip(changed.trained, plain.trained, strict=True):
        assert ours.shape == theirs.shape == (3, 3, 24, 24)
        assert ours.dtype == torch.float32
        assert ours.min() >= 0
        assert ours.max() <= 1
        assert not torch.equal(ours, theirs)
        assert torch.equal(targets, same)  # a changed image keeps its label
    data = make(folder, tmp_path, **options)
    data.setup()
    pixels = torch.cat([pixels for pixels, _ in data.val_dataloader()])
    for module in (changed, plain):
        assert torch.equal(torch.cat([images for images, _ in module.validated]), to_float(pixels))


@pytest.mark.filterwarnings("ignore")
def test_the_same_seed_feeds_the_same_tensors(folder, tmp_path):
    def fed(seed, order=0):
        module = fit(make(folder, tmp_path, augment=Strength(), seed=order, holdout=0.3), epochs=2, seed=seed)
        return torch.cat([images for _, images, _ in module.trained])

    assert torch.equal(fed(1), fed(1))
    assert not torch.equal(fed(1), fed(2))
    assert not torch.equal(fed(1), fed(1, order=1))


@pytest.mark.filterwarnings("ignore")
def test_each_epoch_has_an_order_of_its_own(folder, tmp_path):
    module = fit(make(folder, tmp_path, holdout=0.3, batch_size=6), epochs=3)
    orders = [tuple(images[:, 0, 0, 0].tolist()) for _, images, _ in module.trained]
    assert len(set(orders)) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


@pytest.mark.filterwarnings("ignore")
def test_images_grow_with_the_epochs(folder, tmp_path):
    module = fit(make(folder, tmp_path, size=96, start_size=32, batch_size=6, augment=Strength()), epochs=6)
    assert [(epoch, images.shape[-1]) for epoch, images, _ in module.trained] == [
        (0, 32), (1, 32), (2, 64), (3, 64), (4, 96), (5, 96),
    ]  # fmt: skip
    assert all(images.shape[-1] == 96 for images, _ in module.validated)


def test_the_index_of_a_cache_is_plain_json(folder, tmp_path):
    cache = open_cache(folder, 32, tmp_path / "cache")
    index = json.loads(next((tmp_path / "cache").glob("*.json")).read_text())
    assert index["labels"] == list(cache.labels)
    assert index["rows"] == cache.rows.tolist()


def test_outliers_are_trained_on_without_a_label(folder, tmp_path):
    for number in range(5):
        paint(tmp_path / "other" / "train" / "cat" / f"{number}.png", (250, 0, number))
    data = make(folder, tmp_path, outliers=[tmp_path / "other"], holdout=0.3)
    data.setup()
    assert data.labels == ("cat", "dog", "zebra")
    assert list(data.hashes) == [str(folder), str(tmp_path / "other")]
    assert data.counts() == {"train": 11, "validation": 3}
    pixels, targets = (torch.cat(part) for part in zip(*data.train_dataloader(), strict=True))
    red = pixels[:, 0, 0, 0] == 250
    assert (targets[red] == NO_LABEL).all()
    assert (targets[~red] >= 0).all()
    assert red.any()


def test_some_images_come_as_they_are(folder, tmp_path):
    data = make(folder, tmp_path)
    data.setup()
    batches = list(data.some_images(1))
    assert len(batches) == 1
    assert batches[0].dtype == torch.float32
    assert 0 <= batches[0].min() <= batches[0].max() <= 1
