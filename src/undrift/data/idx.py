"""IDX, the file format of MNIST: a magic number, the length of each axis, then the bytes.

    offset 0   0x00 0x00 kind axes     kind 0x08: unsigned bytes; axes: number of axes
    offset 4   one big-endian uint32 for each axis
    then       the values, last axis fastest

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import errno
import gzip
import math
import os
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undrift.error import DataError
from undrift.storage import open_file, reason, unpacked

__all__ = ["read_idx"]

_CHUNK = 2**20


def read_idx(path: str | Path, axes: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, compressed with gzip or not (the content decides, not the name).

    Args:
        path: The file.
        axes: Number of axes it must have: 1 for labels, 3 for images.

    Returns:
        A uint8 array with `axes` axes, none of them empty.

    Raises:
        DataError: The file cannot be read, is damaged, has another magic number, or has another length than
            its header says.
    """
    path = Path(path)
    try:
        with open_file(path, own=False) as raw:
            packed = os.fstat(raw.fileno()).st_size
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _parse(gzip.GzipFile(fileobj=raw) if zipped else raw, path, axes, packed)  # type: ignore[arg-type]
    except OSError as error:
        cure = "" if error.errno in (errno.EFBIG, errno.ENOMEM) else "; check the path"
        raise DataError(f"{path}: cannot be read ({reason(error)}){cure}") from error


def _parse(file: BufferedIOBase, path: Path, axes: int, packed: int) -> NDArray[np.uint8]:
    header = 4 + 4 * axes
    head = _read(file, header, path)
    magic = int.from_bytes(head[:4], "big")
    if len(head) >= 4 and magic != 0x800 + axes:
        kinds = {0x801: "labels", 0x803: "images"}
        hint = f", which is the magic number of {kinds[magic]}" if magic in kinds else ""
        raise DataError(
            f"{path}: wrong magic number 0x{magic:08x}{hint}; "
            f"expected 0x{0x800 + axes:08x} (IDX, unsigned bytes, axes: {axes}); give the right file"
        )
    if len(head) < header:
        raise DataError(
            f"{path}: the file is cut short: expected {header:,} bytes of header, found {len(head):,}; copy or download it again"
        )
    shape = struct.unpack(f">{axes}I", head[4:])
    size = math.prod(shape)
    if size == 0:
        raise DataError(f"{path}: it is empty, its header says {' x '.join(map(str, shape))}; replace it")
    if isinstance(file, gzip.GzipFile):
        unpacked(path, packed, size)
    body = _read(file, size + 1, path, of=header + size, have=header)
    if len(body) < size:
        raise DataError(
            f"{path}: the file is cut short: expected {header + size:,} bytes, found {header + len(body):,}; "
            "copy or download it again"
        )
    if len(body) > size:
        raise DataError(
            f"{path}: the file goes on after the {header + size:,} bytes that its header says; copy or download it again"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _read(file: BufferedIOBase, count: int, path: Path, of: int | None = None, have: int = 0) -> bytearray:
    """Up to `count` bytes; never more memory than the file really fills, whatever its header claims."""
    found = bytearray()
    try:
        # read1, not read: what a broken gzip stream still gives before it ends is kept and counted.
        while len(found) < count and (chunk := file.read1(min(_CHUNK, count - len(found)))):
            found += chunk
    except EOFError as error:
        wanted = f"expected {of or have + count:,} bytes, found {have + len(found):,}"
        raise DataError(f"{path}: the gzip file is cut short: {wanted}; copy or download it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is corrupt ({error}); copy or download it again") from error
    return found
