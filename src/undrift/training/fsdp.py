"""A network that does not fit: each process keeps a part of every weight, and so of its averages and of the optimiser's moments.

Torch's own `fully_shard` (FSDP2) puts a residual block together when it is needed, in every process, and lets it go again; gradients
come back as the parts of their sum. Everything else that touches the weights (step, norms, averages) works on parts.

Outside the training steps the first process leads: what it does with the network (looks, previews, states) it does as if it were
alone, and the others, who listen, do the one thing that it needs of them. For a forward pass that is a forward pass of one blank
example, which puts every block together at the right moment; for a file, to hand over their parts of one tensor after the other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undrift.distributed.processes import talking
from undrift.error import UndriftError
from undrift.nn.block import Block
from undrift.nn.mlp import MLPBlock
from undrift.training.checkpoint import flat

if TYPE_CHECKING:
    from undrift.training.trainer import Trainer

FORWARD, HOLD, RELEASE, GATHER, GIVE, NORM = range(6)  # duties
KEPT = ("state", "model", "averages")  # what is written of a run


class Shards:
    """The parts of a trainer's network. Made before the optimiser and the averages, which then are of parts, too.

    Args:
        trainer: Whose network to divide, in place.

    Raises:
        UndriftError: this torch cannot.
    """

    def __init__(self, trainer: Trainer) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
            raise UndriftError(f"shard=true needs a newer torch than {torch.__version__}; update it, or leave shard out")
        self.trainer, self.processes = trainer, trainer.processes
        self.processes.in_parts = True
        net = trainer.denoiser.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        mesh = init_device_mesh(trainer.device.type, (self.processes.size,))
        for module in [*(m for m in net.modules() if isinstance(m, (Block, MLPBlock))), net]:
            part = fully_shard(module, mesh=mesh, reshard_after_forward=True)
            part.set_force_sum_reduction_for_comms(True)  # losses are shares of the batch's mean, so gradients are summed
            part.set_gradient_divide_factor(1.0)
        net.register_forward_pre_hook(lambda module, given: self.processes.ask(FORWARD), prepend=True)
        # "returned a view": of which nothing is changed in place. It would be said by every process.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        self._held, self._given = ExitStack(), list[Tensor]()
        self.duties = (self._forward, self._hold, self._release, self._gather, self._give, self._norm)

    @torch.no_grad()
    def _forward(self, _: int) -> None:
        shape, device = self.trainer.model.spec.shape, self.trainer.device
        kind: dict[str, Any] = {"dtype": torch.float32, "device": device}
        self.trainer.denoiser.net(torch.zeros(1, *shape, **kind), torch.zeros(1, **kind), None)

    def _hold(self, averaged: int) -> None:
        self._held.enter_context(self.trainer.holding(self.trainer.ema if averaged else None))

    def _release(self, _: int) -> None:
        self._held.close()

    def _norm(self, _: int) -> None:
        self.trainer.weight_norm()

    def _gather(self, what: int) -> None:
        kept = flat(self.trainer.kept(KEPT[what]))
        self._given = [kept[name] for name in sorted(kept)]

    def _give(self, number: int) -> None:
        together(self._given[number])

    def whole(self, what: str) -> Callable[[str], Tensor]:
        """What gives each tensor of what is kept by its name, put together."""
        kept: dict[str, Tensor] = {}
        places: dict[str, int] = {}

        def give(name: str) -> Tensor:
            if not kept:
                kept.update(flat(self.trainer.kept(what)))
                places.update({name: i for i, name in enumerate(sorted(kept))})
                self.processes.ask(GATHER, KEPT.index(what))
            self.processes.ask(GIVE, places[name])
            return together(kept[name])

        return give


def together(tensor: Tensor) -> Tensor:
    """A tensor of which every process has a part, put together in all of them; any other as it is. Raises Lost if one is gone."""
    from torch.distributed.tensor import DTensor

    with talking():
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> tuple[Tensor, slice]:
    """This process's part of a tensor, and the rows of the whole that it is: as many as the others', but for the last ones."""
    from torch.distributed.tensor import DTensor

    if not isinstance(tensor, DTensor):
        return tensor, slice(None)
    many = -(-len(tensor) // tensor.device_mesh.size())
    start = min(len(tensor), many * tensor.device_mesh.get_local_rank())
    part = tensor.to_local()
    return part, slice(start, start + len(part))
