"""Which device to compute on, by its name; and in which precision networks run there."""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.argument import choice
from undrift.error import UndriftError, short

KINDS = ("cpu", "cuda", "mps")
PRECISIONS = {"auto": None, "fast": None, "float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    if device.type not in KINDS:
        raise UndriftError(f'device "{device}" is not computed on here; use auto, cpu, cuda, cuda:1 or mps')
    return device


def onto(x: Tensor, device: torch.device | Tensor) -> Tensor:
    """A tensor on a device, or on that of another tensor. From the CPU to a GPU it travels without anybody waiting for it.

    The way back is not for this: who reads has to wait.
    """
    to = device.device if isinstance(device, Tensor) else device
    return x.to(to, non_blocking=x.device.type == "cpu" and to.type not in ("cpu", "mps"))


def in_precision(name: str, device: torch.device) -> torch.dtype | None:
    """The 16 bits in which convolutions and products of a network run on a device; None: all in float32.

    Args:
        name: "auto" (bfloat16 on a GPU that has it, else float32), "fast" (the same on a CPU that computes in bfloat16), "float32",
            "bfloat16" or "float16".
        device: Where the network is.

    Raises:
        ValueError: an unknown name.
    """
    if (
        choice(name, "precision", tuple(PRECISIONS)) in ("auto", "fast")
        and device.type == "cuda"
        and torch.cuda.is_bf16_supported()
    ):
        return torch.bfloat16
    return torch.bfloat16 if name == "fast" and device.type == "cpu" and _cpu_has_bfloat16() else PRECISIONS[name]


def _cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 itself; where it does not, torch can, but many times slower than in float32."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and bool(ask()) for ask in asked)
