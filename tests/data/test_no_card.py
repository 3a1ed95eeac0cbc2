import hashlib
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fulldeck.cli import main
from fulldeck.data.no_card import BACKS, TEST_ONLY, no_card
from fulldeck.errors import DataError

KINDS = {"back", "blank", "business card", "chip", "die", "gradient", "noise", "paper", "screen", "texture"}


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.jpg"))
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return no_card(tmp_path_factory.mktemp("no-card") / "two", train=2, test=2, seed=5)


@pytest.fixture
def photographs(tmp_path):
    """A folder of "photographs" of one colour, another for each split."""
    for split, colour in (("train", (200, 40, 40)), ("test", (40, 40, 200))):
        (tmp_path / "photos" / split).mkdir(parents=True)
        picture = np.full((300, 400, 3), colour[::-1], np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / split / "one.png"), picture)
    return tmp_path / "photos"


def test_each_kind_is_counted_and_two_are_for_the_test_alone(made):
    assert {path.name for path in (made.out / "train").iterdir()} == KINDS
    assert {path.name for path in (made.out / "test").iterdir()} == KINDS | set(TEST_ONLY)
    assert made.images["train"] == dict.fromkeys(sorted(KINDS), 2)
    assert len(digests(made.out)) == made.drawn == 2 * len(KINDS) + 2 * len(KINDS | set(TEST_ONLY))


def test_pictures_are_224_square_and_none_is_there_twice(made):
    paths = list(made.out.rglob("*.jpg"))
    assert {cv2.imread(str(path)).shape for path in paths} == {(224, 224, 3)}
    assert len({path.read_bytes() for path in paths}) == len(paths)


def test_the_same_seed_gives_the_same_bytes_whatever_the_count(made, tmp_path):
    again, first = no_card(tmp_path / "again", train=1, test=3, seed=5), digests(made.out)
    same = digests(again.out).items() & first.items()
    assert len(same) == len(KINDS) + 2 * len(KINDS | set(TEST_ONLY))
    other = digests(no_card(tmp_path / "other", train=1, test=0, seed=6).out)
    assert not set(other.values()) & set(first.values())


def test_repeating_makes_what_is_missing(tmp_path):
    first = no_card(tmp_path, train=1, test=0, seed=1)
    before = digests(first.out)
    (tmp_path / "train" / "die" / "00000.jpg").unlink()
    assert no_card(tmp_path, train=1, test=0, seed=1).drawn == 1
    assert digests(tmp_path) == before


def test_photographs_stay_in_their_split_and_can_come_later(tmp_path, photographs):
    out = tmp_path / "out"
    no_card(out, train=1, test=1, seed=1)
    before = digests(out)
    more = no_card(out, train=4, test=4, seed=1, pictures={"wall": photographs, BACKS: photographs})
    assert more.images["train"]["wall"] == more.images["test"][BACKS] == 4
    assert before.items() <= digests(out).items()
    for split, high, low in (("train", 2, 0), ("test", 0, 2)):  # OpenCV's order: blue, green, red
        for path in (out / split / "wall").iterdir():
            middle = cv2.imread(str(path))[100:124, 100:124].reshape(-1, 3).mean(axis=0)
            assert middle[high] > middle[low] + 40


def test_other_photographs_or_another_seed_are_refused(tmp_path, photographs):
    out = tmp_path / "out"
    no_card(out, train=1, test=0, seed=1, pictures={"wall": photographs})
    before = digests(out)
    with pytest.raises(DataError, match="another seed"):
        no_card(out, train=1, test=0, seed=2)
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="other photographs"):
        no_card(out, train=1, test=0, seed=1, pictures={"wall": tmp_path / "moved"})
    assert digests(out) == before


@pytest.mark.parametrize("name", ["holiday.jpg", "no-card.json"])
def test_a_foreign_folder_is_refused(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"not": "ours"}))
    with pytest.raises(DataError, match="is not empty"):
        no_card(tmp_path, train=1, test=0)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_pictures_need_both_splits_and_a_name_of_their_own(tmp_path, photographs):
    (photographs / "test" / "one.png").unlink()
    with pytest.raises(DataError, match="holds no picture"):
        no_card(tmp_path / "out", pictures={"wall": photographs})
    with pytest.raises(DataError, match="is a kind that is drawn"):
        no_card(tmp_path / "out", pictures={"die": photographs})
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_made(tmp_path, photographs):
    arguments = ["data", "no-card", str(tmp_path / "out"), "--train", "1", "--test", "1"]
    result = CliRunner().invoke(main, [*arguments, "--pictures", "wall", str(photographs)])
    assert result.exit_code == 0, result.output
    assert "24 pictures without a card (11 train, 13 test) of 13 kinds" in result.stdout
    assert "refused" not in result.stderr
