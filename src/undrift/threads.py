"""Threads of the CPU: how many compute, and how they wait for each other.

Between two operations torch's threads wait for the next one by spinning, for some milliseconds. On a machine that has something else to
do they spin away the time that the others need: with one busy neighbour on two cores a training takes twice as long or more. Waiting
asleep leaves the others their time, but where operations are short, waking up costs a fifth of the training. So threads spin briefly and
then sleep, which changes no number; and a new run takes no more threads than there are cores that nobody else wants (bench/busy.py has
the figures). How many there are does change numbers, since sums are then split otherwise: so their number belongs to a run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

COUNT = "OMP_NUM_THREADS"
POLICY = "OMP_WAIT_POLICY"
BRIEFLY = {"GOMP_SPINCOUNT": "4000", "KMP_BLOCKTIME": "0"}  # GNU's and LLVM's OpenMP; the latter counts in milliseconds
_WAITING = (POLICY, *BRIEFLY)  # whoever sets one of these has chosen


def spin_briefly() -> bool:
    """Let torch's threads spin only briefly while they wait, where nobody has chosen otherwise; returns whether it does.

    It is read once, when torch is loaded: call it before. Programs that are started from here inherit it.
    """
    if any(name in os.environ for name in _WAITING):
        return False
    os.environ.update(BRIEFLY)
    return True


def advice() -> str:
    """What to say to whoever loaded torch without `spin_briefly`, and has more threads at work here than cores; else ""."""
    import torch

    count = torch.get_num_threads()
    if count < 2 or any(name in os.environ for name in _WAITING):
        return ""
    if _others() + count <= (os.cpu_count() or 1):
        return ""
    return (
        f"torch's {count} threads wait by spinning, and other programs are at work here: set GOMP_SPINCOUNT=4000 before Python is started, "
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
    """How many threads a run computes with: as asked, or as OMP_NUM_THREADS says, or as it began with.

    A run that begins takes as many as torch does, but no more than there are cores that nobody else wants.
    """
    import torch

    if asked is not None:
        return asked
    most = torch.get_num_threads()
    if COUNT in os.environ:
        return most
    return max(1, min(most, (os.cpu_count() or 1) - _others())) if before is None else before


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
