"""Attention of the pixels of a picture (of any rank): to each other, and to a sequence that describes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.nn.embed import zero
from undrift.nn.inject import norm

CONVOLUTION: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def heads_for(width: int) -> int:
    """The most heads of 32 channels or more that divide `width`."""
    return next(h for h in range(max(1, width // 32), 0, -1) if width % h == 0)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over the last two axes of (B, heads, N, d), as the library computes it or, on a CPU where N is small,
    written out: its fused kernel's backward pass in bfloat16 takes five times as long there (bench/attention.py).
    """
    limit = 256 if q.dtype == torch.bfloat16 else 64
    if mask is not None or q.device.type != "cpu" or k.shape[-2] > limit:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return logits.softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Self-attention over the pixels of a (B, width, H, W) map, added to it; starts as the identity.

    Cost: O((H W)^2 width) a sample. Heads have 32 channels or more, or there is one (`single`). `group`: as in `norm`.
    """

    def __init__(self, width: int, rank: int = 2, single: bool = False, group: int = 4) -> None:
        super().__init__()
        self.heads = 1 if single else heads_for(width)
        self.norm, self.qkv, self.out = (
            norm(width, group=group),
            CONVOLUTION[rank](width, 3 * width, 1),
            zero(CONVOLUTION[rank](width, width, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        b, width, *sides = x.shape
        tokens = self.qkv(self.norm(x)).movedim(1, -1).reshape(b, math.prod(sides), 3, self.heads, -1)
        q, k, v = tokens.permute(2, 0, 3, 1, 4)  # each (B, heads, H W, width / heads)
        mixed = attend(q, k, v).transpose(1, 2)  # (B, H W, heads, width / heads)
        out: Tensor = x + self.out(mixed.reshape(b, *sides, width).movedim(-1, 1))
        return out


class CrossAttention(nn.Module):
    """Every pixel of a (B, width, H, W) map reads a sequence (B, L, C) and adds what it finds; starts as the identity.

    Before the sequence stands a learned entry that is always there: alone, it is the null condition.

    Source: Vaswani et al. 2017 (section 3.2); for diffusion Rombach et al. 2022 (section 3.3).
    """

    def __init__(self, width: int, sequence: int, rank: int = 2) -> None:
        super().__init__()
        self.heads = heads_for(width)
        self.norm, self.query = norm(width), CONVOLUTION[rank](width, width, 1)
        self.null = nn.Parameter(torch.zeros(sequence))
        self.words, self.pairs = nn.LayerNorm(sequence), nn.Linear(sequence, 2 * width)
        self.out = zero(CONVOLUTION[rank](width, width, 1))
        nn.init.normal_(self.null)

    def forward(self, x: Tensor, sequence: Tensor | None, mask: Tensor | None) -> Tensor:
        """Map (B, width, H, W) to the same shape, reading the sequence (B, L, C) where `mask` (B, L) is True."""
        b, width, *sides = x.shape
        entries = self.null.expand(b, 1, -1)
        seen = torch.ones(b, 1, dtype=torch.bool, device=x.device)
        if sequence is not None and mask is not None:
            entries = torch.cat([entries, torch.where(mask[..., None], sequence, 0).to(entries)], 1)
            seen = torch.cat([seen, mask], 1)
        q = self.query(self.norm(x)).flatten(2).transpose(1, 2).reshape(b, math.prod(sides), self.heads, -1).transpose(1, 2)
        k, v = self.pairs(self.words(entries)).reshape(b, -1, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v, seen[:, None, None, :]).transpose(1, 2)
        out: Tensor = x + self.out(mixed.reshape(b, *sides, width).movedim(-1, 1))
        return out
