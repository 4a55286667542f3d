"""Long work says how far it is: a loop deep inside tells it, and a bar outside shows it. Where nobody watches, nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
_watcher: ContextVar[Callable[[float], None] | None] = ContextVar("watcher", default=None)


def watched() -> bool:
    """Whether somebody watches."""
    return _watcher.get() is not None


def tell(share: float) -> None:
    """Say that a share of the work in hand, 0 to 1, is done."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(min(1.0, share))


@contextmanager
def watching(watcher: Callable[[float], None] | None) -> Iterator[None]:
    """Inside, the watcher is called with the share of the work that is done, again and again; None: nobody watches."""
    before = _watcher.get()
    _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.set(before)


def portions(work: Sequence[T]) -> Iterator[T]:
    """Go through equal parts of the work in hand: what is told within one of them is a share of that part."""
    outer = _watcher.get()
    for i, part in enumerate(work):
        with watching(None if outer is None else lambda share, i=i: outer((i + share) / len(work))):  # type: ignore[misc]
            yield part
        tell((i + 1) / len(work))
