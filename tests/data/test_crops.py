import cv2
import pytest

from fulldeck.cards import LABELS
from fulldeck.data.compose import compose, read_scenes
from fulldeck.data.crops import SIZE, cut
from fulldeck.errors import DataError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    compose(folder, scenes=16, seed=6, drawn=1, side=400)
    return folder


def pictures(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def test_readable_cards_become_a_labelled_dataset(scenes, tmp_path):
    result = cut(scenes, tmp_path / "out")
    found = pictures(tmp_path / "out" / "cards" / "train")
    assert result.cards == len(found) > 0
    true = {f"{i:06d}": {card["label"] for card in scene["cards"]} for i, scene in enumerate(read_scenes(scenes))}
    for name in found:
        label, _, file = name.partition("/")
        assert label in LABELS
        assert label in true[file[:6]]
    assert cv2.imread(str(tmp_path / "out" / "cards" / "train" / next(iter(found)))).shape == (SIZE, SIZE, 3)


def test_pictures_of_no_readable_card_lie_apart(scenes, tmp_path):
    result = cut(scenes, tmp_path / "out", split="test")
    found = pictures(tmp_path / "out" / "others" / "test")
    assert result.others == len(found) > 0
    assert {name.partition("/")[0] for name in found} <= {"hidden", "ground", "scene"}


def test_the_same_seed_gives_the_same_cuts(scenes, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        cut(scenes, tmp_path / name, seed=seed)
    assert pictures(tmp_path / "a") == pictures(tmp_path / "b") != pictures(tmp_path / "c")


def test_a_folder_in_use_is_left_alone(scenes, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something already"):
        cut(scenes, tmp_path)


def test_no_scenes_no_cuts(tmp_path):
    with pytest.raises(DataError, match="make scenes"):
        cut(tmp_path, tmp_path / "out")
