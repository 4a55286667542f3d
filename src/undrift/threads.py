"""Threads of the CPU: how many compute, and how they wait for each other.

Between two operations torch's threads wait for the next one by spinning. On a machine that has something else to do they spin away
the time that the others need: with one busy neighbour on two cores a training takes five times as long. Waiting passively costs
nothing on a quiet machine and changes no number (bench/busy.py). How many threads there are does change numbers, since sums are then
split otherwise: so their number belongs to a run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

COUNT = "OMP_NUM_THREADS"
POLICY = "OMP_WAIT_POLICY"
_WAITING = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # whoever sets one of these has chosen


def wait_passively() -> bool:
    """Let torch's threads wait without spinning, where nobody has chosen otherwise; returns whether it does.

    It is read once, when torch is loaded: call it before. Programs that are started from here inherit it.
    """
    if any(name in os.environ for name in _WAITING):
        return False
    os.environ[POLICY] = "PASSIVE"
    return True


def advice() -> str:
    """What to say to whoever loaded torch without `wait_passively`, and has more threads at work here than cores; else ""."""
    import torch

    count = torch.get_num_threads()
    if count < 2 or any(name in os.environ for name in _WAITING):
        return ""
    if _others() + count <= (os.cpu_count() or 1):
        return ""
    return (
        f"torch's {count} threads wait by spinning, and other programs are at work here: set {POLICY}=passive before Python is started, "
        "or the training may take several times as long"
    )


def _others() -> int:
    """Threads of others that want a core now, and a little later, and a little later still: the fewest of these."""
    fewest = []
    for _ in range(5):
        try:
            with open("/proc/loadavg") as file:
                fewest.append(int(file.read().split()[3].partition("/")[0]) - 1)  # this thread is one of them
        except (OSError, ValueError, IndexError):  # another system
            return 0
        time.sleep(0.002)
    return max(0, min(fewest))


def as_begun(asked: int | None, before: int | None) -> int:
    """How many threads a run computes with: as asked, or as OMP_NUM_THREADS says, or as it began with, or as many as torch takes."""
    import torch

    if asked is not None:
        return asked
    return torch.get_num_threads() if before is None or COUNT in os.environ else before


@contextmanager
def using(count: int | None) -> Iterator[None]:
    """Compute with so many threads for the time of a `with`; None: as many as there are."""
    import torch

    before = torch.get_num_threads()
    if count in (None, before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
