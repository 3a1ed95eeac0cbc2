"""How pictures of figures look: colours, axes, and the file that comes of them.

Figures are made without pyplot: no global state, no window, and safe in a thread.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
FELT, RED, GOLD = "#1b6b4a", "#c8102e", "#c58b1b"
LINES = (FELT, RED, GOLD, "#2f6fb5", "#7a4fa3", FAINT)
DPI = 120
SQUARE = (5.6, 5.2)  # inches: the charts that stand side by side


def style(axes: Axes, title: str, y: str) -> None:
    """Give axes their title, the name of what goes up, and the looks of all."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_ylabel(y, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(GRID)


def save(figure: Figure, out: Path) -> None:
    """Write a figure as a PNG file."""
    FigureCanvasAgg(figure)
    # No date and no version in the file: the same figures make the same bytes.
    figure.savefig(out, dpi=DPI, facecolor="white", metadata={"Software": None})
