import json
import shutil
import tarfile

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fulldeck.cards import CARDS, LABELS
from fulldeck.cli import main
from fulldeck.data.vector_decks import DECKS, HELD_OUT, face, vector_decks
from fulldeck.errors import DataError

YOUNES = "@younestouati/playing-cards-standard-deck"
CARD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="50" height="70" viewBox="0 0 50 70">'
    '<rect width="50" height="70" fill="#fefefe"/><rect x="{x}" y="{y}" width="6" height="6" fill="#c00"/></svg>'
)


@pytest.fixture
def packages(tmp_path):
    """One package as it lies in a node_modules folder, one as apt leaves it once unpacked."""
    source = tmp_path / "packages"
    cards = source / YOUNES / "cards"
    cards.mkdir(parents=True)
    (source / YOUNES / "package.json").write_text(json.dumps({"name": YOUNES, "version": "3.0.0"}))
    (source / YOUNES / "LICENSE").write_text("LGPL")
    for card in CARDS:
        name = f"{card.rank.number}{card.suit.letter.lower()}" if card.rank else "joker"
        (cards / f"{name}.svg").write_text(CARD.format(x=card.index % 8 * 5 + 2, y=card.index // 8 * 8 + 4))
    (cards / "back.svg").write_text(CARD.format(x=0, y=0))
    return source


def test_faces_are_laid_out_by_label_and_held_out_decks_are_test(packages, tmp_path):
    made = vector_decks(tmp_path / "out", source=packages, per_card=1)
    assert (made.decks, made.held_out, made.photos) == (1, 1, 52)
    assert "@letele/playing-cards@0.1.0" in made.failed
    faces = tmp_path / "out/faces/younestouati"
    assert {path.stem for path in faces.glob("*.png")} == set(LABELS) - {"four of spades"}
    assert [path.name for path in (faces / "backs").iterdir()] == ["back.png"]
    image = cv2.imread(str(faces / "queen of hearts.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (700, 500, 4)
    assert image[0, 0, 3] == 0
    assert image[350, 250, 3] == 255
    assert {path.parent.name for path in (tmp_path / "out/test").rglob("*.jpg")} == set(LABELS) - {"four of spades"}
    assert not (tmp_path / "out/train").exists()
    (entry,) = json.loads((tmp_path / "out/decks.json").read_text())["decks"]
    assert (entry["version"], entry["licence"], entry["held_out"]) == ("3.0.0", "LGPL-3.0", True)
    assert len(entry["sha256"]) == 64
    assert (tmp_path / "out/licences/@younestouati-playing-cards-standard-deck.txt").read_text() == "LGPL"


def test_it_goes_on_where_it_was(packages, tmp_path):
    out = tmp_path / "out"
    vector_decks(out, source=packages)
    first = out / "faces/younestouati/ten of clubs.png"
    bytes_before, others = first.read_bytes(), (out / "faces/younestouati/ace of clubs.png").stat().st_mtime_ns
    first.unlink()
    again = vector_decks(out, source=packages)
    assert first.read_bytes() == bytes_before
    assert (out / "faces/younestouati/ace of clubs.png").stat().st_mtime_ns == others
    assert again.decks == 1
    shutil.rmtree(packages / YOUNES)
    assert "all were there already" in str(vector_decks(out, source=packages))
    assert vector_decks(out, source=packages, per_card=1, seed=3).photos == 52
    with pytest.raises(DataError, match="holds 1 photos a card, seed 3"):
        vector_decks(out, source=packages, per_card=2, seed=3)


def test_a_packed_package_is_unpacked(packages, tmp_path):
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "younestouati-playing-cards-standard-deck-3.0.0.tgz", "w:gz") as tar:
        tar.add(packages / YOUNES, "package")
    assert vector_decks(tmp_path / "out", source=packed).decks == 1


def test_an_incomplete_deck_is_named(packages, tmp_path):
    (packages / YOUNES / "cards/7d.svg").unlink()
    with pytest.raises(DataError, match=r"younestouati.*has no seven of diamonds"):
        vector_decks(tmp_path / "out", source=packages)


def test_a_strangers_folder_is_left_alone(packages, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no vector decks"):
        vector_decks(tmp_path / "out", source=packages)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_without_npm_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, ["data", "vector-decks", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "npm was not found: install Node.js" in result.output
    assert "Traceback" not in result.output


def test_the_command_prints_what_came_and_what_did_not(packages, tmp_path):
    result = CliRunner().invoke(main, ["data", "vector-decks", str(tmp_path / "out"), "--from", str(packages)])
    assert result.exit_code == 1
    assert "1 decks (1 held out)" in result.output
    assert "does not have gnome-cards-data, neither packed nor unpacked" in result.output


def test_a_figure_without_its_paper_is_no_face():
    drawn = np.zeros((140, 100, 4), np.uint8)
    drawn[20:120, 30:70] = 255
    with pytest.raises(DataError, match="no whole card"):
        face(drawn)


def test_families_are_held_out_whole_and_one_is_of_the_named_packages():
    assert len({deck.name for deck in DECKS}) == len(DECKS)
    assert {deck.family for deck in DECKS} > HELD_OUT
    assert any(deck.held_out for deck in DECKS if deck.package.name == YOUNES)
