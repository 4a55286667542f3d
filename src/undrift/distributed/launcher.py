"""Which process is this, of how many? From the environment in which a launcher has started it.

    torchrun, accelerate launch     RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT
    srun (SLURM)                    SLURM_PROCID, SLURM_STEP_NUM_TASKS or SLURM_NTASKS, SLURM_LOCALID, and for the first one's address
                                    SLURM_STEP_NODELIST or SLURM_NODELIST; the port follows from SLURM_JOB_ID

What the first line names is taken where it is set, so a script may set some of it (WORLD_SIZE=1: this process is alone, whatever
SLURM says). Only the standard library, so that the command line can ask before it loads torch.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from undrift.error import UndriftError


@dataclass(frozen=True)
class Place:
    """A process's place among those of a run.

    Attributes:
        rank, size: Which of how many.
        local: Which of those on this machine; it takes the GPU of that number.
        host, port: Where the first one is found.
        launcher: Who started it: "" for one that is alone, "torchrun" or "srun".
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    host: str = ""
    port: int = 0
    launcher: str = ""


def place() -> Place:
    """This process's place.

    Raises:
        UndriftError: the environment makes no sense.
    """
    slurm = bool(_text("SLURM_PROCID")) and not _text("RANK")
    size = _number("WORLD_SIZE", *(("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if slurm else ()))
    if size is None or size == 1:
        return Place()
    rank = _number("RANK", *(("SLURM_PROCID",) if slurm else ()))
    if rank is None or rank >= size:
        raise UndriftError(
            f"there are {size} processes, but this one has {'no number' if rank is None else f'number {rank}'}: RANK in the environment "
            f"goes from 0 to {size - 1}; start them with torchrun, which sets it"
        )
    local = _number("LOCAL_RANK", *(("SLURM_LOCALID",) if slurm else ()))
    nodes = (_text("SLURM_STEP_NODELIST") or _text("SLURM_NODELIST") or _text("SLURM_JOB_NODELIST")) if slurm else ""
    host, port = _text("MASTER_ADDR") or first_host(nodes), _number("MASTER_PORT")
    if port is None and slurm:
        port = 20_000 + (_number("SLURM_JOB_ID") or 0) % 20_000
    if not host or port is None:
        raise UndriftError(
            f"there are {size} processes, but {'MASTER_PORT' if host else 'MASTER_ADDR'} in the environment does not say where the first "
            "one is; start them with torchrun, which sets it"
        )
    return Place(rank, size, rank if local is None else local, host, port, "srun" if slurm else "torchrun")


def first_host(nodes: str) -> str:
    """The first name of a list as SLURM writes it: `node[03-07,9],login` begins with node03."""
    found = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", found.group()) if found else ""


def _text(name: str) -> str:
    return os.environ.get(name, "").strip()


def _number(*names: str) -> int | None:
    """The first of these that is set."""
    for name in names:
        if text := _text(name):
            if not (text.isascii() and text.isdigit() and len(text) < 10) or (
                name in ("WORLD_SIZE", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS") and not int(text)
            ):
                raise UndriftError(
                    f"{name}={text} in the environment is not a number that makes sense; start several processes with torchrun"
                )
            return int(text)
    return None
