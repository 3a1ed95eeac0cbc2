"""Deck styles: thirteen base styles, each varied without end by a deck's seed; a style is plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fulldeck.data.deck.canvas import Colour, Ink
from fulldeck.data.deck.chance import between, chance, generator, pick
from fulldeck.data.deck.figures import Palette
from fulldeck.data.deck.lettering import Typeface
from fulldeck.data.deck.pips import PipShape
from fulldeck.data.deck.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

CourtKind = Literal["double", "line", "standing", "cut", "emblem", "letter", "pip"]
FieldKind = Literal["pips", "single", "picture", "numeral"]
AceKind = Literal["plain", "large", "ornate", "framed"]
JokerKind = Literal["jester", "head", "double", "star"]


@dataclass(frozen=True)
class Index:
    """The corner's rank and small pip; a card is 250 units wide and 350 high."""

    x: float = 22  # centre from the left edge
    top: float = 16
    height: float = 40  # of the rank
    pip: float = 26  # height of the small pip; 0 leaves it out
    gap: float = 6
    stretch: float = 1.0
    corners: int = 2  # 1 (top left), 2 (and bottom right) or 4
    beside: bool = False  # the pip stands right of the rank and not below it
    across: bool = False  # the pip stands in the other corner of the same edge


@dataclass(frozen=True)
class Field:
    """The middle of a number card."""

    kind: FieldKind = "pips"
    pip: float = 52
    x: float = 55  # from the middle to the outer columns
    y: float = 112  # from the middle to the outer rows
    frame: float = 0  # width of a line around the pips; 0 draws none
    low: float = 0  # how far below the middle a single sign or numeral stands
    aside: float = 0  # how far right of the middle a single sign or a figure that the edges cut stands


@dataclass(frozen=True)
class Courts:
    """The middle of jacks, queens and kings."""

    kind: CourtKind
    palette: Palette
    letters: tuple[str, str, str] = ("J", "Q", "K")
    width: float = 160
    height: float = 282
    frame: float = 1.2  # line around the figure; 0 draws none
    pip: float = 40  # the pips inside the frame; 0 draws none


@dataclass(frozen=True)
class Border:
    """Lines along the card's edge."""

    inset: float
    width: float
    double: bool = False
    ornate: bool = False


@dataclass(frozen=True)
class DeckStyle:
    """All that a deck's 53 faces have in common."""

    name: str  # the base style
    number: int  # seeds what differs from card to card
    typeface: Typeface
    pips: PipShape
    small: PipShape  # the index's pips
    stock: Stock
    inks: tuple[Ink, Ink, Ink, Ink]  # clubs, diamonds, hearts, spades
    rule: Colour  # frames and borders
    courts: Courts
    index: Index = Index()
    field: Field = Field()
    border: Border | None = None
    corner: float = 14  # radius of the card's corners
    ace: AceKind = "large"
    ace_letter: str = "A"
    joker: JokerKind = "jester"


REDS: tuple[Colour, ...] = (
    (206, 17, 38),
    (222, 26, 32),
    (178, 24, 36),
    (232, 62, 58),
    (150, 20, 40),
    (237, 28, 36),
    (196, 40, 70),
)
BLACKS: tuple[Colour, ...] = ((12, 12, 14), (35, 31, 32), (22, 24, 40), (0, 0, 0), (48, 46, 50))
WHITES: tuple[Colour, ...] = (
    (255, 255, 255),
    (254, 254, 252),
    (250, 250, 248),
    (244, 244, 240),
    (236, 238, 240),
    (250, 245, 232),
)
CREAMS: tuple[Colour, ...] = ((240, 226, 192), (228, 206, 160), (214, 188, 140), (246, 236, 210), (200, 172, 124))
DARKS: tuple[Colour, ...] = ((16, 16, 18), (20, 24, 52), (46, 10, 16), (10, 40, 34), (40, 36, 44), (28, 20, 14))
GOLDS: tuple[Colour, ...] = ((212, 175, 85), (236, 204, 120), (196, 150, 70), (222, 222, 226))
PASTELS: tuple[Colour, ...] = (
    (216, 200, 240),
    (250, 214, 220),
    (206, 230, 246),
    (214, 240, 216),
    (255, 238, 200),
    (228, 224, 232),
)
BRIGHTS: tuple[Colour, ...] = (
    (206, 32, 40), (246, 200, 40), (36, 74, 168), (24, 24, 28), (36, 132, 84),
    (232, 120, 36), (110, 60, 150), (90, 170, 220), (250, 236, 200), (240, 240, 240), (200, 60, 110),
)  # fmt: skip
SKINS: tuple[Colour, ...] = (
    (255, 255, 255),
    (250, 220, 190),
    (246, 208, 168),
    (236, 190, 150),
    (198, 140, 100),
    (252, 236, 220),
)
HAIRS: tuple[Colour, ...] = (
    (246, 200, 40),
    (110, 70, 40),
    (40, 34, 32),
    (222, 222, 222),
    (190, 90, 40),
    (255, 255, 255),
    (36, 74, 168),
)


def style_names() -> tuple[str, ...]:
    """The names of the base styles."""
    return tuple(_BASES)


def base_style(seed: int, place: int) -> str:
    """The base style at some place of a seed's order, in which each comes up once before any comes up again."""
    order = generator(seed, 1, place // len(_BASES)).permutation(len(_BASES))
    return style_names()[int(order[place % len(_BASES)])]


APART = 0.12
"""The share of decks of any base whose rank and suit stand apart, as card games on telephones have them."""


def deck_style(seed: int, index: int, name: str | None = None, apart: float = APART) -> DeckStyle:
    """The style of one deck, always the same for the same arguments.

    Args:
        seed: Of a whole series of decks.
        index: Which deck of the series, from 0.
        name: One of `style_names()`; by default `base_style(seed, index)`.
        apart: The probability that rank and suit stand in different corners.
    """
    name = name or base_style(seed, index)
    rng = generator(seed, 2, index)
    style = _BASES[name](_plain(rng, name), rng)
    rng = generator(seed, 3, index)
    return _settled(_across(style, rng) if chance(rng, apart) else style)


def _across(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Rank in one corner and suit in the other, seldom repeated below; often a large sign, which the edges may cut."""
    height = between(rng, 50, 84)
    index = Index(
        x=between(rng, 28, 40),
        top=between(rng, 12, 24),
        height=height,
        pip=height * between(rng, 0.6, 1.0),
        stretch=between(rng, 0.8, 1.05),
        corners=1 if chance(rng, 0.6) else 2,
        across=True,
    )
    field = replace(style.field, pip=between(rng, 34, 42), x=between(rng, 30, 44), y=between(rng, 60, 80), frame=0)
    if chance(rng, 0.6):
        large = between(rng, 130, 210)
        kind: FieldKind = pick(rng, ("single", "single", "numeral"))
        field = Field(kind, pip=large * (0.7 if kind == "numeral" else 1), low=between(rng, 0, large * 0.4))
    courts = replace(style.courts, width=130, height=between(rng, 200, 230), frame=0, pip=0)
    if chance(rng, 0.5):
        field = Field("single", pip=between(rng, 210, 300), low=between(rng, 40, 100), aside=between(rng, -20, 55))
        courts = replace(courts, kind="cut", width=between(rng, 180, 230))
        index = replace(index, corners=1)
    return replace(style, index=index, field=field, courts=courts, border=None)


def _settled(style: DeckStyle) -> DeckStyle:
    """The style with its middle drawn in as far as its indices need room."""
    index, field, courts = style.index, style.field, style.courts
    room = 125 - 2 * index.x + 5
    columns = round(max(24.0, min(field.x, room - field.pip * 0.5)), 4)
    width = round(max(116.0, min(courts.width, 2 * room + 6)), 4)
    return replace(
        style,
        field=replace(field, x=columns) if field.kind == "pips" and not field.frame else field,
        courts=courts if courts.kind == "cut" else replace(courts, width=width),
    )


def _plain(rng: np.random.Generator, name: str) -> DeckStyle:
    """What base styles start from: white stock, two colours, indices in two corners, framed double-headed courts."""
    red, black = pick(rng, REDS), pick(rng, BLACKS)
    shape = _shape(rng)
    height = between(rng, 30, 54)
    return DeckStyle(
        name=name,
        number=int(rng.integers(2**31)),
        typeface=_typeface(rng),
        pips=shape,
        small=shape,
        stock=_white(rng),
        inks=_inks(black, red, red, black),
        rule=pick(rng, ((36, 60, 140), black, black, red, (60, 60, 64))),
        courts=Courts(
            "double",
            _palette(rng),
            letters=_letters(rng),
            width=between(rng, 148, 172),
            height=between(rng, 256, 294),
            frame=between(rng, 0.8, 2.4) if chance(rng, 0.8) else 0,
            pip=between(rng, 32, 50),
        ),
        index=Index(
            x=between(rng, 19, 25),
            top=between(rng, 10, 20),
            height=height,
            pip=height * between(rng, 0.5, 0.8),
            gap=between(rng, 4, 9),
            stretch=between(rng, 0.75, 1.1),
            corners=4 if chance(rng, 0.15) else 2,
        ),
        field=Field(pip=between(rng, 42, 58), x=between(rng, 44, 58), y=between(rng, 98, 120)),
        border=Border(between(rng, 1, 3), between(rng, 0.8, 2.0)) if chance(rng, 0.3) else None,
        corner=between(rng, 9, 20),
        ace=pick(rng, ("plain", "large", "ornate", "large")),
        ace_letter="1" if chance(rng, 0.04) else "A",
        joker=pick(rng, ("jester", "jester", "head", "double", "star")),
    )


def _classic(style: DeckStyle, _rng: np.random.Generator) -> DeckStyle:
    return style


def _framed(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Large indices outside a small frame that holds everything else."""
    height = between(rng, 58, 78)
    index = Index(
        x=between(rng, 27, 33), top=between(rng, 12, 18), height=height, pip=height * between(rng, 0.7, 0.85), gap=8
    )
    index = replace(index, corners=4 if chance(rng, 0.3) else 2, stretch=between(rng, 0.7, 0.9))
    field = Field(
        pip=between(rng, 32, 38), x=between(rng, 36, 42), y=between(rng, 72, 84), frame=between(rng, 1.2, 2.6)
    )
    courts = replace(style.courts, width=132, height=between(rng, 210, 236), pip=between(rng, 24, 32))
    return replace(style, index=index, field=field, courts=courts, border=None)


def _jumbo(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Indices for tired eyes, and little else."""
    height = between(rng, 74, 98)
    index = Index(
        x=between(rng, 36, 42), top=between(rng, 12, 20), height=height, pip=between(rng, 42, 54), gap=8, stretch=0.85
    )
    sans = Typeface(thick=between(rng, 0.15, 0.22), thin=between(rng, 0.13, 0.17), width=between(rng, 0.8, 1.0))
    kind: FieldKind = pick(rng, ("single", "single", "pips"))
    field = Field(kind=kind, pip=34 if kind == "pips" else between(rng, 84, 120), x=30, y=96)
    courts = replace(
        style.courts, kind=pick(rng, ("double", "pip", "emblem")), width=120, height=between(rng, 190, 230), pip=0
    )
    return replace(style, typeface=sans, index=index, field=field, courts=courts, border=None)


def _parchment(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Old paper, browned and worn, printed in dull inks."""
    stock = Stock(
        pick(rng, CREAMS), None, pick(rng, ("parchment", "worn")), between(rng, 0.5, 1.2), int(rng.integers(2**31))
    )
    black, red = (
        pick(rng, ((40, 30, 24), (24, 20, 20), (64, 50, 40))),
        pick(rng, ((140, 30, 30), (110, 30, 24), (170, 50, 40), (40, 30, 24))),
    )
    palette = replace(
        _palette(rng),
        cloth=((150, 50, 40), (200, 164, 90), (222, 190, 120), (60, 70, 90)),
        outline=black,
        skin=(236, 210, 168),
    )
    return replace(
        style,
        stock=stock,
        inks=_inks(black, red, red, black),
        rule=black,
        typeface=_serif(rng),
        courts=replace(style.courts, kind=pick(rng, ("double", "double", "line")), palette=palette),
        border=Border(between(rng, 4, 8), 1.2, double=chance(rng, 0.5)) if chance(rng, 0.5) else None,
        ace="ornate",
    )


def _noir(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Dark stock, light and metal inks."""
    dark = pick(rng, DARKS)
    shade = pick(rng, (None, (dark[0] + 26, dark[1] + 26, dark[2] + 26)))
    gold = pick(rng, GOLDS)
    pale = pick(rng, (gold, (236, 236, 230), (170, 180, 190)))
    red = pick(rng, (gold, (226, 54, 54), (240, 90, 70), (200, 30, 50)))
    stock = Stock(dark, shade, pick(rng, ("grain", "linen", "worn", "brushed")), between(rng, 0.2, 1.0), style.number)
    metal = chance(rng, 0.5)
    darker = (max(0, gold[0] - 60), max(0, gold[1] - 60), max(0, gold[2] - 50))
    dim = dark if chance(rng, 0.5) else (30, 30, 34)
    palette = Palette(gold, dark, dim, (dark, gold, dim, red if chance(rng, 0.5) else dim), between(rng, 0.8, 1.4))
    if metal:
        ink = Ink(gold, darker)
        inks = (ink, ink, ink, ink)
    else:
        inks = _inks(pale, red, red, pale)
    kind: CourtKind = pick(rng, ("double", "double", "line", "emblem"))
    return replace(
        style,
        stock=stock,
        inks=inks,
        rule=gold,
        courts=replace(style.courts, kind=kind, palette=palette),
        border=Border(between(rng, 3, 8), between(rng, 0.8, 2), double=chance(rng, 0.4)) if chance(rng, 0.5) else None,
        ace=pick(rng, ("large", "ornate")),
    )


def _four_colour(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Clubs green, diamonds blue (or orange), as poker rooms like them."""
    green = pick(rng, ((0, 130, 62), (20, 110, 50), (60, 150, 40)))
    blue = pick(rng, ((20, 80, 190), (0, 110, 210), (232, 120, 20)))
    inks = _inks(green, blue, style.inks[2].colour, style.inks[3].colour)
    height = between(rng, 46, 62)
    index = replace(style.index, height=height, pip=height * 0.65, x=between(rng, 24, 29))
    return replace(
        style,
        inks=inks,
        index=index,
        field=replace(style.field, x=44, pip=between(rng, 40, 50)),
        courts=replace(style.courts, width=142),
    )


def _outline(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Signs drawn as lines, courts too."""
    shape = replace(style.pips, decor="outline", pen=between(rng, 0.035, 0.08))
    ink = style.inks[3].colour if chance(rng, 0.7) else style.rule
    red = style.inks[2].colour
    paper = style.stock.colour
    palette = Palette(ink, paper, paper, (paper, paper, paper, paper), between(rng, 0.8, 1.3))
    thin = Typeface(
        thick=between(rng, 0.06, 0.12),
        thin=0.06,
        rounded=True,
        width=between(rng, 0.8, 1.1),
        variant=int(rng.integers(64)),
    )
    return replace(
        style,
        pips=shape,
        small=shape if chance(rng, 0.6) else style.small,
        inks=_inks(ink, red, red, ink),
        typeface=thin if chance(rng, 0.6) else style.typeface,
        courts=replace(style.courts, kind="line", palette=palette),
        rule=ink,
        ace="large",
    )


def _minimal(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Nearly nothing: a corner, one sign, letters for courts."""
    height = between(rng, 26, 40)
    index = Index(
        x=between(rng, 20, 30), top=between(rng, 16, 26), height=height, pip=height * between(rng, 0.6, 0.9), gap=6
    )
    sans = Typeface(drawn=False, width=between(rng, 0.75, 1.05), weight=int(rng.integers(0, 5)))
    field = Field(kind=pick(rng, ("single", "numeral", "pips")), pip=between(rng, 50, 110))
    if field.kind == "pips":
        field = Field(pip=between(rng, 26, 36), x=between(rng, 26, 40), y=between(rng, 50, 80))
    courts = replace(style.courts, kind=pick(rng, ("letter", "emblem", "pip")), frame=0, pip=between(rng, 30, 44))
    return replace(
        style, index=index, typeface=sans, field=field, courts=courts, ace="plain", joker=pick(rng, ("star", "head"))
    )


def _ornate(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Borders, filigree and serifs."""
    shape = replace(style.pips, decor=pick(rng, ("solid", "inline", "engraved")), pen=between(rng, 0.03, 0.05))
    index = replace(
        style.index,
        x=between(rng, 27, 32),
        top=between(rng, 18, 24),
        height=between(rng, 34, 46),
        pip=between(rng, 24, 30),
    )
    return replace(
        style,
        pips=shape,
        typeface=_serif(rng),
        index=index,
        border=Border(between(rng, 6, 11), between(rng, 0.8, 1.8), double=True, ornate=True),
        field=replace(style.field, x=46, y=96, pip=between(rng, 40, 48)),
        courts=replace(style.courts, width=146, height=256),
        ace="ornate",
        stock=replace(style.stock, colour=pick(rng, (*WHITES, *CREAMS))),
    )


def _illustrated(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """A picture on every card; only the corners tell which card it is."""
    height = between(rng, 34, 56)
    index = replace(style.index, height=height, pip=height * between(rng, 0.55, 0.8), x=between(rng, 20, 26))
    return replace(
        style,
        index=index,
        field=replace(style.field, kind="picture", frame=between(rng, 0.8, 2.0) if chance(rng, 0.4) else 0),
        courts=replace(
            style.courts,
            kind=pick(rng, ("standing", "standing", "double")),
            frame=style.courts.frame if chance(rng, 0.4) else 0,
        ),
        stock=replace(style.stock, colour=pick(rng, (*WHITES, *CREAMS, *PASTELS))),
    )


def _pixel(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Signs of squares, flat bright colours, as in old computer games."""
    shape = replace(style.pips, decor="pixel", width=0.86, belly=0.02, leaf=0.25, spread=0.28, cleft=0.2)
    block = Typeface(thick=0.17, thin=0.15, width=between(rng, 0.8, 1.0), variant=int(rng.integers(64)))
    red = pick(rng, ((230, 0, 0), (255, 40, 40), (200, 0, 30)))
    return replace(
        style,
        pips=shape,
        small=shape,
        typeface=block,
        inks=_inks((0, 0, 0), red, red, (0, 0, 0)),
        border=Border(1.5, 1.5),
        ace="large",
    )


def _tinted(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Pastel and gradient stocks, soft inks, two-tone signs."""
    first, second = pick(rng, PASTELS), pick(rng, PASTELS)
    red = pick(rng, REDS)
    lighter = tuple(min(255, c + 60) for c in red)
    dark = pick(rng, ((40, 44, 80), (30, 30, 36), (70, 40, 90)))
    paler = tuple(min(255, c + 60) for c in dark)
    across = chance(rng, 0.5)
    warm, cold = (
        Ink(red, (lighter[0], lighter[1], lighter[2]), across),
        Ink(dark, (paler[0], paler[1], paler[2]), across),
    )
    return replace(
        style,
        stock=Stock(first, second, pick(rng, ("plain", "grain")), 0.3, style.number),
        inks=(cold, warm, warm, cold),
        rule=dark,
        typeface=pick(rng, (_serif(rng), _typeface(rng), Typeface(drawn=False, weight=3, slant=0.15))),
        courts=replace(style.courts, kind=pick(rng, ("double", "standing", "emblem"))),
    )


def _casino(style: DeckStyle, rng: np.random.Generator) -> DeckStyle:
    """Linen stock and four corners, greyed as a photograph greys it."""
    grey = pick(rng, ((214, 216, 220), (226, 222, 214), (202, 204, 200), (232, 232, 236)))
    stock = Stock(grey, None, pick(rng, ("linen", "grain")), between(rng, 0.5, 1.0), style.number)
    return replace(
        style, stock=stock, index=replace(style.index, corners=pick(rng, (2, 4, 4))), typeface=_serif(rng), border=None
    )


_BASES: dict[str, Callable[[DeckStyle, np.random.Generator], DeckStyle]] = {
    "classic": _classic,
    "framed": _framed,
    "jumbo": _jumbo,
    "parchment": _parchment,
    "noir": _noir,
    "four-colour": _four_colour,
    "outline": _outline,
    "minimal": _minimal,
    "ornate": _ornate,
    "illustrated": _illustrated,
    "pixel": _pixel,
    "tinted": _tinted,
    "casino": _casino,
}


def _inks(clubs: Colour, diamonds: Colour, hearts: Colour, spades: Colour) -> tuple[Ink, Ink, Ink, Ink]:
    return Ink(clubs), Ink(diamonds), Ink(hearts), Ink(spades)


def _white(rng: np.random.Generator) -> Stock:
    if chance(rng, 0.65):
        return Stock(pick(rng, WHITES))
    return Stock(
        pick(rng, WHITES), None, pick(rng, ("linen", "grain")), between(rng, 0.2, 0.7), int(rng.integers(2**31))
    )


def _shape(rng: np.random.Generator) -> PipShape:
    return PipShape(
        width=between(rng, 0.78, 1.05),
        cleft=between(rng, 0.12, 0.28),
        belly=between(rng, 0.0, 0.25),
        shoulder=between(rng, 0.22, 0.34),
        stem=between(rng, 0.11, 0.24),
        flare=between(rng, 0.2, 1.0),
        leaf=between(rng, 0.21, 0.27),
        spread=between(rng, 0.23, 0.31),
        diamond=between(rng, 0.64, 1.0),
        waist=pick(rng, (0.0, 0.0, between(rng, 0.02, 0.16))),
        decor=pick(rng, ("solid",) * 9 + ("inline",)),
        pen=between(rng, 0.03, 0.06),
    )


def _serif(rng: np.random.Generator) -> Typeface:
    thick = between(rng, 0.12, 0.2)
    return Typeface(
        thick=thick,
        thin=between(rng, 0.045, 0.09),
        width=between(rng, 0.7, 1.05),
        slant=pick(rng, (0.0, 0.0, 0.0, 0.18)),
        serif=pick(rng, ("slab", "hair", "wedge", "slab")),
        balls=chance(rng, 0.6),
        variant=int(rng.integers(64)),
    )


def _typeface(rng: np.random.Generator) -> Typeface:
    kind = rng.random()
    if kind < 0.5:
        return _serif(rng)
    if kind < 0.8:
        thick = between(rng, 0.09, 0.22)
        thin = round(thick * between(rng, 0.75, 1.0), 4)
        return Typeface(
            thick=thick,
            thin=thin,
            width=between(rng, 0.65, 1.0),
            rounded=chance(rng, 0.3),
            variant=int(rng.integers(64)),
        )
    return Typeface(
        drawn=False, weight=int(rng.integers(0, 7)), width=between(rng, 0.65, 1.0), slant=pick(rng, (0.0, 0.0, 0.15))
    )


def _palette(rng: np.random.Generator) -> Palette:
    order = rng.permutation(len(BRIGHTS))[:4]
    mixed = (BRIGHTS[order[0]], BRIGHTS[order[1]], BRIGHTS[order[2]], BRIGHTS[order[3]])
    english = ((206, 32, 40), (24, 24, 28), (246, 200, 40), (36, 74, 168))
    cloth = pick(rng, (english, english, (english[3], english[0], english[2], english[1]), mixed, mixed))
    outline = pick(rng, ((12, 12, 14), (12, 12, 14), (36, 60, 140), (60, 30, 30)))
    return Palette(outline, pick(rng, SKINS), pick(rng, HAIRS), cloth, between(rng, 0.7, 1.3))


def _letters(rng: np.random.Generator) -> tuple[str, str, str]:
    """English court letters, seldom French or German ones."""
    kind = rng.random()
    if kind < 0.04:
        return "V", "D", "R"
    if kind < 0.07:
        return "B", "D", "K"
    return "J", "Q", "K"
