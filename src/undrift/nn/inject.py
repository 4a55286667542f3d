"""How a block of a network is told the noise level and the condition: four ways of the papers, by name.

    adaptive    (1 + scale(c)) norm(h) + shift(c)                         004; Dhariwal & Nichol 2021, sec. 3
    addition    norm(h + shift(c))                                        004; Ho et al. 2020, appendix B
    instance    gamma(c) (h - mu)/s + beta(c) + alpha(c) (mu - m)/v       001, 003 footnote 2; Song & Ermon 2019, appendix A
    channels    norm(h): the network's input has them as channels         000; see `undrift.nn.channels`

c is the vector of `Conditioning`. In "instance" mu and s are the mean and standard deviation of each channel of each sample over
its pixels, which erases how bright a channel is; m and v are those of the mu over channels, and the alpha term brings the
brightness back ("conditional instance norm++"). The papers learn gamma, beta and alpha for each of ten noise levels; here they
are linear in c, so that the level is continuous and the condition is told alike.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

EPS = 1e-5


def norm(width: int, affine: bool = True, group: int = 4) -> nn.GroupNorm:
    """Group norm with the most groups that divide `width`, at most 32, of `group` channels or more where it can."""
    groups = max(g for g in range(1, min(32, max(1, width // group)) + 1) if width % g == 0)
    return nn.GroupNorm(groups, width, affine=affine)


class Injection(nn.Module):
    """Norm a map (B, width, H, W), told `parts` numbers for each channel, (B, parts width, 1, 1); None where parts = 0.

    `group`: fewest channels of a group, as in `norm`.
    """

    parts: ClassVar[int] = 0

    def __init__(self, width: int, group: int = 4) -> None:
        super().__init__()
        self.norm = norm(width, group=group)

    def forward(self, h: Tensor, told: Tensor | None) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        out: Tensor = self.norm(h)
        return out


class Adaptive(Injection):
    """(1 + scale) norm(h) + shift."""

    parts: ClassVar[int] = 2

    def __init__(self, width: int, group: int = 4) -> None:
        super().__init__(width)
        self.norm = norm(width, affine=False, group=group)

    def forward(self, h: Tensor, told: Tensor | None) -> Tensor:
        assert told is not None
        scale, shift = told.chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(h), 1 + scale)


class Addition(Injection):
    """norm(h + shift)."""

    parts: ClassVar[int] = 1

    def forward(self, h: Tensor, told: Tensor | None) -> Tensor:
        assert told is not None
        out: Tensor = self.norm(h + told)
        return out


class Instance(Injection):
    """(1 + gamma) (h - mu)/s + beta + alpha (mu - m)/v; it has no weights of its own, and every channel is its own group."""

    parts: ClassVar[int] = 3

    def __init__(self, width: int, group: int = 4) -> None:
        nn.Module.__init__(self)

    def forward(self, h: Tensor, told: Tensor | None) -> Tensor:
        assert told is not None
        gamma, beta, alpha = told.chunk(3, dim=1)
        variance, mean = torch.var_mean(h, dim=tuple(range(2, h.ndim)), keepdim=True, correction=0)
        spread, middle = torch.var_mean(mean, dim=1, keepdim=True, correction=0)
        shape = (1 + gamma) * (h - mean) * (variance + EPS).rsqrt()
        return shape + beta + alpha * (mean - middle) * (spread + EPS).rsqrt()


INJECTIONS: dict[str, type[Injection]] = {
    "adaptive": Adaptive, "addition": Addition, "instance": Instance, "channels": Injection,
}  # fmt: skip
