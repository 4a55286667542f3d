"""A command under `torchrun`: all processes run it, each drawing its share of the samples; the first one writes and speaks."""

from __future__ import annotations

import argparse
from types import ModuleType

from undrift.cli.command import commands
from undrift.distributed.processes import Left, joined
from undrift.error import UndriftError
from undrift.signals import Leaving


def share(command: ModuleType, arguments: argparse.Namespace, started: float) -> int:
    """Run a command in this process, one of several; returns its exit code.

    Raises:
        UndriftError: a command that does not sample.
        Exception: what the command raises, unless the first process says it.
        KeyboardInterrupt: the first process was interrupted.
    """
    if not _shared(command):
        names = ", ".join(name for name, module in commands().items() if _shared(module))
        raise UndriftError(f"undrift {arguments.command} is not shared out over processes ({names} are); run it without torchrun")
    first = True
    try:
        with joined() as processes, Leaving(processes, lambda: "interrupted"):
            first = processes.first
            command.run(arguments, started)
    except Left:
        return 2
    except KeyboardInterrupt:
        if first:
            raise
        return 130
    return 0


def _shared(command: ModuleType) -> bool:
    return getattr(command, "SHARED", False)
