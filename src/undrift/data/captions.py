"""Pictures of two digits with a caption that says which and how they stand: a text task without a download."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undrift.condition import Condition
from undrift.data.dataset import Dataset
from undrift.data.digits import digits
from undrift.data.spec import Spec
from undrift.data.stream import stream
from undrift.data.words import Vocabulary, split_words
from undrift.error import DataError, nearest

__all__ = ["Captioned", "Place", "captions", "layout", "withheld"]

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RELATIONS = ("next to", "above", "below")
SIDE = 16  # of the canvas; a digit is half of it
_CORNERS = {"next to": ((4, 0), (4, 8)), "above": ((0, 4), (8, 4)), "below": ((8, 4), (0, 4))}  # (row, column) of both digits


class Captioned(Dataset):
    """Examples with a text each.

    Args:
        x, spec, name: As in `Dataset`.
        texts: One for each example.
    """

    def __init__(self, x: NDArray[Any], texts: list[str], spec: Spec, name: str) -> None:
        super().__init__(x, None, spec, name)
        if len(texts) != len(x):
            raise DataError(f"{name}: {len(x):,} examples but {len(texts):,} captions; give each one caption")
        self.texts = texts
        self.vocabulary = Vocabulary.of(texts)
        self._words = self.vocabulary.condition(texts)

    def condition(self, rows: Tensor) -> Condition:
        """The words of some examples."""
        return self._words.rows(rows)

    def content_hash(self) -> str:
        """As that of `Dataset`, with the captions."""
        return hashlib.sha256("\n".join([super().content_hash(), *self.texts]).encode()).hexdigest()

    def _part(self, mask: NDArray[np.bool_]) -> Self:
        part = super()._part(mask)
        chosen = np.flatnonzero(mask)
        part.texts, part.vocabulary = [self.texts[i] for i in chosen], self.vocabulary
        part._words = self._words.rows(torch.from_numpy(chosen))
        return part


class Place(NamedTuple):
    """Where a caption puts a digit: its class, and the row and column of its upper left corner (8 x 8 pixels)."""

    digit: int
    row: int
    column: int


def captions(split: str = "train", n: int = 20_000, seed: int = 0) -> Dataset:
    """Two of the 8 x 8 digits on a 16 x 16 canvas, "a three next to a seven", "an eight above a one", "a two below a six".

    Digits, their order and the relation are drawn evenly, but ten pairs are never drawn for training: a digit d with d + 4
    after it, such as "a three ... a seven". The test part has them, and pictures of digits that training never showed.

    Args:
        split: "train" or "test".
        n: How many pictures; the test part is a fifth of that.
        seed: Decides which.

    Returns:
        x: (n, 1, 16, 16) uint8 in 0..16 with `texts`.

    Raises:
        DataError: an unknown part, fewer than 5 pictures, or scikit-learn is not installed.
    """
    if split not in ("train", "test"):
        raise DataError(f'captions: split "{split}" is unknown{nearest(split, ("train", "test"))}')
    if not isinstance(n, int) or n < 5:
        raise DataError(f"captions: n={n}; ask for at least 5 pictures")
    source = digits().split(0.2, 0)[split == "test"]
    count = n if split == "train" else n // 5
    assert source.labels is not None
    members = [np.flatnonzero(source.labels == digit) for digit in range(10)]
    legal = [(a, b) for a in range(10) for b in range(10) if split == "test" or not withheld(a, b)]
    draws = stream(seed, "captions", split).random((count, 4))
    images, canvas, texts = source.raw().numpy(), np.zeros((count, 1, SIDE, SIDE), np.uint8), []
    for picture, (pair, relation, *which) in zip(canvas, draws, strict=True):
        both, how = legal[int(pair * len(legal))], RELATIONS[int(relation * len(RELATIONS))]
        for digit, (row, column), u in zip(both, _CORNERS[how], which, strict=True):
            chosen = members[digit][int(u * len(members[digit]))]
            picture[:, row : row + 8, column : column + 8] = images[chosen]
        texts.append(caption(*both, how))
    return Captioned(canvas, texts, Spec.bounded((1, SIDE, SIDE), 0, 16, integer=True), "captions")


def withheld(first: int, second: int) -> bool:
    """Whether this ordered pair is never seen in training."""
    return (first + 4) % 10 == second


def caption(first: int, second: int, relation: str) -> str:
    """The caption of a picture: `caption(3, 8, "above")` is "a three above an eight"."""
    named = [f"{'an' if digit == 8 else 'a'} {NUMBERS[digit]}" for digit in (first, second)]
    return f"{named[0]} {relation} {named[1]}"


def layout(text: str) -> tuple[Place, Place]:
    """Which digits a caption asks for, and where; in the order in which it names them.

    Raises:
        DataError: it is not such a caption.
    """
    words = [word for word in split_words(text) if word not in ("a", "an")]
    relation = " ".join(words[1:-1])
    if len(words) < 3 or relation not in RELATIONS or not {words[0], words[-1]} <= {*NUMBERS}:
        raise DataError(f'"{text}" is not a caption of two digits; write "a three next to a seven", or above, or below')
    first, second = (
        Place(NUMBERS.index(word), *corner) for word, corner in zip((words[0], words[-1]), _CORNERS[relation], strict=True)
    )
    return first, second
