"""Several processes that train or sample one model: each takes a share of every batch.

Noise, order and augmentation are addressed by an example's place in the whole batch, so the batch, and with it the loss curve, is the
same for any number of processes, to rounding; samples are the same, too. Gradients are summed after the backward pass and not by hooks in the middle of it
(DistributedDataParallel): objectives that differentiate twice, energies and accumulated parts are then all alike.

Who is who comes from the environment (`launcher`). Without it there is one process, and nothing here costs anything.
"""

from __future__ import annotations

import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from undrift.distributed.launcher import place
from undrift.error import UndriftError

GO_ON, STOP, FAIL, ASK = 0.0, 1.0, 2.0, 3.0  # what processes say to each other; of several words the largest counts; then duties
PATIENCE = timedelta(minutes=30)  # for a process that is looking or saving
GATHERING = timedelta(minutes=10)  # for processes that are being started
FAREWELL = 10.0  # seconds for those that have finished
TALK = {"torch.distributed.distributed_c10d", "torch.distributed._functional_collectives"}  # what fails in these modules is talk


class Lost(UndriftError):
    """Another process of the run is gone."""


class Left(Exception):
    """Another process has failed and has said why; this one ends without a word."""


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
    """This process among those of a run.

    Args:
        rank, size: Which of how many.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.listened_to = False  # whether the others wait for what the first will ask
        self.in_parts = False  # whether each holds only a part of the network

    @property
    def sharing(self) -> bool:
        """Whether the others would do a share of a job."""
        return self.listened_to and not self.in_parts

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
            with talking(), waiting:
                dist.all_reduce(flat)
            parts = torch.split(flat, [t.numel() for t in same])
            torch._foreach_copy_(same, [part.view_as(t) for t, part in zip(same, parts, strict=True)])

    def agree(self, word: float = GO_ON) -> float:
        """What the most alarmed process says. Raises Lost if one is gone."""
        if self.size == 1:
            return word
        value = torch.tensor(word, dtype=torch.float32)
        with talking(), waiting:
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return float(value)

    def told(self, value: float) -> float:
        """What the first process says. Raises Lost if one is gone."""
        if self.size == 1:
            return value
        sent = torch.tensor(value, dtype=torch.float64)
        with talking(), waiting:
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
    def helped(self) -> Iterator[None]:
        """What only the first process does, while the others `serve` it; if it fails they are told."""
        self.listened_to = self.size > 1
        try:
            yield
        except BaseException:
            self.told(FAIL)
            raise
        finally:
            self.listened_to = False
        self.told(GO_ON)

    def serve(self, duties: Sequence[Callable[[int], object]] = ()) -> None:
        """Do whatever the first process asks for, until it needs no more help: a share of a job, or a duty (see `ask`).

        Raises:
            Left: it failed.
            Lost: a process is gone.
        """
        while (word := self.told(GO_ON)) not in (GO_ON, FAIL):
            if word == ASK:
                self._do(None)
            else:
                number = int(self.told(0.0))
                with talking():
                    duties[int(word - ASK) - 1](number)
        if word == FAIL:
            raise Left

    def ask(self, duty: int, number: int = 0) -> None:
        """Have the others do one of the duties that they were given, with a number, where they listen."""
        if self.listened_to:
            self.told(ASK + 1 + duty)
            self.told(number)

    def spread(self, job: Callable[[slice], Tensor], rows: slice) -> Tensor:
        """`job(rows)`, computed by all processes, each for a part of the rows; alone where the others do not listen.

        Args:
            job: A function of rows that depends on nothing else; one that cannot be pickled is done alone.

        Raises:
            Lost: a process is gone.
            Exception: what the job raised, in whichever process.
        """
        asked = _pickled((job, rows)) if self.sharing and rows.stop - rows.start >= self.size else None
        if asked is None:
            return job(rows)
        self.told(ASK)
        parts = self._do(asked)
        for part in parts:
            if isinstance(part, Exception):
                raise part
        return torch.cat(parts)  # type: ignore[arg-type]

    def _do(self, asked: bytes | None) -> list[Tensor | Exception]:
        """A share of what was asked, and in the first process the shares of all."""
        sent = [asked]
        with talking(), waiting:
            dist.broadcast_object_list(sent, 0)
        assert sent[0] is not None
        job, rows = pickle.loads(sent[0])
        [mine] = self.share(rows.stop - rows.start)
        part: Tensor | Exception
        try:
            part = job(slice(rows.start + mine.start, rows.start + mine.stop)).cpu()
        except Exception as error:  # the first process raises it, and all go on together
            part = error
        parts: list[Any] = [None] * self.size
        with talking(), waiting:
            dist.gather_object(part, parts if self.first else None, 0)
        return parts

    def same(self, what: str, value: str) -> None:
        """Check that all processes see the same.

        Raises:
            UndriftError: they do not; every process finds that out.
        """
        if self.size == 1:
            return
        values: list[str | None] = [None] * self.size
        with talking(), waiting:
            dist.all_gather_object(values, value)
        odd = [rank for rank, other in enumerate(values) if other != values[0]]
        if odd:
            raise UndriftError(f"process {odd[0]} of {self.size} has {what} other than process 0: give all of them the same")


def _pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes of this run, from the environment, until the block ends.

    What goes wrong after the block has ended well (one of them is killed while it leaves, say) goes wrong for nobody.

    Raises:
        UndriftError: the environment makes no sense, or the others do not come.
    """
    global _here
    at = place()
    if at.size == 1:
        yield Processes()
        return
    # Imported while there is a group, these keep it for good, in default arguments: it would then end with the interpreter, whose last
    # moments a thread of the group's does not survive ("terminate called without an active exception", exit code -6).
    import torch.distributed.fsdp
    import torch.distributed.nn

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"  # words go by the first, gradients by the second
        torch.cuda.set_device(at.local % torch.cuda.device_count())
    try:
        host = f"[{at.host}]" if ":" in at.host else at.host
        store, _, _ = next(rendezvous(f"tcp://{host}:{at.port}", at.rank, at.size, timeout=GATHERING))
        store.set_timeout(PATIENCE)
        dist.init_process_group(backend, store=store, rank=at.rank, world_size=at.size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        alone = "; srun starts them, and WORLD_SIZE=1 makes this one alone" if at.launcher == "srun" else ""
        raise UndriftError(
            f"process {at.rank} of {at.size} cannot join the others at {at.host}:{at.port}: {str(error).splitlines()[0]}{alone}"
        ) from None
    _here, finished = Processes(at.rank, at.size), False
    try:
        yield _here
        finished = True
        with suppress(Lost):
            _here.agree()  # a connection that is closed too early takes with it what was not yet read
    finally:
        _here = Processes()
        with suppress(RuntimeError):
            dist.destroy_process_group()
            if finished:
                _leave(store, at.rank, at.size)


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
        raise Lost(f"another process of this run is gone or does not answer ({reason})") from None
