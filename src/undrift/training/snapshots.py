"""Snapshots of two averages of the weights, kept while a run trains: `undrift ema` makes averages of any length of them.

See `undrift.run.power_averages` for what is done with them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from undrift.run.groups import FOLDER, Groups, flat, write_groups
from undrift.run.power_averages import TRACKED, gamma_of, snapshot_paths
from undrift.storage import writes
from undrift.training.ema import Average, PowerEMA

FIRST = 16  # steps before the first snapshot


class Snapshots:
    """The two tracked averages of a run and their snapshots on the disk: at any time the last 8 to 16 of evenly spaced steps.

    Args:
        module: Whose weights to follow.
        folder: The run's.
        most: How many to keep; 0: nothing is tracked.
    """

    def __init__(self, module: nn.Module, folder: Path, most: int) -> None:
        self.folder, self.most = folder / FOLDER, most
        tracked = TRACKED if most else {}
        self.averages: dict[str, Average] = {name: PowerEMA(module, gamma_of(s)) for name, s in tracked.items()}

    def interval(self, step: int) -> int:
        """How far apart snapshots are once so many steps are done: doubled whenever there would be too many."""
        apart = FIRST
        while step > self.most * apart:
            apart *= 2
        return apart

    def take(self, step: int, whole: Callable[[str], Tensor] | None = None) -> None:
        """Keep a snapshot if it is time, in half precision where the numbers allow, and thin out the older ones.

        Args:
            step: The weights are those after so many steps.
            whole: Gives a tensor by `average.name`, where this process does not have all of it.

        Raises:
            OutputError: it cannot be written.
        """
        if not self.most or step % (apart := self.interval(step)) or not (writes() or whole):
            return
        averages = flat({name: average.weights for name, average in self.averages.items()})
        read: Callable[[str], Tensor] = averages.__getitem__ if whole is None else whole
        types = {name: _half(read(name)).dtype for name in averages}
        groups: Groups = {name: {} for name in self.averages}
        for name, tensor in averages.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = torch.empty(tensor.shape, dtype=types[name], device="meta")
        path = self.folder / f"average-{step:08d}.safetensors"
        write_groups(path, groups, {"step": step}, lambda name: read(name).to(types[name]))
        for old, path in snapshot_paths(self.folder.parent).items():
            if old % apart and writes():
                with suppress(OSError):
                    path.unlink()


def _half(tensor: Tensor) -> Tensor:
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if bool(torch.isfinite(half).all()) else tensor
