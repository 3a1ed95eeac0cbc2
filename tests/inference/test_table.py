import click

from fulldeck.cards import LABELS
from fulldeck.inference.recognizer import Alternative, Located, LocatedCard, Prediction
from fulldeck.inference.table import CardsTable, Table, plain


def prediction(label="ten of hearts", probability=0.987, *, accepted=True, second="nine of hearts"):
    return Prediction(label, probability, accepted=accepted, alternatives=(Alternative(second, 0.011),))


def test_a_row_says_it_all():
    table = Table(["a.jpg"], LABELS)
    row = click.unstyle(table.row("a.jpg", prediction()))
    assert " ".join(row.split()) == "a.jpg ✓ 10♥ ten of hearts 98.7 % 9♥ nine of hearts 1.1 %"


def test_columns_stand_under_their_names():
    table = Table(["short.jpg", "a/longer/name.jpg"], LABELS)
    header = table.header()
    rows = [
        click.unstyle(table.row("short.jpg", prediction())),
        click.unstyle(table.row("a/longer/name.jpg", prediction("queen of diamonds", 0.061, accepted=False))),
    ]
    for row, card in zip(rows, ("10♥", "Q♦"), strict=True):
        assert row.index(card) == header.index("CARD")
        assert row.index("9♥") == header.index("NEXT BEST")
    assert " ? Q♦" in rows[1]


def test_red_suits_are_red_and_black_ones_the_terminals_own():
    table = Table(["a.jpg"], LABELS)
    assert "\x1b[31m" in table.row("a.jpg", prediction("ten of hearts"))
    assert "\x1b[31m" not in table.row("a.jpg", prediction("ten of spades"))


def test_other_classes_print_as_they_are():
    table = Table(["a.jpg"], ["cat", "a c"])
    row = click.unstyle(table.row("a.jpg", prediction("a c", second="cat")))
    assert " ".join(row.split()) == "a.jpg ✓ a c 98.7 % cat 1.1 %"
    only = Prediction("cat", 1.0, accepted=True, alternatives=())
    assert click.unstyle(table.row("a.jpg", only)).endswith("100.0 %")


def test_wide_characters_count_twice():
    table = Table(["写真.jpg", "ordinary.jpg"], LABELS)
    wide, narrow = (click.unstyle(table.row(name, prediction())) for name in ("写真.jpg", "ordinary.jpg"))
    assert wide.index("✓") == narrow.index("✓") - 2


def test_a_very_long_path_widens_its_own_line_only():
    table = Table(["x" * 300, "a.jpg"], LABELS)
    assert len(click.unstyle(table.row("a.jpg", prediction()))) < 130
    assert "x" * 300 in table.row("x" * 300, prediction())


def test_file_names_cannot_move_the_cursor():
    assert plain("a\x1b[2J\nb.jpg") == "a\ufffd[2J\ufffdb.jpg"
    assert "\x1b[2J" not in Table(["\x1b[2J"], LABELS).row("\x1b[2J", prediction())


def test_a_photo_has_a_row_a_card_and_one_where_there_is_none():
    corners = ((12.4, -3.0), (80.0, 5.0), (75.5, 99.0), (8.0, 90.0))
    cards = [
        LocatedCard(name.label, name.probability, name.accepted, name.alternatives, corners, visible)
        for name, visible in ((prediction(), 1.0), (prediction("queen of spades", 0.3, accepted=False), 0.254))
    ]
    table = CardsTable(["a.jpg", "longer.jpg"], LABELS)
    first, second = (click.unstyle(row) for row in table.rows("a.jpg", Located(tuple(cards), 100, 100)))
    assert " ".join(first.split()) == "a.jpg ✓ 10♥ ten of hearts 98.7 % 100 % 12,-3 80,5 76,99 8,90"
    assert " ".join(second.split()).startswith("a.jpg ? Q♠ queen of spades 30.0 % 25 % ")
    header = table.header()
    for row in (first, second):
        assert row.index(" %", row.index(" %") + 1) + 2 == header.index("VISIBLE") + len("VISIBLE")
        assert row.index("12,-3") == header.index("CORNERS")
    (none,) = table.rows("a\n.jpg", Located((), 100, 100))
    assert " ".join(click.unstyle(none).split()) == "a\ufffd.jpg no card"
