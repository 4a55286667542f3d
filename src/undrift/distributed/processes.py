"""Several processes that run one and the same program, each for a share of the rows (SPMD).

Noise, order and augmentation are addressed by an example's place in the whole batch. So each process can do its share alone, and the
results of all are gathered in all of them: loss curves and samples are the same for any number of processes, to rounding. Every
process takes the same decisions, since all see the same numbers; what no two of them would agree on (a clock, a wish to stop) they
tell each other. The first one writes and speaks for all.

Gradients are summed after the backward pass and not by hooks in the middle of it (DistributedDataParallel): objectives that
differentiate twice, energies and accumulated parts are then all alike.

Who is who comes from the environment (`launcher`). Without it there is one process, and nothing here costs anything.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from undrift.distributed.launcher import place
from undrift.error import UndriftError
from undrift.storage import writing_nothing

PATIENCE = timedelta(minutes=30)  # for a process that is reading or writing
GATHERING = timedelta(minutes=10)  # for processes that are being started
FAREWELL = 10.0  # seconds for those that have finished
GRACE = 5.0  # seconds in which the first process runs into the same error, if it does
TALK = {
    "torch.distributed.distributed_c10d",
    "torch.distributed._functional_collectives",
}  # errors of these modules are lost messages
ERRORS = (
    UndriftError,
    ValueError,
    MemoryError,
    RuntimeError,
)  # those of one share that are raised in every process; the last for all others


class Lost(UndriftError):
    """Another process of the run is gone."""


class Left(Exception):
    """The first process has failed and has said why: this one has nothing to add."""


class Waiting:
    """Whether the main thread waits for other processes, and how often it has stopped doing so.

    Once it is abandoned, it never comes back from waiting: another thread has taken over what it has in hand.
    """

    def __init__(self) -> None:
        self.count, self.abandoned = 0, False
        self._depth, self._lock = 0, threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            self.count += 1
        while self.abandoned:
            with suppress(KeyboardInterrupt):
                time.sleep(1)

    def abandon(self, count: int) -> bool:
        """Hold the main thread where it waits, if it does and has been since `count` was read; whether it is held."""
        with self._lock:
            self.abandoned = self._depth > 0 and self.count == count
        return self.abandoned


waiting = Waiting()


class Processes:
    """This process among those of a run. All of them call the same methods in the same order; each may raise `Lost`.

    Args:
        rank, size: Which of how many.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.in_parts = False  # whether each holds only a part of the network

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, n: int, parts: int = 1, rank: int | None = None) -> list[slice]:
        """This process's rows of a batch of n, in so many parts of nearly equal size; none is empty while n >= size x parts."""
        first = (self.rank if rank is None else rank) * parts
        cuts = [n * i // (self.size * parts) for i in range(first, first + parts + 1)]
        return [slice(a, b) for a, b in pairwise(cuts)]

    def shared(self, n: int, job: Callable[[slice], Tensor]) -> Tensor:
        """`job` of n rows, each process doing its share of them: the same result in all processes.

        Args:
            n: How many rows. Fewer than there are processes are not divided.
            job: A function of rows, the first axis of what it returns. It must not talk to the other processes.

        Raises:
            Exception: what the job raised in any of the processes, in all of them.
        """
        if n < self.size:
            return job(slice(0, n))
        [mine] = self.share(n)
        if self.size == 1:
            return job(mine)
        part, error = None, None
        try:
            part = job(mine)
        except Exception as raised:
            error = raised
        self.all_well(error)
        assert part is not None
        return self.gather(part, n)

    def gather(self, part: Tensor, n: int) -> Tensor:
        """The rows of all processes in their order, in all of them; `part` is this one's `share` of n."""
        if self.size == 1:
            return part
        mine = part.new_zeros(-(-n // self.size), *part.shape[1:])  # as many as the largest share
        mine[: len(part)] = part
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with talking(), waiting:
            dist.all_gather(found, mine)
        shares = [self.share(n, rank=rank)[0] for rank in range(self.size)]
        return torch.cat([rows[: rank.stop - rank.start] for rows, rank in zip(found, shares, strict=True)])

    def all_well(self, error: Exception | None = None) -> None:
        """Wait for each other, and raise the same error in all if there is one in any: that of the lowest rank."""
        if self.size == 1:
            if error is not None:
                raise error
            return
        failed = self.size - int(self.largest(0.0 if error is None else self.size - self.rank))
        if failed == self.size:
            return
        kind = next((i for i, known in enumerate(ERRORS) if isinstance(error, known)), -1)
        text = str(error) if kind >= 0 else f"{type(error).__name__}: {error}"
        sent = torch.zeros(2001, dtype=torch.uint8)
        if failed == self.rank:
            content = text.encode()[:2000]
            sent[: len(content) + 1] = torch.tensor([kind % len(ERRORS), *content], dtype=torch.uint8)
        with talking(), waiting:
            dist.broadcast(sent, failed)
        said = bytes(sent.tolist())
        raise ERRORS[said[0]](said[1:].rstrip(b"\0").decode(errors="ignore")) from error

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Sum each tensor over all processes, in place: one message for each dtype."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for same in kinds.values():
            flat = torch.cat([t.reshape(-1) for t in same])
            with talking(), waiting:
                dist.all_reduce(flat)
            parts = torch.split(flat, [t.numel() for t in same])
            torch._foreach_copy_(same, [part.view_as(t) for t, part in zip(same, parts, strict=True)])

    def largest(self, value: float) -> float:
        """The largest of the values that the processes have."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        with talking(), waiting:
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return float(found)

    def broadcast(self, value: float) -> float:
        """The value that the first process has."""
        if self.size == 1:
            return value
        sent = torch.tensor(value, dtype=torch.float64)
        with talking(), waiting:
            dist.broadcast(sent, 0)
        return float(sent)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.largest(0.0)

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """The first process does what follows while the others wait; then they do it, each as if it were alone."""
        global _here
        if not self.first:
            self.barrier()
        joined_to, _here = _here, Processes()
        try:
            yield
        finally:
            _here = joined_to
        if self.first:
            self.barrier()

    def same(self, what: str, value: str) -> None:
        """Check that all processes see the same.

        Raises:
            UndriftError: they do not; every process finds that out.
        """
        mine = int.from_bytes(hashlib.sha256(value.encode()).digest()[:7])
        marks = self.gather(torch.tensor([mine]), self.size)
        if bool((odd := marks != marks[0]).any()):
            rank = int(odd.nonzero()[0])
            raise UndriftError(f"process {rank} of {self.size} has {what} other than process 0: give all of them the same")


class LastWord:
    """How the first process ends, for the others to read when they end: by connections of its own, which outlive those of torch.

    Args:
        rank, size: Of this process.
        host: Where the first one is.
        store: Says at which port.
    """

    WELL, FAILED, INTERRUPTED, ALONE = b"w", b"f", b"i", b"a"  # the last: it has lost another process

    def __init__(self, rank: int, size: int, host: str, store: Any) -> None:
        patience = GATHERING.total_seconds()
        if rank > 0:
            self.others = [socket.create_connection((host, int(store.get("last word"))), patience)]
            return
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        with socket.create_server(("", 0), family=family, backlog=size, dualstack_ipv6=both) as server:
            server.settimeout(patience)
            store.set("last word", str(server.getsockname()[1]))
            self.others = [server.accept()[0] for _ in range(size - 1)]

    def say(self, word: bytes) -> None:
        """In the first process."""
        for other in self.others:
            with suppress(OSError), other:  # it is gone
                other.sendall(word)

    def hear(self) -> bytes:
        """In another process; nothing if the first one died without a word, or does not end within a few seconds."""
        [first] = self.others
        first.settimeout(GRACE)
        with suppress(OSError), first:
            return first.recv(1)
        return b""


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes of this run, from the environment, until the block ends. All but the first are mute and write nothing.

    Inside another such block: the same ones. What goes wrong after the block has ended well (one of them is killed while it leaves,
    say) goes wrong for nobody.

    Raises:
        UndriftError: the environment makes no sense, or the others do not come.
        Left: the first process has failed.
    """
    global _here
    at = place()
    if at.size == 1 or dist.is_initialized():
        yield _here
        return
    # Imported while there is a group, these keep it for good, in default arguments: it would then end with the interpreter, whose last
    # moments a thread of the group's does not survive ("terminate called without an active exception", exit code -6).
    import torch.distributed.fsdp
    import torch.distributed.nn

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"  # words go by the first, gradients and samples by the second
        torch.cuda.set_device(at.local % torch.cuda.device_count())
    try:
        host = f"[{at.host}]" if ":" in at.host else at.host
        store, _, _ = next(rendezvous(f"tcp://{host}:{at.port}", at.rank, at.size, timeout=GATHERING))
        store.set_timeout(PATIENCE)
        dist.init_process_group(backend, store=store, rank=at.rank, world_size=at.size, timeout=PATIENCE)
        last = LastWord(at.rank, at.size, at.host, store)
    except (RuntimeError, ValueError, OSError) as error:
        alone = "; srun starts them, and WORLD_SIZE=1 makes this one alone" if at.launcher == "srun" else ""
        raise UndriftError(
            f"process {at.rank} of {at.size} cannot join the others at {at.host}:{at.port}: {str(error).splitlines()[0]}{alone}"
        ) from None
    _here, word = Processes(at.rank, at.size), LastWord.FAILED
    try:
        with nullcontext() if _here.first else mute():
            yield _here
        with suppress(Lost):
            _here.barrier()  # a connection that is closed too early takes with it what was not yet read
        word = LastWord.WELL
    except (Lost, KeyboardInterrupt) as error:
        word = LastWord.ALONE if isinstance(error, Lost) else LastWord.INTERRUPTED
        raise
    finally:
        _here = Processes()
        if at.rank == 0:
            last.say(word)
        with suppress(RuntimeError):
            dist.destroy_process_group()  # whoever waits for this one hears of it
            if word == LastWord.WELL:
                _leave(store, at.rank, at.size)
        if at.rank > 0 and word != LastWord.INTERRUPTED:
            heard = last.hear()
            if heard in (LastWord.FAILED, LastWord.INTERRUPTED) or heard == word == LastWord.ALONE:
                raise Left from None


@contextmanager
def mute() -> Iterator[None]:
    """Inside, nothing is printed and no file of a run is written: another process does both."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), writing_nothing():
        yield


def _leave(store: Any, rank: int, size: int) -> None:
    """The first process holds the store, so it leaves last."""
    left, until = store.add("left", 1), time.monotonic() + FAREWELL
    while rank == 0 and left < size and time.monotonic() < until:
        time.sleep(0.01)
        left = store.add("left", 0)


def here() -> Processes:
    """The processes that this one has `joined`: itself alone, if none."""
    return _here


_here = Processes()


@contextmanager
def talking() -> Iterator[None]:
    """While torch talks to the other processes, also deep inside a network that is kept in parts.

    Raises:
        Lost: it could not, which is all that a backend's error says; other errors are left as they are.
    """
    try:
        yield
    except RuntimeError as error:
        through = {frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)}
        if not isinstance(error, dist.DistError) and through.isdisjoint(TALK):
            raise
        reason = str(error).splitlines()[0].partition(" This is typically")[0]
        traceback.clear_frames(error.__traceback__)  # which hold the connections, by whose end the others hear of this one's
        raise Lost(f"another process of this run is gone or does not answer ({reason})") from None
