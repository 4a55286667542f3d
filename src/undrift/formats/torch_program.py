"""A model as a program of `torch.export`: it runs where torch is, without undrift and without the code of the network.

    data, noise = program(x, t)              of a model without classes
    data, noise = program(x, t, label)       label -1: no class

x `(B, *shape)` is in model space, t `(B,)` in float64, for any B. Beside the graph the file has `undrift.json`: the description of the
model, and times from noise to data with their alpha and sigma, so that a sampler is a loop: DDIM is `x = alpha data + sigma noise`.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undrift.denoiser import Denoiser, network_input
from undrift.error import OutputError, UndriftError
from undrift.model import Model
from undrift.nn import Energy
from undrift.process import expand
from undrift.storage import signature
from undrift.target import solve

ABOUT = "undrift.json"
SIZES = (1, 2, 5)  # of the batches that a program is checked with
CLOSE = 1e-4


class Program(nn.Module):
    """The denoiser without its checks, which would fix the size of the batch."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.net = denoiser.net
        self._denoiser = (denoiser,)  # in a tuple: its parameters are those of the network, and are not to be there twice

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data and noise, `(B, *shape)` each."""
        (denoiser,) = self._denoiser
        seen, level = network_input(denoiser.process, x, t, denoiser.sigma_data)
        output = self.net(seen, level, label)
        (p, q), (r, w) = ((expand(a, x), expand(b, x)) for a, b in solve(denoiser.target, denoiser.process, t))
        return (p * x + q * output).to(x.dtype), (r * x + w * output).to(x.dtype)


def write(model: Model, path: Path) -> None:
    """Write a model as a program.

    Raises:
        UndriftError: a model that is told more than a class, that learns variances, or whose network has no graph.
    """
    if model.told is not None:
        raise UndriftError(f"a program takes a class and nothing else, and this model draws from {model.told.needs}")
    if isinstance(model.denoiser.net, Energy):
        raise UndriftError("a program has no derivatives, and this network is the gradient of an energy")
    inputs, batch = _inputs(model, 3), torch.export.Dim.DYNAMIC
    with torch.no_grad():
        _, variances = model.denoiser.outputs(*inputs)
    if variances is not None:
        raise UndriftError("a program gives data and noise, and this model has learned variances besides")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                Program(model.denoiser).eval(), inputs, dynamic_shapes=tuple({0: batch} for _ in inputs)
            )
            with path.open("wb") as file:  # by name torch would warn that the name, which is for a while, is not .pt2
                torch.export.save(program, file, extra_files={ABOUT: json.dumps(_about(model))})
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = signature("undrift export")
    except (OSError, UndriftError):
        raise
    except Exception as error:  # whatever torch's tracer meets in a network of somebody's own
        raise UndriftError(f"this network has no graph: {str(error).strip().splitlines()[0]}") from None


def check(model: Model, path: Path) -> None:
    """Whether the program computes what the model computes, for batches of several sizes. Raises OutputError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with path.open("rb") as file:
            program = torch.export.load(file).module()
    for n in SIZES:
        inputs = _inputs(model, n)
        with torch.no_grad():
            found, wanted = program(*inputs), model.denoiser(*inputs)
        apart = max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True))
        if not apart <= CLOSE * max(1.0, *(float(part.abs().max()) for part in wanted)):
            raise OutputError(f"{path} computes something else than the model, by {apart:.2g}; nothing is written")


def _inputs(model: Model, n: int) -> tuple[Tensor, ...]:
    """Noisy samples at times all over the process and, with classes, labels."""
    process, like = model.denoiser.process, next(model.denoiser.parameters())
    x = torch.randn(n, *model.spec.shape, generator=torch.Generator().manual_seed(n)).to(like)
    t = torch.linspace(process.t_min, process.t_max, n + 2, dtype=torch.float64, device=like.device)[1:-1]
    classes = len(model.spec.classes)
    return (x, t) if not classes else (x, t, torch.arange(n, device=like.device) % (classes + 1) - 1)


def _about(model: Model) -> dict[str, Any]:
    """The description, and the times of the model's usual sampling."""
    process, usual = model.denoiser.process, model.sampling
    times = usual.layout()(process, usual.steps).cpu()
    alpha, sigma = process(times.double())
    return model.describe() | {"times": times.tolist(), "alpha": alpha.tolist(), "sigma": sigma.tolist()}
