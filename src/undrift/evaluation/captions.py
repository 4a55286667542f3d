"""Do the pictures show what their captions say? Each half is asked of a classifier trained on the single digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.data import Dataset, digits
from undrift.data.captions import Captioned, captions, layout, withheld
from undrift.error import UndriftError
from undrift.metrics.recognition import Judge, train_judge
from undrift.model import Model


@dataclass(frozen=True)
class CaptionVerdict:
    """What was found.

    Attributes:
        asked: `(N, 2)` digits that each caption names, in its order.
        seen: `(N, 2)` what the judge sees where they should be.
        relation: The words between the two, one for each sample.
        judge: With its own accuracy on held-out single digits.
        floor: Share of real held-out pictures in which the judge sees both digits: what perfect samples would reach.
    """

    asked: Tensor
    seen: Tensor
    relation: tuple[str, ...]
    judge: Judge
    floor: float

    @property
    def right(self) -> Tensor:
        """`(N,)` bool: both digits are what and where the caption says."""
        return (self.asked == self.seen).all(1)

    @property
    def new(self) -> Tensor:
        """`(N,)` bool: the pair of digits was never seen in training."""
        return torch.tensor([withheld(*pair) for pair in self.asked.tolist()])

    def lines(self) -> list[str]:
        """The verdict in words."""
        by = {r: torch.tensor([r == other for other in self.relation]) for r in dict.fromkeys(self.relation)}
        return [
            f"both digits as the caption says: {_share(self.right)} of {len(self.right)} samples",
            f"  real held-out pictures by the same judge: {100 * self.floor:.1f} %; it is right on "
            f"{100 * self.judge.accuracy:.1f} % of {self.judge.held_out} held-out single digits",
            "  " + "  ".join(f"{r}: {_share(self.right[these])}" for r, these in by.items()),
            f"  pairs never seen in training: {_share(self.right[self.new])} of {int(self.new.sum())} samples",
        ]


def _share(right: Tensor) -> str:
    return f"{100 * float(right.double().mean()):.1f} %" if len(right) else "none"


def judge_captions(model: Model, folder: Path, n: int, **options: Any) -> CaptionVerdict:
    """Draw a picture for each of `n` captions of the held-out part, and look at both of its digits.

    Args:
        model: As loaded from `folder`, trained on `data.kind=captions`.
        folder: The run; keeps the judge in `classifier.safetensors`.
        n: How many captions, from the first; they begin again where there are no more.
        options: For `Model.draw`.

    Raises:
        UndriftError: a model of other pictures, n below 1.
    """
    real = captions("test")
    assert isinstance(real, Captioned)
    if model.trained.get("data") != "captions" or model.spec.shape != real.spec.shape:
        raise UndriftError("captions of two digits are judged for models trained by `undrift train captions` only")
    if n < 1:
        raise UndriftError(f"-n {n}: ask for at least one sample")
    texts = [real.texts[i % len(real)] for i in range(n)]
    judge = train_judge(*_digits(), cache=folder / "classifier.safetensors")
    samples = model.spec.to_model(model.spec.from_model(model.draw(n, texts, **options))).cpu()
    some = torch.arange(min(1000, len(real)))
    asked, seen = look(judge, real.batch(some)[0], [real.texts[i] for i in some.tolist()])
    floor = float((asked == seen).all(1).double().mean())
    asked, seen = look(judge, samples, texts)
    relation = tuple(" ".join(text.split()[2:-2]) for text in texts)
    return CaptionVerdict(asked, seen, relation, judge, floor)


def look(judge: Judge, y: Tensor, texts: list[str]) -> tuple[Tensor, Tensor]:
    """The digits that captions ask for and those seen in their places, `(N, 2)` each; `y` `(N, 1, 16, 16)` in model space."""
    places = [layout(text) for text in texts]
    asked = torch.tensor([[place.digit for place in pair] for pair in places])
    crops = [
        picture[:, place.row : place.row + 8, place.column : place.column + 8]
        for picture, pair in zip(y, places, strict=True)
        for place in pair
    ]
    return asked, judge.classify(torch.stack(crops)).reshape(-1, 2)


def _digits() -> tuple[Dataset, Dataset]:
    return digits().split(0.2, 0)  # as `captions` splits them
