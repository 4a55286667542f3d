"""The command line: `undrift train | sample | evaluate | info | demo`.

Nothing but the standard library is imported until a command runs. Every error that a user can mend is one line on the error
stream and exit code 2.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from undrift.cli.parser import parse
from undrift.error import UndriftError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    started = time.perf_counter()
    arguments = parse(argv)
    from undrift.cli import commands  # only now: it loads torch

    try:
        getattr(commands, arguments.command)(arguments, started)
    except (UndriftError, ValueError) as error:
        return _fail(error)
    except OSError as error:
        return _fail(f"{error.filename or 'the disk'}: {error.strerror or error}")
    except RuntimeError as error:
        return _fail(error) if "not finite" in str(error) or "out of memory" in str(error) else _reraise(error)
    except KeyboardInterrupt:
        print("undrift: interrupted", file=sys.stderr)
        return 130
    return 0


def _fail(error: object) -> int:
    print(f"undrift: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _reraise(error: Exception) -> int:
    raise error
