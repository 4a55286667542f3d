"""The command line: `undrift train | status | ema | sample | cascade | impute | restore | evaluate | likelihood | frontier | ...`.

Nothing but the standard library is imported until a command runs. Every error that a user can mend is one line on the error
stream and exit code 2.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from importlib import import_module
from typing import NoReturn

from undrift.cli.allocator import keep_freed_memory
from undrift.cli.command import commands
from undrift.cli.parser import parse
from undrift.distributed.launcher import place
from undrift.error import BadFiles, UndriftError, printable
from undrift.streams import Guarded, open_standard
from undrift.synonyms import at_command_line
from undrift.threads import spin_briefly


def run() -> NoReturn:
    """Run the command line and leave the process with its exit code.

    One of several processes does not wait for the interpreter to be taken down: threads of torch's that are still at work then can
    end it with a signal, after all is done and saved, and a launcher would call that a failure.
    """
    code = 1

    def out() -> NoReturn:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    with suppress(UndriftError):  # `main` says it
        if place().size > 1:
            atexit.register(out)  # the first to be registered is the last to be called
    try:
        code = main()
    except SystemExit as stop:  # a mistake in the words of the command
        code = stop.code if isinstance(stop.code, int) else 1
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    started = time.perf_counter()
    open_standard()
    out = Guarded(sys.stdout)
    words = at_command_line.set(True)
    try:
        with redirect_stdout(out):
            try:
                arguments = parse(argv)
                keep_freed_memory()
                spin_briefly()
                command = commands()[arguments.command]
                if place().size == 1:
                    command.run(arguments, started)
                else:
                    share = import_module("undrift.cli.several").share
                    return int(share(command, arguments, started))
            finally:
                _flushed(out)
    except KeyboardInterrupt:
        print("undrift: interrupted", file=sys.stderr)
        return 130
    except (UndriftError, ValueError) as error:
        return _fail(error)
    except MemoryError as error:
        return _fail(f"out of memory: {error}; ask for less at a time")
    except RecursionError:
        return _fail("a file is nested too deeply to be read")
    except OSError as error:
        return _fail(f"{error.filename or 'the disk'}: {error.strerror or error}")
    except RuntimeError as error:
        if "not finite" in str(error):
            return _fail(error)
        if "memory" in str(error):
            return _fail("out of memory; ask for less at a time")
        raise
    finally:
        at_command_line.reset(words)
    return 0


def _flushed(out: Guarded) -> None:
    """All that was printed is where it should be. Raises OSError if it cannot be; the interpreter need not find that out again."""
    try:
        out.flush()
    except OSError:
        out.give_up()
        raise


def _fail(error: object) -> int:
    text = str(error)
    lines = text.split("\n") if isinstance(error, BadFiles) else [" ".join(text.split())]  # a list keeps its lines
    with suppress(OSError):  # where it cannot be said, the exit code says it
        print("undrift: " + "\n".join(map(printable, lines)), file=sys.stderr)
    return 2
