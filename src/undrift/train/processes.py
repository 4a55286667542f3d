"""Several processes that train one model: each takes a share of every batch, and the gradients are summed.

Noise, order and augmentation are addressed by an example's place in the whole batch, so the batch, and with it the loss curve, is the
same for any number of processes, to rounding. Gradients are summed after the backward pass and not by hooks in the middle of it
(DistributedDataParallel): objectives that differentiate twice, energies and accumulated parts are then all alike.

The environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) is what `torchrun`, `accelerate launch` and SLURM scripts for
torch set. Without it there is one process, and nothing here costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor

from undrift.error import UndriftError

GO_ON, STOP, FAIL = 0.0, 1.0, 2.0  # what a process says to the others after a step; the largest counts
PATIENCE = timedelta(minutes=30)  # for a process that is looking, saving or drawing a preview


class Lost(UndriftError):
    """Another process of the run is gone."""


class Left(Exception):
    """Another process has failed and has said why; this one ends without a word."""


class Processes:
    """This process among those of a run.

    Args:
        rank, size: Which of how many.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, looks and speaks."""
        return self.rank == 0

    def share(self, n: int, parts: int = 1) -> list[slice]:
        """This process's rows of a batch of n, in so many parts of nearly equal size; none is empty while n >= size x parts."""
        cuts = [n * i // (self.size * parts) for i in range(self.rank * parts, (self.rank + 1) * parts + 1)]
        return [slice(a, b) for a, b in pairwise(cuts)]

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Sum each tensor over all processes, in place: one message for each dtype.

        Raises:
            Lost: another process is gone.
        """
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for same in kinds.values():
            flat = torch.cat([t.reshape(-1) for t in same])
            with _together():
                dist.all_reduce(flat)
            parts = torch.split(flat, [t.numel() for t in same])
            torch._foreach_copy_(same, [part.view_as(t) for t, part in zip(same, parts, strict=True)])

    def agree(self, word: float = GO_ON) -> float:
        """What the most alarmed process says. Raises Lost if one is gone."""
        if self.size == 1:
            return word
        value = torch.tensor(word)
        with _together():
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return float(value)

    def told(self, value: float) -> float:
        """What the first process says. Raises Lost if one is gone."""
        if self.size == 1:
            return value
        sent = torch.tensor(value, dtype=torch.float64)
        with _together():
            dist.broadcast(sent, 0)
        return float(sent)

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """The first process does what follows while the others wait; then they do it.

        Raises:
            Left: the first one failed.
            Lost: another process is gone.
        """
        if not self.first and self.agree() >= FAIL:
            raise Left
        try:
            yield
        except BaseException:
            if self.first:
                self.agree(FAIL)
            raise
        if self.first:
            self.agree()

    @contextmanager
    def failing(self) -> Iterator[None]:
        """What only the first process does: if it fails, the others are told where they next ask."""
        try:
            yield
        except BaseException:
            self.agree(FAIL)
            raise

    def same(self, what: str, value: str) -> None:
        """Check that all processes see the same.

        Raises:
            UndriftError: they do not; every process finds that out.
        """
        if self.size == 1:
            return
        values: list[str | None] = [None] * self.size
        with _together():
            dist.all_gather_object(values, value)
        odd = [rank for rank, other in enumerate(values) if other != values[0]]
        if odd:
            raise UndriftError(f"process {odd[0]} of {self.size} has {what} other than process 0: give all of them the same")


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes of this run, from the environment, until the block ends.

    Raises:
        UndriftError: the environment makes no sense, or the others do not come.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield Processes()
        return
    rank = _number("RANK", 0)
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"  # words go by the first, gradients by the second
        torch.cuda.set_device(_number("LOCAL_RANK", rank) % torch.cuda.device_count())
    try:
        dist.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UndriftError(f"process {rank} of {size} cannot join the others: {str(error).splitlines()[0]}") from None
    try:
        yield Processes(rank, size)
    finally:
        dist.destroy_process_group()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise UndriftError(f"{name}={text} in the environment is not a number; start several processes with torchrun")
    return int(text)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise Lost(f"another process of this run is gone or does not answer ({reason})") from None
