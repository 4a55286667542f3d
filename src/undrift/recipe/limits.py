"""How large the numbers of a recipe or a model.json may be: what is beyond would hang or fill the memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from undrift.error import short

LARGEST = 10**6  # of the numbers of a network or a process
DEEPEST = 1024  # blocks of a network
_OF_DATA = {"seed": 2**63 - 1, "size": 2**14}  # the most that whole numbers of the data may be; of others:
_MOST = 10**8


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse numbers so large that building from them would hang or fill the memory, in a recipe as in the description of a model.

    Args:
        parts: Any of "network", "process", "condition" and "data", as dicts or None.

    Raises:
        ValueError: there are such; the message begins with the key.
    """
    for part in ("network", "process", "condition"):
        for key, value in _numbers(parts.get(part), part):
            if abs(value) > LARGEST:
                raise ValueError(f"{key}={short(value)}: of absurd size; the most is {LARGEST:,}")
    for key, value in _numbers(parts.get("data"), "data"):
        most = _OF_DATA.get(key.partition(".")[2], _MOST)
        if isinstance(value, int) and abs(value) > most:
            raise ValueError(f"{key}={short(value)}: of absurd size; the most is {most:,}")
    network = parts.get("network") or {}
    levels = len(network.get("widths") or ()) or 1
    blocks = network.get("blocks") or 1
    blocks = sum(blocks) if isinstance(blocks, (list, tuple)) else levels * blocks
    key, deep = ("network.blocks", blocks) if levels > 1 else ("network.depth", network.get("depth", 0))
    if max(deep, blocks) > DEEPEST:
        raise ValueError(f"{key}: a network of absurd size; the most is {DEEPEST:,} blocks, over all its levels")


def _numbers(part: Any, key: str) -> Iterator[tuple[str, float]]:
    """The numbers of a part with their keys; what the data add to a condition is no number of ours."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name not in ("words", "examples"):
                yield from _numbers(value, f"{key}.{name}")
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _numbers(value, key)
    elif isinstance(part, (int, float)):
        yield key, part
