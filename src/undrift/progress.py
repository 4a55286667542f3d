"""How far long work is, and how long it still takes: a bar in a terminal or a notebook, a line now and then where there is neither."""

from __future__ import annotations

import html
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from undrift.console import Terminal
from undrift.watching import watched, watching

EVERY = 15.0  # seconds between two lines, where nothing can be drawn over
OFTEN = 0.2  # seconds between two drawings of a notebook's bar
RECENT = 60.0  # seconds by which the time left is judged
SHORT = 2.0  # seconds that need no bar
P = ParamSpec("P")
R = TypeVar("R")
_COUNTED = re.compile(r"(\d[\d,]*) of (\d[\d,]*)")


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def interactive() -> bool:
    """Whether somebody types: at a prompt, or in a notebook."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive) or in_notebook()


def duration(seconds: float) -> str:
    """A time in words: "40 s", "3 min", "2 h 10 min", "4 days"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 60 / 24:.1f} days"


def clock(seconds: float) -> str:
    """A time as a clock shows it: 3:21, 1:02:03."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Pace:
    """The rate of the last minute, by which the time left is told: starting up, and the first step, are slower than all that follows."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()
        self._calls = 0

    def at(self, share: float, now: float | None = None) -> None:
        """Note that a share of the work, 0 to 1, is done."""
        now, self._calls = time.perf_counter() if now is None else now, self._calls + 1
        if self._seen and share < self._seen[-1][1]:  # other work has begun
            self._seen.clear()
            self._calls = 1
        self._seen.append((now, share))
        if self._calls == 3:
            self._seen.popleft()  # the first step
        while len(self._seen) > 2 and now - self._seen[1][0] > RECENT:
            self._seen.popleft()

    def left(self) -> float | None:
        """Seconds until all is done; None while it cannot be said."""
        if self._calls < 2:
            return None
        (begun, before), (now, share) = self._seen[0], self._seen[-1]
        return (1 - share) * (now - begun) / (share - before) if share > before else None


def shown(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For what may take long in Python: at a prompt or in a notebook a bar is shown of it, once it has taken a moment."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*given: P.args, **options: P.kwargs) -> R:
            if watched() or not interactive():
                return function(*given, **options)
            with Bar(what, patience=SHORT) as bar, watching(bar.show):
                return function(*given, **options)

        return call

    return decorated


class Bar:
    """A bar for the time of a `with`. Its lines fit 80 columns.

    Args:
        what: The work, in a word.
        console: Where to; default: the error stream, so that results stay alone on the other.
        shown: False: nowhere.
        patience: Seconds before it is shown.
    """

    def __init__(self, what: str = "training", console: Console | None = None, shown: bool = True, patience: float = 0.0) -> None:
        self.what, self.console, self.shown, self.patience = what, console or Terminal(stderr=True), shown, patience
        self.pace = Pace()
        self._begun = self._drawn = time.perf_counter()
        self._display: Any = None
        self._html: Any = None
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if not self.patience:
            self._open()
        return self

    def _open(self) -> None:
        if self.shown and in_notebook():
            shown: Any = import_module("IPython.display")
            self._html = shown.HTML
            self._display = shown.display(self._html(_drawing(0.0, "")), display_id=True)
        elif self.shown and self.console.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(bar_width=10), TextColumn("{task.fields[facts]}")]
            self._bar = Progress(*columns, console=self.console)
            self._task = self._bar.add_task(self.what, total=1.0, facts="")
            self._bar.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, share: float | None, facts: str = "") -> None:
        """Draw how far it is, 0 to 1 or None where that is not known, and what is known of it, if it is time to."""
        now, last = time.perf_counter(), share is not None and share >= 1
        self.pace.at(share or 0.0, now)
        if self._bar is None and self._display is None:
            if self.patience and now - self._begun > self.patience:
                self.patience = 0.0
                self._open()
            elif self.patience:
                return
        left = self.pace.left()
        known = "" if share is None else f"{100 * share:3.0f} %  {'' if left is None else f'{clock(left)} left  '}"
        told = f"{known}{facts}".rstrip()  # what comes last may be cut
        if self._bar is not None:
            self._bar.update(self._task, completed=share or 0.0, facts=told)
        elif self._display is not None and (last or now - self._drawn > OFTEN):
            self._drawn = now
            self._display.update(self._html(_drawing(share or 0.0, told)))
        elif self.shown and self._display is None and now - self._drawn > EVERY:
            self._drawn = now
            self.console.print(f"{self.what} {told}", highlight=False)

    def tell(self, text: str) -> None:
        """The same of work that says itself what it does: "64 of 256 examples" counts."""
        found = _COUNTED.search(text)
        done, total = (0, 0) if found is None else (int(part.replace(",", "")) for part in found.groups())
        self.show(min(1.0, done / total) if total else None, text if len(text) <= 50 else f"{text[:49]}…")


def _drawing(share: float, told: str) -> str:
    part = min(1.0, share)
    return f'<progress value="{part:.4f}" max="1" style="width: 16em"></progress> <code>{html.escape(told)}</code>'
