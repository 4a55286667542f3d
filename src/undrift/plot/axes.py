"""The house style of charts: figures drawn by matplotlib without a screen and without touching the user's own settings.

matplotlib is imported when the first chart is drawn, and `pyplot`, which owns windows and the user's backend, never.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

# The first four are of Okabe and Ito (2008). All are at least 3:1 against white and against a dark page, and told apart by the
# colour-blind; lines differ in their markers as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#4848f8", "#c80838", "#767676", "#007870")
MARKERS = ("o", "s", "D", "^", "v")  # five, so that with eight colours no two of forty lines are drawn alike
GREY = "#767676"
_DPI = 100
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so charts are the same everywhere
    "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 10,
    "text.parse_math": False,  # a name with a dollar is a name
    "figure.facecolor": "white", "figure.dpi": _DPI,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555", "axes.axisbelow": True,
    "axes.grid": True, "grid.alpha": 0.25, "lines.linewidth": 1.5, "lines.markersize": 6, "legend.frameon": False,
}  # fmt: skip


@contextmanager
def canvas(size: tuple[int, int]) -> Iterator[Any]:
    """A figure of so many pixels, without axes, in the house style, which holds as long as the context does."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        # a millionth of a pixel more, since the canvas rounds down
        figure = Figure(figsize=((size[0] + 1e-6) / _DPI, (size[1] + 1e-6) / _DPI), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


@contextmanager
def panels(rows: int = 1, columns: int = 1, width: float = 4.0, height: float = 3.0) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes `(rows, columns)`, each of so many inches of 100 pixels, in the house style."""
    with canvas((round(_DPI * width * columns), round(_DPI * height * rows))) as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis in axes.flat:
            axis.set_prop_cycle(color=COLOURS)
        yield figure, axes


def drawn(figure: Any) -> Image.Image:
    """The picture of a figure: the same pixels every time."""
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
