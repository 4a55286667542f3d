"""The divergence of a vector field: the trace of its Jacobian, exact or estimated.

    exact        sum_i e_i^T J e_i                        D vector-Jacobian products
    Hutchinson   mean over K probes of p^T J p            K of them; unbiased if E p p^T = I (Hutchinson 1990; Skilling 1989)

Rademacher probes (entries +1, -1) have the least variance of all with independent entries, `2 sum_{i != j} S_ij^2` with
`S = (J + J^T)/2`; Gaussian ones have `2 sum_ij S_ij^2`. Products are taken many at a time, in chunks that bound the memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from undrift.argument import whole
from undrift.noise import Noise

LAWS = ("rademacher", "gaussian")
MEMORY = 2**19  # numbers in the input gradients of one chunk; what the backward pass keeps is a multiple of it


def wide(x: Tensor) -> torch.dtype:
    """float64 wherever the device has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def draw_probes(noise: Noise, x: Tensor, count: int, law: str = "rademacher") -> Tensor:
    """`(count, B, *D)` probes of unit variance for the Hutchinson estimate, in the dtype and device of `x` `(B, *D)`.

    Raises:
        ValueError: fewer than one probe, or an unknown law.
    """
    whole(count, "probes", 1)
    if not isinstance(law, str) or law not in LAWS:
        raise ValueError(f'probes of law "{law}" are unknown; the laws are {" and ".join(LAWS)}.')
    if law == "gaussian":
        return torch.stack([noise.fold("probe", k).normal(x) for k in range(count)])
    return torch.stack([(noise.fold("probe", k).uniform(x) < 0.5).to(x) * 2 - 1 for k in range(count)])


class Divergence:
    """A field's value and its divergence, `divergence(field, x)`.

    Products are batched by `vmap` where every operation of the network allows it; the first time that one does not (channels-last
    convolutions on a CPU are such), this object goes over to one product at a time, which in batches of 16 and more is as fast.

    Args:
        probes: `(K, B, *D)`, or None for the exact trace.
        chunk: Vector-Jacobian products taken at a time. Default: as many as fit `MEMORY`.
    """

    def __init__(self, probes: Tensor | None = None, chunk: int | None = None) -> None:
        self.probes, self.chunk = probes, chunk

    def __call__(self, field: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate.

        Args:
            field: `(B, *D)` to the same shape, each row a function of its own row alone.
            x: `(B, *D)`.

        Returns:
            The value, `(B, *D)`, and the divergence, in float64: `(B, 1)` exact, or `(B, K)`, one estimate for each probe.

        Raises:
            ValueError: the value does not depend differentiably on `x`.
        """
        probes, size, traces = self.probes, math.prod(x.shape[1:]), []
        count = size if probes is None else len(probes)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = field(x)
            if not y.requires_grad:
                raise ValueError(_NO_DENSITY)
            i = 0
            while i < count:
                k = min(count - i, max(1, MEMORY // x.numel()) if self.chunk is None else self.chunk)
                if probes is None:
                    ahead = torch.zeros(k, len(x), size, dtype=y.dtype, device=y.device)
                    rows = torch.arange(k, device=y.device)
                    ahead[rows, :, rows + i] = 1
                    ahead = ahead.view(k, *x.shape)
                else:
                    ahead = probes[i : i + k]
                back = self._products(y, x, ahead)
                if back is None:
                    continue  # once: now one product at a time
                traces.append((back.flatten(2).to(wide(x)) * ahead.flatten(2)).sum(2).mT)
                i += k
        trace = torch.cat(traces, 1)
        return y.detach(), trace if probes is not None else trace.sum(1, keepdim=True)

    def _products(self, y: Tensor, x: Tensor, ahead: Tensor) -> Tensor | None:
        """(k, B, *D): each of the k rows of `ahead` times the Jacobian; None if they cannot be taken together."""
        if len(ahead) == 1:
            row = torch.autograd.grad(y, x, ahead[0], retain_graph=True, allow_unused=True)[0]
            back = None if row is None else row[None]
        else:
            try:
                back = torch.autograd.grad(y, x, ahead, retain_graph=True, allow_unused=True, is_grads_batched=True)[0]
            except RuntimeError as error:
                if "vmap" not in str(error):
                    raise
                self.chunk = 1
                return None
        if back is None:
            raise ValueError(_NO_DENSITY)
        return back


_NO_DENSITY = (
    "this denoiser's output does not depend differentiably on x, so its flow has no divergence and no density; "
    "use one that automatic differentiation can follow."
)
