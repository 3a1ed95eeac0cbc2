"""The pictures of an evaluation, as PNG files. Numbers come in, a file comes out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from fulldeck.cards import Card, Rank, Suit
from fulldeck.training.doubt import KEPT, NoCard
from fulldeck.training.measures import Calibration, Curve, Measures, Rate, cards_of
from fulldeck.training.robustness import Robustness
from fulldeck.training.style import FAINT, FELT, GOLD, GRID, INK, RED, SQUARE, save, style


@dataclass(frozen=True)
class Example:
    """One image and what was said of it, for people to look at.

    ``image`` is uint8 [H, W, 3] RGB; ``alternatives`` are the likeliest (label, probability), best first;
    ``truth_probability`` is what the right label was given.
    """

    file: str
    image: NDArray[np.uint8]
    truth: str
    truth_probability: float
    alternatives: tuple[tuple[str, float], ...]
    accepted: bool

    @property
    def right(self) -> bool:
        """Whether the likeliest label is the truth."""
        return self.alternatives[0][0] == self.truth


def draw_reliability(calibration: Calibration, out: Path) -> None:
    """Draw met against stated probability for each bin, and below it how many images each bin has."""
    figure = Figure(figsize=SQUARE, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    style(upper, f"Reliability: ECE {calibration.ece:.3f}, MCE {calibration.mce:.3f}", "share that was right")
    style(lower, "", "images")
    bars = [bar for bar in calibration.bins if bar.count]
    width = 1 / len(calibration.bins)
    left = [bar.low for bar in bars]
    met = np.array([bar.accuracy for bar in bars])
    stated = np.array([bar.confidence for bar in bars])
    shape: dict[str, Any] = {"width": width, "align": "edge", "edgecolor": "white"}
    upper.bar(left, met, color=FELT, label="right", **shape)
    upper.bar(left, np.maximum(stated - met, 0), bottom=met, color=RED, alpha=0.4, label="surer than right", **shape)
    upper.bar(left, np.maximum(met - stated, 0), bottom=stated, color=GOLD, label="righter than sure", **shape)
    upper.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1, label="perfectly calibrated")
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    lower.bar(left, [bar.count for bar in bars], color=FAINT, **shape)
    lower.set_yscale("symlog", linthresh=1)
    lower.set_xlabel("stated probability of the answer", color=INK)
    save(figure, out)


def draw_roc(micro: Curve, macro: Curve, auc_micro: float, auc_macro: float | None, out: Path) -> None:
    """Draw the one-vs-rest ROC curves; the false positive rate is logarithmic, where good models still differ."""
    figure = Figure(figsize=SQUARE, layout="constrained")
    axes = figure.subplots()
    style(axes, "ROC, each label against the rest", "true positive rate")
    floor = min((x for x in micro.x if x > 0), default=1e-5) / 2
    axes.plot(np.maximum(micro.x, floor), micro.y, color=FELT, linewidth=2, label=f"micro, area {auc_micro:.4f}")
    if auc_macro is not None:
        axes.plot(
            np.maximum(macro.x, floor), macro.y, color=GOLD, linewidth=2, label=f"mean of labels, area {auc_macro:.4f}"
        )
    chance = np.geomspace(floor, 1, 60)
    axes.plot(chance, chance, color=FAINT, linestyle="--", linewidth=1, label="chance")
    axes.set(xscale="log", xlim=(floor, 1), ylim=(0, 1.02))
    axes.set_xlabel("false positive rate (logarithmic)", color=INK)
    axes.legend(loc="center left", frameon=False)
    save(figure, out)


def draw_coverage(measures: Measures, out: Path) -> None:
    """Draw the accuracy among the most confident share of images, and where the model's threshold stands."""
    figure = Figure(figsize=SQUARE, layout="constrained")
    axes = figure.subplots()
    style(axes, "Accuracy of the answers given", "accuracy among them")
    axes.plot(measures.coverage.x, measures.coverage.y, color=FELT, linewidth=2, clip_on=False)
    chosen = measures.selection
    lowest = min(measures.coverage.y)
    if chosen.accuracy is not None:
        lowest = min(lowest, chosen.accuracy)
        axes.plot([chosen.coverage], [chosen.accuracy], "o", color=RED, markersize=9, zorder=3, clip_on=False)
        axes.annotate(
            f"from {chosen.threshold:.2f} on: {chosen.coverage:.1%} answered,\n{chosen.accuracy:.2%} of those right",
            (chosen.coverage, chosen.accuracy),
            xytext=(0.5, 0.2),
            textcoords="axes fraction",
            ha="center",
            color=INK,
            arrowprops={"arrowstyle": "-", "color": FAINT},
        )
    axes.set(xlim=(0, 1), ylim=(max(0.0, lowest - max(0.01, (1 - lowest) * 0.5)), 1))
    axes.set_xlabel("share of images answered, most confident first", color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    save(figure, out)


def draw_confusion(labels: Sequence[str], confusion: Sequence[Sequence[int]], out: Path) -> None:
    """Draw the confusion matrix: the diagonal in green, mistakes in red, counts in the cells.

    Cards stand in the order of a deck, so that a wrong suit lies beside the diagonal. Labels that neither occur nor
    are predicted are left out.

    Args:
        labels: the C names.
        confusion: int [C, C]; rows are the truth, columns what was predicted.
        out: the file to write.
    """
    matrix = np.asarray(confusion)
    cards = cards_of(labels)
    used = [index for index in range(len(labels)) if matrix[index].any() or matrix[:, index].any()]
    if cards is not None:
        used.sort(key=lambda index: _deck_order(cards[index]))
    matrix = matrix[np.ix_(used, used)]
    names = [_short(labels[index], None if cards is None else cards[index]) for index in used]
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(used), dtype=bool)
    side = min(max(4.5, 0.23 * len(used) + 1.2), 16)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    for shown, colour in ((diagonal, FELT), (~diagonal, RED)):
        scale = LinearSegmentedColormap.from_list("share", ["#fdf6ec" if colour == FELT else "#f6c5cc", colour])
        axes.imshow(np.where(shown & (matrix > 0), share, np.nan), cmap=scale, vmin=0, vmax=1, interpolation="none")
    places = range(len(used))
    axes.set_xticks(places, names, rotation=90)
    axes.set_yticks(places, names)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("truth", color=INK)
    size = 8.5 if len(used) > 20 else 9.5
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, index in zip(ticks, used, strict=True):
            tick.set_fontsize(size)
            tick.set_color(RED if cards is not None and cards[index].colour == "red" else INK)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(used) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(used) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    if cards is not None:
        for place, (before, after) in enumerate(pairwise(used)):
            if cards[before].rank != cards[after].rank:
                axes.axhline(place + 0.5, color=FAINT, linewidth=0.6)
                axes.axvline(place + 0.5, color=FAINT, linewidth=0.6)
    for row, column in np.argwhere(matrix) if len(used) <= 80 else ():
        dark = share[row, column] > 0.5
        axes.text(
            column,
            row,
            str(matrix[row, column]),
            ha="center",
            va="center",
            fontsize=size - 0.5,
            color="white" if dark else INK,
        )
    save(figure, out)


def draw_examples(examples: Sequence[Example], out: Path, columns: int = 5) -> None:
    """Draw a sheet of images, each with its truth, the answer and how sure it was."""
    rows = max(1, math.ceil(len(examples) / columns))
    figure = Figure(figsize=(columns * 1.9, rows * 2.45), layout="constrained")
    for axes, example in zip(figure.subplots(rows, columns, squeeze=False).flat, examples, strict=False):
        axes.imshow(example.image)
        label, probability = example.alternatives[0]
        said = f"{label} {probability:.0%}"
        axes.set_title(
            f"{example.truth}\n{said}" if not example.right else said,
            fontsize=8,
            color=FELT if example.right else RED,
        )
    for axes in figure.axes:
        axes.axis("off")
    save(figure, out)


def draw_robustness(robustness: Robustness | None, no_card: NoCard | None, out: Path) -> None:
    """Draw on one sheet how accuracy falls as pictures get harder, and what of no card is refused."""
    panels: list[Callable[[Axes], None]] = []
    if robustness:
        panels += [
            lambda axes: _draw_corruptions(axes, robustness),
            lambda axes: _draw_shares(axes, robustness.turned, "By turn", "degrees"),
            lambda axes: _draw_shares(axes, robustness.sized, "By size", "card's height / frame's"),
            lambda axes: _draw_shares(axes, robustness.covered, "By covered part", "part of the card that is covered"),
        ]
        if bars := _deck_bars(robustness):
            panels.append(lambda axes: _draw_bars(axes, "Unseen decks and scenes", bars))
    if no_card:
        refused = no_card.refused_keeping_by_kind
        title = f"Not accepted where {KEPT:.0%} of cards are"
        panels.append(lambda axes: _draw_bars(axes, title, {kind: one.value for kind, one in refused.items()}))
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 4.3 * rows), layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(places, panels, strict=False):
        panel(axes)
    for axes in places[len(panels) :]:
        axes.axis("off")
    save(figure, out)


def _draw_corruptions(axes: Axes, robustness: Robustness) -> None:
    """A field of corruptions by severities, each with its accuracy in it."""
    names = list(robustness.corruptions)
    shares = np.array([[one.value for one in robustness.corruptions[name]] for name in names])
    style(axes, f"By corruption and severity: mean {robustness.corrupted:.1%}", "")
    scale = LinearSegmentedColormap.from_list("share", [RED, "#fdf6ec", FELT])
    axes.imshow(shares, cmap=scale, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(shares.shape[1]), [str(severity + 1) for severity in range(shares.shape[1])])
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.set_xlabel("severity", color=INK)
    for (row, column), share in np.ndenumerate(shares):
        strong = abs(share - 0.5) > 0.3
        text = f"{share:.0%}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if strong else INK)


def _draw_shares(axes: Axes, shares: Mapping[int, Rate] | Mapping[float, Rate], title: str, x: str) -> None:
    """A line through rates, with their intervals."""
    style(axes, title, "named right")
    places = list(shares)
    axes.fill_between(
        places, [r.low for r in shares.values()], [r.high for r in shares.values()], color=FELT, alpha=0.15
    )
    axes.plot(places, [r.value for r in shares.values()], color=FELT, marker="o", markersize=3, linewidth=1.8)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(x, color=INK)
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _deck_bars(robustness: Robustness) -> dict[str, float]:
    bars = {}
    for name, deck in robustness.unseen.items():
        bars[f"{Path(name).name}, upright"] = deck.upright.value
        bars[f"{Path(name).name}, any turn"] = deck.turned.value
    if scenes := robustness.scenes:
        shares = {
            "one card: right": scenes.single,
            "2 to 8: found": scenes.found,
            "2 to 8: right": scenes.precise,
            "no card: none": scenes.empty,
        }
        bars |= {name: one.value for name, one in shares.items() if one.total}
    return bars


def _draw_bars(axes: Axes, title: str, shares: Mapping[str, float]) -> None:
    """Bars that lie, each with its share."""
    style(axes, title, "")
    axes.barh(range(len(shares)), list(shares.values()), color=FELT)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    for place, share in enumerate(shares.values()):
        inside = share > 0.2
        at, side = (share - 0.01, "right") if inside else (share + 0.01, "left")
        axes.text(at, place, f"{share:.1%}", ha=side, va="center", fontsize=8, color="white" if inside else INK)


def _deck_order(card: Card) -> tuple[int, int]:
    if card.rank is None or card.suit is None:
        return len(Rank) + 1, 0
    return card.rank.number, list(Suit).index(card.suit)


def _short(label: str, card: Card | None) -> str:
    """A tick's text. The joker stays a word: few fonts draw its symbol."""
    if card is not None:
        return "joker" if card.rank is None else card.short
    return label if len(label) <= 20 else f"{label[:19]}…"
