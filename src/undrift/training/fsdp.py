"""A network that does not fit: each process keeps a part of every weight, and so of its averages and of the optimiser's moments.

Torch's own `fully_shard` (FSDP2) puts a residual block together when it is needed, in every process, and lets it go again; gradients
come back as the parts of their sum. Everything else that touches the weights (step, norms, averages) works on parts.

So all processes must ask the network equally often, and put tensors together in the same order: for looks and samples each asks
about its share of every batch, and a file is written a tensor at a time, which every process gives its part of.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from undrift.distributed.processes import Processes, talking
from undrift.error import UndriftError
from undrift.nn.block import Block
from undrift.nn.mlp import MLPBlock
from undrift.run.groups import flat


def divide(net: nn.Module, device: torch.device, processes: Processes) -> None:
    """Leave each process a part of a network, in place. Before the optimiser and the averages are made, which then are of parts, too.

    Raises:
        UndriftError: this torch cannot.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise UndriftError(f"shard=true needs a newer torch than {torch.__version__}; update it, or leave shard out")
    processes.in_parts = True
    net = net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    mesh = init_device_mesh(device.type, (processes.size,))
    for module in [*(m for m in net.modules() if isinstance(m, (Block, MLPBlock))), net]:
        part = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        part.set_force_sum_reduction_for_comms(True)  # losses are shares of the batch's mean, so gradients are summed
        part.set_gradient_divide_factor(1.0)
    # "returned a view": of which nothing is changed in place. It would be said by every process.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")


def whole(groups: Mapping[str, Mapping[str, Tensor]]) -> Callable[[str], Tensor]:
    """What gives each tensor of some groups by its name, put together. All processes ask for the same ones in the same order."""
    parts = flat(groups)
    return lambda name: together(parts[name])


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
