"""Whether a step of training fits into memory, told before the first one."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from undrift.error import RecipeError
from undrift.storage import memory
from undrift.training.trainer import Trainer

SPARE = 1.1  # what a step takes, as a multiple of what it keeps: the gradients on the way back, and room to work


def kept_bytes(trainer: Trainer) -> int:
    """Bytes of activations that are kept for the gradient of the loss of one example; the weights are not counted."""
    weights = {p.untyped_storage().data_ptr() for p in trainer.denoiser.parameters()}
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda x: x):
        loss = trainer.losses(0, slice(0, 1))  # what it keeps lives as long as it, so no address is used twice
    del loss
    return sum(kept.values())


def free_bytes(device: torch.device) -> int:
    """Bytes that are free where the training runs."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory()


def check_batch(trainer: Trainer) -> None:
    """Refuse a batch whose activations do not fit into memory. Of networks of undrift's own: one example is computed, to see.

    Raises:
        RecipeError: it does not fit, with what would.
    """
    if not trainer.processes.first or trainer.in_parts or trainer.settings.compile or trainer.device.type not in ("cpu", "cuda"):
        return  # one asks for all; a part of a network says nothing of the whole; compiling takes a minute; others tell nothing
    settings, processes = trainer.settings, trainer.processes.size
    here = math.ceil(settings.batch_size / (processes * settings.accumulate))  # examples at a time, in each process
    together = processes if trainer.device.type == "cpu" else 1  # that share this memory
    each, free = SPARE * kept_bytes(trainer) * together, free_bytes(trainer.device)
    if each * here <= free:
        return
    fitting = int(free // each)
    parts = math.ceil(settings.batch_size / (processes * fitting)) if fitting else 0
    cure = f"accumulate={parts} computes it in as many parts; " if fitting else ""
    raise RecipeError(
        f"batch_size={settings.batch_size}: a step takes {each * here / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free; "
        f"{cure}recompute=true, smaller examples or a smaller network need less"
    )
