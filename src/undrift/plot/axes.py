"""Charts with axes, drawn by matplotlib without a screen and without touching the user's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

COLOURS = ("#2850a0", "#c85a1e", "#28823c", "#823c96", "#8a6d1a", "#4a4a4a")  # told apart by the colour-blind too
_STYLE: dict[str, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555", "figure.facecolor": "white",
    "axes.grid": True, "grid.alpha": 0.25, "lines.linewidth": 1.5, "savefig.dpi": 110,
}  # fmt: skip


@contextmanager
def panels(rows: int = 1, columns: int = 1, width: float = 4.0, height: float = 3.0) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes `(rows, columns)`, each of so many inches, in the house style."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, colour in ((axis, COLOURS) for axis in axes.flat):
            axis.set_prop_cycle(color=colour)
        yield figure, axes


def drawn(figure: Any) -> Image.Image:
    """The picture of a figure."""
    figure.set_dpi(_STYLE["savefig.dpi"])
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
