import gzip

import numpy as np
import pytest

from fulldeck.cards import CARDS, LABELS
from fulldeck.data.svg_sheet import card_pixels, label_of, pixels, read, sheet_labels
from fulldeck.errors import DataError

SHEET = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100">
<defs><path id="pip" d="M0 0h10v10h-10z" fill="#f00"/></defs>
<g transform="translate(10 10)">
 <g id="club_1"><rect width="50" height="70" fill="#fff"/><use xlink:href="#pip" x="20" y="30"/></g>
 <g id="king_heart" transform="translate(120 0)"><rect width="50" height="70" fill="#00f"/></g>
</g><rect id="joker_part" width="5" height="5"/></svg>"""


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "sheet.svgz"
    path.write_bytes(gzip.compress(SHEET.encode()))
    return read(path)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("club_1", "ace of clubs"),
        ("king_heart", "king of hearts"),
        ("13h", "king of hearts"),
        ("10c", "ten of clubs"),
        ("C10", "ten of clubs"),
        ("TD", "ten of diamonds"),
        ("SA", "ace of spades"),
        ("2J", "joker"),
        ("J1", "joker"),
        ("black_joker", "joker"),
        ("joker_label_red", None),
        ("svg1667", None),
        ("14h", None),
    ],
)
def test_names_of_drawings(name, label):
    assert label_of(name) == label


def test_every_card_has_a_name_in_each_notation():
    for rank_first in (True, False):
        names = [(c.rank.corner, c.suit.letter) for c in CARDS if c.rank]
        found = {label_of("".join(pair if rank_first else pair[::-1])) for pair in names}
        assert found == set(LABELS) - {"joker"}


def test_a_card_is_cut_out_of_its_sheet_with_what_it_refers_to(sheet):
    assert sheet_labels(sheet) == {"ace of clubs": "club_1", "king of hearts": "king_heart"}
    ace = card_pixels(sheet, "club_1", 100)
    assert ace.shape == (140, 100, 4)
    assert ace[70, 50].tolist() == [255, 0, 0, 255]
    assert ace[20, 20].tolist() == [255, 255, 255, 255]


def test_a_card_beyond_the_sheets_own_frame_is_whole(sheet):
    king = card_pixels(sheet, "king_heart", 100)
    assert king.shape == (140, 100, 4)
    assert np.abs(king[2:-2, 2:-2].astype(int) - [0, 0, 255, 255]).max() <= 2


def test_what_cannot_be_drawn_says_so(tmp_path):
    path = tmp_path / "bad.svg"
    path.write_text("<svg")
    with pytest.raises(DataError, match=r"bad\.svg cannot be read as SVG"):
        read(path)
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg"><g id="club_1"/></svg>')
    with pytest.raises(DataError, match="viewBox"):
        card_pixels(read(path), "club_1", 100)
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><g id="club_1"/></svg>')
    with pytest.raises(DataError, match="nothing of it is visible"):
        card_pixels(read(path), "club_1", 100)
    with pytest.raises(DataError, match="cannot be drawn"):
        pixels(read(path).makeelement("nonsense", {}), 100)


def test_entities_are_refused(tmp_path):
    path = tmp_path / "bomb.svg"
    path.write_text('<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>')
    with pytest.raises(DataError, match="cannot be read as SVG"):
        read(path)


def test_text_is_drawn_without_the_machines_fonts(tmp_path):
    path = tmp_path / "text.svg"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 50 70">'
        '<text x="5" y="60" font-size="60" font-family="Nobody Has This">A</text></svg>'
    )
    assert pixels(read(path), 100)[:, :, 3].max() == 255
