"""Which device to compute on, by its name."""

from __future__ import annotations

import torch

from undrift.error import UndriftError, short


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """A device that is there.

    Args:
        name: "auto" (the GPU where there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps", or a `torch.device`.

    Raises:
        UndriftError: an unknown name, or a device that torch does not see here.
    """
    if name == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise UndriftError(f'device "{short(name)}" is unknown; use auto, cpu, cuda, cuda:1 or mps') from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise UndriftError(f"device={device}, but torch sees no GPU here; use device=cpu or device=auto")
        if device.index is not None and device.index >= count:
            raise UndriftError(f"device={device}, but torch sees {count} GPU{'s' * (count > 1)} here, numbered from 0")
        return torch.device("cuda", torch.cuda.current_device()) if device.index is None else device
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UndriftError("device=mps, but torch sees no Apple GPU here; use device=cpu or device=auto")
    if device.type not in ("cpu", "mps"):
        raise UndriftError(f'device "{device}" is not computed on here; use auto, cpu, cuda, cuda:1 or mps')
    return device
