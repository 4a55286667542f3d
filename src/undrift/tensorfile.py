"""Tensors on the disk: safetensors files, sealed by a hash, written and checked a tensor at a time.

The library's own writer wants every tensor in memory at once. The format is simple: the length of a header (8 bytes, little endian), the
header (JSON: name to type, shape and place), then the numbers. Every file written here is sealed: its header holds a text (the facts)
and the SHA-256 of that text and of all tensors, so that whatever changes the file later is found out when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from undrift.error import ModelError
from undrift.storage import NotAFile, Place, open_file, reason, write_atomically, writes

TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


class Damaged(ModelError):
    """A file that does not hold what was written to it."""


class TensorFile:
    """A safetensors file, found to be whole. Its tensors are read when they are asked for.

    Args:
        path: The file.

    Attributes:
        mark: The hash with which it is sealed; "" if it has no seal, as other libraries and earlier versions wrote it.
        facts: The text that was sealed with the tensors.
        shapes: Of the tensors, by name.
        types: Likewise.

    Raises:
        Damaged: it holds something else than what was sealed, or is no such file.
        ModelError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            open_file(path).close()  # a pipe, a device or a link is not handed on
            self._file = cast(Any, safe_open)(path, framework="pt")
            names, about = sorted(self._file.keys()), self._file.metadata() or {}
            self.facts = about.get("facts", "")
            self.shapes = {k: torch.Size(self._file.get_slice(k).get_shape()) for k in names}
            self.types = {k: self._file.get_slice(k).get_dtype() for k in names}
            self.mark = about.get("sha256", "")
            found = digest(((k, self._file.get_tensor(k)) for k in names), self.facts) if self.mark else ""
        except (PermissionError, FileNotFoundError, NotAFile) as error:
            raise ModelError(f"{path} cannot be opened ({reason(error)})") from None
        except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
            raise Damaged(f"{path} is damaged ({reason(error)})") from None
        if found != self.mark:
            raise Damaged(f"{path} is damaged (its content does not have the hash that was written with it)")

    def tensor(self, name: str, rows: slice = slice(None)) -> Tensor:
        """A tensor by its name, or some of its rows, on the CPU."""
        if rows == slice(None):
            return self._file.get_tensor(name)
        return self._file.get_slice(name)[rows]


def save_tensors(
    place: Place, tensors: Mapping[str, Tensor], facts: str = "", whole: Callable[[str], Tensor] | None = None
) -> str:
    """Write a sealed file atomically, and read it back.

    Args:
        place: The file.
        tensors, facts, whole: As for `write_tensors`.

    Returns:
        The hash of the seal; "" in a process that does not write.

    Raises:
        OutputError: it cannot be written, or does not read back as it was written.
    """
    if not writes():
        if whole is not None:  # every process gives its part of each
            for name in sorted(tensors):
                whole(name)
        return ""
    marks: list[str] = []

    def check(temporary: Path) -> None:
        try:
            same = TensorFile(temporary).mark == marks[-1]
        except Damaged:
            same = False
        if not same:
            raise Damaged("it does not read back as it was written")

    write_atomically(place, lambda path: marks.append(write_tensors(path, tensors, facts, whole)), check)
    return marks[-1]


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], facts: str = "", whole: Callable[[str], Tensor] | None = None
) -> str:
    """Write a sealed file, in the order of the names, not yet flushed to the disk.

    Args:
        path: The file.
        tensors: By name; types of the table above.
        facts: A text to seal with them.
        whole: Gives each by its name, of the same shape and type, on the CPU; default: what `tensors` holds.

    Returns:
        The hash of the seal (see `digest`).

    Raises:
        OSError: it cannot be written.
    """
    entries, end = {}, 0
    for name in sorted(tensors):
        start, end = end, end + tensors[name].numel() * tensors[name].element_size()
        entries[name] = {"dtype": TYPES[tensors[name].dtype], "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    unknown = "0" * 64
    header = json.dumps({"__metadata__": {"sha256": unknown, "facts": facts}, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)

        def written() -> Iterable[tuple[str, Tensor]]:
            for name in entries:
                tensor = plain(tensors[name] if whole is None else whole(name))
                file.write(data(tensor))
                yield name, tensor

        mark = digest(written(), facts)
        file.seek(8 + header.index(unknown.encode()))
        file.write(mark.encode())
    return mark


def plain(tensor: Tensor) -> Tensor:
    """A tensor as it is written: on the CPU, row after row."""
    return tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)


def data(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def digest(tensors: Iterable[tuple[str, Tensor]], text: str) -> str:
    """SHA-256, in hexadecimal, of a text and of the names, types, shapes and bytes of contiguous CPU tensors, given in order of names."""
    total = hashlib.sha256(text.encode())
    for name, tensor in tensors:
        total.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(data(tensor))
    return total.hexdigest()
