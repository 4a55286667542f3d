"""safetensors files, written and checked a tensor at a time: nobody has to hold all of one.

The library's own writer wants every tensor in memory at once. The format is simple: the length of a header (8 bytes, little endian), the
header (JSON: name to type, shape and place), then the numbers. A file may be sealed with a text and the hash of all that is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def plain(tensor: Tensor) -> Tensor:
    """A tensor as it is written: on the CPU, row after row."""
    return tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], facts: str | None = None, whole: Callable[[str], Tensor] | None = None
) -> str:
    """Write a file, in the order of the names, not yet flushed to the disk.

    Args:
        path: The file.
        tensors: By name; types of the table above.
        facts: A text to seal the file with.
        whole: Gives each by its name, of the same shape and type, on the CPU; default: what `tensors` holds.

    Returns:
        The hash of the seal (see `digest`), "" without one.

    Raises:
        OSError: it cannot be written.
    """
    entries, end = {}, 0
    for name in sorted(tensors):
        start, end = end, end + tensors[name].numel() * tensors[name].element_size()
        entries[name] = {"dtype": TYPES[tensors[name].dtype], "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    unknown = "0" * 64
    about = {} if facts is None else {"__metadata__": {"sha256": unknown, "facts": facts}}
    header = json.dumps({**about, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)

        def written() -> Iterable[tuple[str, Tensor]]:
            for name in entries:
                tensor = plain(tensors[name] if whole is None else whole(name))
                file.write(data(tensor))
                yield name, tensor

        if facts is None:
            for _ in written():
                pass
            return ""
        mark = digest(written(), facts)
        file.seek(8 + header.index(unknown.encode()))
        file.write(mark.encode())
    return mark


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
