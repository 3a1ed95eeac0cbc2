"""The pictures of a training and of an evaluation, as PNG files. Numbers come in, a file comes out.

Figures are made without pyplot: no global state, no window, and safe in a thread.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from fulldeck.cards import Card, Rank, Suit
from fulldeck.training.doubt import KEPT, NoCard
from fulldeck.training.measures import Calibration, Curve, Measures, Rate, cards_of
from fulldeck.training.robustness import Robustness

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
FELT, RED, GOLD = "#1b6b4a", "#c8102e", "#c58b1b"
LINES = (FELT, RED, GOLD, "#2f6fb5", "#7a4fa3", FAINT)
DPI = 120
SQUARE = (5.6, 5.2)  # inches: the charts that stand side by side


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
    _style(upper, f"Reliability: ECE {calibration.ece:.3f}, MCE {calibration.mce:.3f}", "share that was right")
    _style(lower, "", "images")
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
    _save(figure, out)


def draw_roc(micro: Curve, macro: Curve, auc_micro: float, auc_macro: float | None, out: Path) -> None:
    """Draw the one-vs-rest ROC curves; the false positive rate is logarithmic, where good models still differ."""
    figure = Figure(figsize=SQUARE, layout="constrained")
    axes = figure.subplots()
    _style(axes, "ROC, each label against the rest", "true positive rate")
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
    _save(figure, out)


def draw_coverage(measures: Measures, out: Path) -> None:
    """Draw the accuracy among the most confident share of images, and where the model's threshold stands."""
    figure = Figure(figsize=SQUARE, layout="constrained")
    axes = figure.subplots()
    _style(axes, "Accuracy of the answers given", "accuracy among them")
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
    _save(figure, out)


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
    _save(figure, out)


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
    _save(figure, out)


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
    _save(figure, out)


def _draw_corruptions(axes: Axes, robustness: Robustness) -> None:
    """A field of corruptions by severities, each with its accuracy in it."""
    names = list(robustness.corruptions)
    shares = np.array([[one.value for one in robustness.corruptions[name]] for name in names])
    _style(axes, f"By corruption and severity: mean {robustness.corrupted:.1%}", "")
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
    _style(axes, title, "named right")
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
    _style(axes, title, "")
    axes.barh(range(len(shares)), list(shares.values()), color=FELT)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    for place, share in enumerate(shares.values()):
        inside = share > 0.2
        at, side = (share - 0.01, "right") if inside else (share + 0.01, "left")
        axes.text(at, place, f"{share:.1%}", ha=side, va="center", fontsize=8, color="white" if inside else INK)


def draw_samples(images: NDArray[np.uint8], labels: Sequence[str], out: Path, columns: int = 5) -> None:
    """Draw a sheet of training images, uint8 [N, H, W, 3], each under its label."""
    rows = max(1, math.ceil(len(images) / columns))
    figure = Figure(figsize=(columns * 1.6, rows * 1.9), layout="constrained")
    for axes, image, label in zip(figure.subplots(rows, columns, squeeze=False).flat, images, labels, strict=False):
        axes.imshow(image)
        axes.set_title(label, fontsize=8, color=INK)
    for axes in figure.axes:
        axes.axis("off")
    _save(figure, out)


def draw_gradients(spreads: Mapping[int, Mapping[str, tuple[list[int], list[float]]]], out: Path) -> None:
    """Draw how a network's gradients were spread over a training: a panel a part, epochs to the right, size upwards.

    Args:
        spreads: for each epoch, from 0, and each part of the network, the counts of B bins and their B + 1 edges, in
            powers of ten.
        out: the PNG file to write.
    """
    epochs = sorted(spreads)
    parts = list(dict.fromkeys(part for epoch in epochs for part in spreads[epoch]))
    columns = min(4, max(1, len(parts)))
    rows = max(1, math.ceil(len(parts) / columns))
    figure = Figure(figsize=(columns * 2.8, rows * 2.2), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    scale = LinearSegmentedColormap.from_list("share", ["white", FELT])
    for axes, part in zip(every, parts, strict=False):
        _style(axes, part, "")
        known = [epoch for epoch in epochs if part in spreads[epoch]]
        edges = spreads[known[0]][part][1]
        counts = np.array([spreads[epoch][part][0] for epoch in known], dtype=np.float64).T
        places = [*(epoch + 0.5 for epoch in known), known[-1] + 1.5]
        axes.pcolormesh(places, edges, counts / np.maximum(counts.sum(axis=0), 1), cmap=scale)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda power, _: f"$10^{{{power:g}}}$"))
    for axes in list(every)[len(parts) :]:
        axes.axis("off")
    figure.supxlabel("epoch", color=INK, fontsize=9)
    figure.supylabel("size of the gradient", color=INK, fontsize=9)
    _save(figure, out)


def draw_importance(importance: Mapping[str, float], out: Path) -> None:
    """Draw what share of a sweep's differences each setting explains, the largest on top."""
    ordered = sorted(importance.items(), key=lambda item: item[1])
    figure = Figure(figsize=(6.4, 0.9 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    _style(axes, "What made trials differ", "")
    axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=FELT)
    axes.set_xlabel("share of the differences that it explains", color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _save(figure, out)


Point = tuple[int, float, float]


def draw_front(points: Sequence[Point], front: Sequence[Point], out: Path) -> None:
    """Draw a sweep's trials by cost and accuracy, and the line of those that none beats in both.

    Args:
        points: (trial's number, millions of floating-point operations an image, accuracy), one a finished trial.
        front: those that none beats, by rising cost.
        out: the PNG file to write.
    """
    figure = Figure(figsize=SQUARE, layout="constrained")
    axes = figure.subplots()
    _style(axes, "Cost and accuracy of the trials", "held-out accuracy")
    axes.scatter([cost for _, cost, _ in points], [score for *_, score in points], color=FAINT, s=22, label="trials")
    costs, scores = [cost for _, cost, _ in front], [score for *_, score in front]
    axes.plot(costs, scores, drawstyle="steps-post", color=FELT, linewidth=1.8, marker="o", label="beaten by none")
    for number, cost, score in front:
        axes.annotate(str(number), (cost, score), xytext=(4, 5), textcoords="offset points", fontsize=8, color=FELT)
    axes.set_xlabel("million operations an image", color=INK)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="lower right", frameon=False)
    _save(figure, out)


def draw_curves(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Draw a training's figures over its epochs.

    Args:
        rows: one mapping an epoch, as in the run's metrics table: "epoch" (else the row's number) and any figures.
            Names that end in "loss" share a panel, learning rates ("lr") too, as do figures that stay between 0 and 1,
            and all the rest.
            Text, None, NaN and missing figures leave a gap.
        out: the PNG file to write.
    """
    epochs = np.array([_number(row.get("epoch", index)) for index, row in enumerate(rows)])
    series = {}
    for name in dict.fromkeys(name for row in rows for name in row if name not in {"epoch", "step"}):
        values = np.array([_number(row.get(name)) for row in rows])
        present = ~np.isnan(values) & ~np.isnan(epochs)
        if present.any():
            series[name] = epochs[present], values[present]
    panels: dict[str, list[str]] = {"loss": [], "score": [], "learning rate": [], "other": []}
    for name, (_, values) in series.items():
        panels[_panel(name, values)].append(name)
    shown = {kind: members for kind, members in panels.items() if members} or {"nothing was recorded": []}
    figure = Figure(figsize=(4.8 * len(shown), 3.8), layout="constrained")
    for axes, (kind, members) in zip(figure.subplots(1, len(shown), squeeze=False).flat, shown.items(), strict=True):
        _style(axes, kind, "")
        axes.set_xlabel("epoch", color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for index, name in enumerate(members):
            axes.plot(
                *series[name],
                color=LINES[index % len(LINES)],
                marker="o",
                markersize=3,
                linewidth=1.8,
                label=name.replace("_", " ").replace("/", " "),
            )
        if members:
            axes.legend(frameon=False, fontsize=8)
    _save(figure, out)


def _deck_order(card: Card) -> tuple[int, int]:
    if card.rank is None or card.suit is None:
        return len(Rank) + 1, 0
    return card.rank.number, list(Suit).index(card.suit)


def _short(label: str, card: Card | None) -> str:
    """A tick's text. The joker stays a word: few fonts draw its symbol."""
    if card is not None:
        return "joker" if card.rank is None else card.short
    return label if len(label) <= 20 else f"{label[:19]}…"


def _panel(name: str, values: NDArray[np.float64]) -> str:
    if name.endswith("loss"):
        return "loss"
    if name.startswith(("lr", "learning_rate")):
        return "learning rate"
    return "score" if ((values >= 0) & (values <= 1)).all() else "other"


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _style(axes: Axes, title: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_ylabel(y, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(GRID)


def _save(figure: Figure, out: Path) -> None:
    FigureCanvasAgg(figure)
    # No date and no version in the file: the same figures make the same bytes.
    figure.savefig(out, dpi=DPI, facecolor="white", metadata={"Software": None})
