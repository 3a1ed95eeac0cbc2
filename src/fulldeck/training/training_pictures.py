"""The pictures of a training and of a sweep, as PNG files. Numbers come in, a file comes out.

They stand apart from those of an evaluation, so that a training does not load what measures one.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from fulldeck.training.style import FAINT, FELT, INK, LINES, SQUARE, save, style


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
        style(axes, kind, "")
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
    save(figure, out)


def draw_samples(images: NDArray[np.uint8], labels: Sequence[str], out: Path, columns: int = 5) -> None:
    """Draw a sheet of training images, uint8 [N, H, W, 3], each under its label."""
    rows = max(1, math.ceil(len(images) / columns))
    figure = Figure(figsize=(columns * 1.6, rows * 1.9), layout="constrained")
    for axes, image, label in zip(figure.subplots(rows, columns, squeeze=False).flat, images, labels, strict=False):
        axes.imshow(image)
        axes.set_title(label, fontsize=8, color=INK)
    for axes in figure.axes:
        axes.axis("off")
    save(figure, out)


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
        style(axes, part, "")
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
    save(figure, out)


def draw_importance(importance: Mapping[str, float], out: Path) -> None:
    """Draw what share of a sweep's differences each setting explains, the largest on top."""
    ordered = sorted(importance.items(), key=lambda item: item[1])
    figure = Figure(figsize=(6.4, 0.9 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    style(axes, "What made trials differ", "")
    axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=FELT)
    axes.set_xlabel("share of the differences that it explains", color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    save(figure, out)


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
    style(axes, "Cost and accuracy of the trials", "held-out accuracy")
    axes.scatter([cost for _, cost, _ in points], [score for *_, score in points], color=FAINT, s=22, label="trials")
    costs, scores = [cost for _, cost, _ in front], [score for *_, score in front]
    axes.plot(costs, scores, drawstyle="steps-post", color=FELT, linewidth=1.8, marker="o", label="beaten by none")
    for number, cost, score in front:
        axes.annotate(str(number), (cost, score), xytext=(4, 5), textcoords="offset points", fontsize=8, color=FELT)
    axes.set_xlabel("million operations an image", color=INK)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="lower right", frameon=False)
    save(figure, out)


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
