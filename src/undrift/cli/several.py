"""A command under `torchrun`: the first process runs it, the others draw their share of the samples."""

from __future__ import annotations

import argparse
from types import ModuleType

from undrift.distributed.processes import Left, joined
from undrift.error import UndriftError
from undrift.signals import Leaving

SHARED = ("sample", "evaluate", "frontier", "diagnose")


def share(command: ModuleType, arguments: argparse.Namespace, started: float) -> int:
    """Run a command in all processes; returns this one's exit code.

    Raises:
        UndriftError: a command that does not sample; or what the command raises, in the first process.
    """
    if arguments.command not in SHARED:
        raise UndriftError(
            f"undrift {arguments.command} is not shared out over processes (train, {', '.join(SHARED)} are); run it without torchrun"
        )
    try:
        with joined() as processes, Leaving(processes, lambda: "interrupted"):
            if processes.first:
                with processes.helped():
                    command.run(arguments, started)
            else:
                processes.serve()
    except Left:
        return 2
    return 0
