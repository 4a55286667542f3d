"""A text as a sequence of embeddings, learned together with the network that reads it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.condition import Condition
from undrift.nn.attend import heads_for
from undrift.nn.embed import zero


class TextEncoder(nn.Module):
    """Word numbers (B, L) to embeddings (B, L, width): what the word is, where it stands, and what stands around it.

    One transformer layer: the words attend to each other, then each goes through two linear layers. Masked words are read by
    nobody; what comes out in their place means nothing.

    Args:
        words: Size of the vocabulary, at least 1.
        length: Most words of a text, at least 1.
        width: Of the embeddings, at least 1.

    Raises:
        ValueError: an argument is out of range.

    Source: Vaswani et al. 2017 (section 3), pre-normalised.
    """

    def __init__(self, words: int, length: int, width: int = 64) -> None:
        super().__init__()
        if min(words, length, width) < 1:
            raise ValueError(f"`words`, `length` and `width` must be at least 1, but are {words}, {length} and {width}.")
        self.length, self.heads = length, heads_for(width)
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), zero(nn.Linear(width, width))
        self.norm2, self.wide = nn.LayerNorm(width), nn.Linear(width, 4 * width)
        self.narrow = zero(nn.Linear(4 * width, width))

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Embed a batch.

        Args:
            words: (B, L) int64 word numbers; any legal one where masked.
            mask: (B, L) bool, True where there is a word.

        Returns:
            (B, L, width).

        Raises:
            ValueError: more words than `length`.
        """
        b, length = words.shape
        if length > self.length:
            raise ValueError(f"the text has {length} words, this encoder reads at most {self.length}.")
        h = self.words(words) + self.places.weight[:length]
        q, k, v = self.qkv(self.norm1(h)).reshape(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = mask[:, None, :] | torch.eye(length, dtype=torch.bool, device=mask.device)  # each itself: no row may be empty
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None])
        h = h + self.out(mixed.transpose(1, 2).reshape(b, length, -1))
        out: Tensor = h + self.narrow(F.gelu(self.wide(self.norm2(h))))
        return out


class Reader(nn.Module):
    """A network whose sequence condition is words: the encoder turns them into embeddings, the network reads those.

    Args:
        net: A network built with `sequence` = the encoder's width.
        encoder: A `TextEncoder`.
    """

    def __init__(self, net: nn.Module, encoder: TextEncoder) -> None:
        super().__init__()
        self.net, self.encoder = net, encoder

    def forward(self, x: Tensor, level: Tensor, cond: Condition | None = None) -> Tensor:
        """Apply the network; `cond.sequence` is (B, L) word numbers.

        Raises:
            ValueError: a condition that is no `Condition`, a sequence that is not words, or what the network itself refuses.
        """
        if isinstance(cond, Tensor) or (cond is not None and cond.sequence is not None and cond.sequence.ndim != 2):
            raise ValueError("this network reads words: give Condition(sequence=numbers of words (B, L), mask=...).")
        if cond is not None and cond.sequence is not None:
            assert cond.mask is not None
            cond = replace(cond, sequence=self.encoder(cond.sequence, cond.mask))
        out: Tensor = self.net(x, level, cond)
        return out
