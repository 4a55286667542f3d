"""Muon: steps of equal length in every direction of a weight matrix, so that what is rare in the gradient is learnt too.

Source: Jordan et al. 2024 ("Muon: An optimizer for hidden layers in neural networks"); the length of a step, by which one learning
rate serves it and AdamW, is that of Liu et al. 2025 (arXiv 2502.16982, eq. 4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

ROUNDS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # of Jordan et al.: x to a x + b x^3 + c x^5, which takes (0, 1] near 1 in five rounds
LENGTH = 0.2  # root mean square of an entry's step, in learning rates: what AdamW's come to


def orthogonal(m: Tensor) -> Tensor:
    """Matrices `(..., r, c)` with singular values near 1 (0.7 to 1.2) and the singular vectors of `m`: U V^T of m = U S V^T, nearly.

    Newton-Schulz on the Gram matrix: since every round is `x -> p(x x^T) x`, the rounds run on the smaller side squared and x itself is
    multiplied once. In float32.
    """
    wide = m.float() if m.shape[-2] <= m.shape[-1] else m.float().mT
    wide = wide / (wide.flatten(-2).norm(dim=-1)[..., None, None] + 1e-7)
    gram, whole = wide @ wide.mT, None
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        part = b * gram + c * (gram @ gram)
        part.diagonal(dim1=-2, dim2=-1).add_(a)
        whole = part if whole is None else part @ whole
        gram = part @ gram @ part
    out = whole @ wide
    return (out if m.shape[-2] <= m.shape[-1] else out.mT).to(m.dtype)


def hidden(net: nn.Module) -> list[Tensor]:
    """The weights of linear and convolution layers between others: matrices, by their outputs and all of their inputs.

    Left out are those that read the data or the level and those that put the result out, by the network's own word (`outer` of a module,
    names of its parts) or else the first and the last layer; biases, norms and tables of embeddings.
    """
    outer = [f"{name}.{part}".lstrip(".") for name, module in net.named_modules() for part in getattr(module, "outer", ())]
    layers = {
        name: part
        for name, part in net.named_modules()
        if isinstance(getattr(part, "weight", None), Tensor)
        and part.weight.ndim > 1
        and not isinstance(part, (nn.Embedding, nn.EmbeddingBag))
    }
    names = list(layers)
    ends = outer or names[:1] + names[-1:]
    return [layers[name].weight for name in names if not any(f"{name}.".startswith(f"{end}.") for end in ends)]


class Muon(torch.optim.Optimizer):
    """Muon for some matrices, AdamW for all other parameters, at one learning rate.

    A step of Muon is `orthogonal` of the momentum (Nesterov's), times `LENGTH * sqrt(larger side)`.

    Args:
        parameters: All of them.
        matrices: Those for Muon; tensors of more than two axes are taken as `(axis 0, all others)`.
        lr: The learning rate. momentum: of the gradient, for Muon. betas, weight_decay: of AdamW; the decay is for all.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        matrices: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        matrices = list(matrices)
        own = {id(p) for p in matrices}
        others = [p for p in parameters if id(p) not in own]
        usual = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        groups = [{"params": some, "matrices": kind} for some, kind in ((matrices, True), (others, False)) if some]
        super().__init__(groups, usual)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move by the gradients; `closure` is not asked."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                (self._matrices if group["matrices"] else self._others)(parameters, group)

    def _matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for p in parameters:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        gradients, momenta = _gradients(parameters), [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)  # matrices of one size are turned together
        for i, p in enumerate(parameters):
            alike[(p.shape[0], p[0].numel())].append(i)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for sides, places in alike.items():
            turned = orthogonal(torch.stack([ahead[i].flatten(1) for i in places]))
            for i, step in zip(places, turned, strict=True):
                parameters[i].add_(step.view_as(ahead[i]), alpha=-group["lr"] * LENGTH * max(sides) ** 0.5)

    def _others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p].update(
                    step=torch.zeros((), device=p.device), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p)
                )
        first, second, steps = ([self.state[p][k] for p in parameters] for k in ("exp_avg", "exp_avg_sq", "step"))
        adamw(
            parameters, _gradients(parameters), first, second, [], steps, fused=True, amsgrad=False, beta1=group["betas"][0],
            beta2=group["betas"][1], lr=group["lr"], weight_decay=group["weight_decay"], eps=1e-8, maximize=False,
        )  # fmt: skip


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
