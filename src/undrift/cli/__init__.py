"""The command line: `undrift train | status | ema | sample | cascade | impute | restore | evaluate | likelihood | frontier | ...`.

Nothing but the standard library is imported until a command runs. Every error that a user can mend is one line on the error
stream and exit code 2.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from undrift.cli.allocator import keep_freed_memory
from undrift.cli.parser import parse
from undrift.error import BadFiles, UndriftError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    started = time.perf_counter()
    try:
        arguments = parse(argv)
        keep_freed_memory()
        command = import_module(f"undrift.cli.command.{arguments.command.replace('-', '_')}")  # only now: it loads torch
        if os.environ.get("WORLD_SIZE", "1") in ("", "1") or arguments.command == "train":
            command.run(arguments, started)
        else:
            share = import_module("undrift.cli.several").share
            return int(share(command, arguments, started))
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
    return 0


def _fail(error: object) -> int:
    text = str(error) if isinstance(error, BadFiles) else " ".join(str(error).split())  # a list keeps its lines
    print(f"undrift: {text}", file=sys.stderr)
    return 2
