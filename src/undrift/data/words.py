"""Texts as numbers of words, and back to an error that names the word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from undrift.condition import Condition
from undrift.error import DataError, nearest

__all__ = ["Vocabulary"]


def split_words(text: str) -> list[str]:
    """The words of a text, in small letters and without punctuation around them."""
    words = (word.strip(".,;:!?\"'()") for word in text.lower().split())
    return [word for word in words if word]


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows, and how many of them a text may have.

    Args:
        words: Distinct, in small letters; word i has number i.
        length: Most words of a text.

    Raises:
        ValueError: no words, a word twice, a length below 1.
    """

    words: tuple[str, ...]
    length: int

    def __post_init__(self) -> None:
        if not self.words or len({*self.words}) != len(self.words) or self.length < 1:
            raise ValueError(f"a vocabulary has distinct words and texts of at least one, got {self.words} and {self.length}.")

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """The vocabulary of some texts, in alphabetical order."""
        found = [split_words(text) for text in texts]
        return cls(tuple(sorted({word for words in found for word in words})), max(map(len, found), default=0))

    def condition(self, texts: Sequence[str]) -> Condition:
        """Texts as a condition: `sequence` (B, length) word numbers and their `mask`.

        A text without words is the null condition.

        Raises:
            DataError: a word that is not known (the nearest known one is named), or a text that is too long.
        """
        numbers = torch.zeros(len(texts), self.length, dtype=torch.int64)
        mask = torch.zeros(len(texts), self.length, dtype=torch.bool)
        number = {word: i for i, word in enumerate(self.words)}
        for row, text in enumerate(texts):
            words = split_words(text)
            for word in words:
                if word not in number:
                    raise DataError(f'"{text}": the word "{word}" is unknown{nearest(word, self.words)}')
            if len(words) > self.length:
                raise DataError(f'"{text}" has {len(words)} words; this model reads at most {self.length}')
            numbers[row, : len(words)] = torch.tensor([number[word] for word in words], dtype=torch.int64)
            mask[row, : len(words)] = True
        return Condition(sequence=numbers, mask=mask)

    def texts(self, sequence: Tensor, mask: Tensor) -> list[str]:
        """Word numbers (B, L) and their mask back to texts."""
        return [
            " ".join(self.words[i] for i, there in zip(row, known, strict=True) if there)
            for row, known in zip(sequence.tolist(), mask.tolist(), strict=True)
        ]
