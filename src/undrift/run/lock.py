"""One program at a time writes to a run."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from undrift.error import OutputError
from undrift.storage import open_to_lock, reason, writes

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: no lock
    fcntl = None


_OWN = ("state", "samples")  # folders of a run, in which files are written and deleted


def hold(out: Path) -> BinaryIO:
    """Take the folder for this process, for as long as the returned file is open; a process that does not write takes nothing.

    Raises:
        OutputError: another training holds it, or it cannot be written.
    """
    if not writes():
        return open(os.devnull, "rb")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"{out} cannot be written: {reason(error)}") from None
    if link := next((out / name for name in _OWN if (out / name).is_symlink()), None):
        raise OutputError(
            f"{link} is a link, behind which another run's files may be; put a folder there, or train in another one"
        )
    try:
        handle = open_to_lock(out / ".lock")
    except OSError as error:
        raise OutputError(f"{out / '.lock'} cannot be opened ({reason(error)}); move it away") from None
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise OutputError(
                f"another training is at work in {out}, or a frontier that will write to it; wait for it, or choose another folder"
            ) from None
    return handle
