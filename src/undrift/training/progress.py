"""A bar that shows how far a training is: in a terminal, in a notebook, or a line now and then where there is neither."""

from __future__ import annotations

import html
import sys
import time
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from undrift.console import Terminal

EVERY = 15.0  # seconds between two lines, where nothing can be drawn over
OFTEN = 0.2  # seconds between two drawings of a notebook's bar


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def interactive() -> bool:
    """Whether somebody types: at a prompt, or in a notebook."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive) or in_notebook()


class Bar:
    """A bar for the time of a `with`.

    Args:
        console: Where to; default: the error stream, so that results stay alone on the other.
        shown: False: nowhere.
    """

    def __init__(self, console: Console | None = None, shown: bool = True) -> None:
        self.console = console or Terminal(stderr=True)
        self.shown = shown
        self._drawn = time.perf_counter()
        self._display: Any = None
        self._html: Any = None
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self.shown and in_notebook():
            shown: Any = import_module("IPython.display")
            self._html = shown.HTML
            self._display = shown.display(self._html(_drawing(0.0, "")), display_id=True)
        elif self.shown and self.console.is_terminal:
            columns = [TextColumn("training"), BarColumn(), TextColumn("{task.percentage:3.0f} %  {task.fields[facts]}")]
            self._bar = Progress(*columns, console=self.console)
            self._task = self._bar.add_task("training", total=1.0, facts="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, fraction: float, facts: str) -> None:
        """Draw how far it is, 0 to 1, and what is known of it, if it is time to."""
        now, last = time.perf_counter(), fraction >= 1
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction, facts=facts)
        elif self._display is not None and (last or now - self._drawn > OFTEN):
            self._drawn = now
            self._display.update(self._html(_drawing(fraction, facts)))
        elif self.shown and self._display is None and now - self._drawn > EVERY:
            self._drawn = now
            self.console.print(f"training {100 * fraction:3.0f} %  {facts}", highlight=False)


def _drawing(fraction: float, facts: str) -> str:
    share = min(1.0, fraction)
    return (
        f'<progress value="{share:.4f}" max="1" style="width: 16em"></progress> '
        f"<code>{100 * share:.0f} %  {html.escape(facts)}</code>"
    )
