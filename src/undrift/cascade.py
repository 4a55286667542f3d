"""A cascade: one model draws small pictures, a second one enlarges them.

    z ~ low,      y = z + s eps,      x ~ high(. | y, s)

With exact models x has the law of the data for every s. Where the first is wrong, noise of level s makes what the second is
shown more like what it was trained on; see `undrift.upscale`.

Source: Ho et al. 2022, "Cascaded diffusion models for high fidelity image generation".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.argument import LARGEST, instance, path as place_of, real, whole
from undrift.data.spec import Spec
from undrift.error import ModelError, UndriftError
from undrift.model import Model
from undrift.model_file import load, write_model
from undrift.noise import Noise
from undrift.schema import Facts, read_json
from undrift.storage import write_text
from undrift.upscale import augmented

FORMAT = 1
_OTHER = 2**32  # added to the seed of the second stage: the same address would give it the noise of the first once more


class CascadeFacts(Facts):
    """What cascade.json says."""

    format: int
    augment: float


@dataclass
class Cascade:
    """Two models as one.

    Args:
        low: Draws small pictures.
        high: Trained to enlarge them (`condition.kind=upscale`), on the same data at full size.
        augment: Level s of the noise between the two, in model space of `high`; at most what `high` was trained with.

    Raises:
        UndriftError: `high` enlarges nothing; the pictures, values or classes of the two do not fit; `augment` out of range.

    Example:
        >>> Cascade(load("runs/digits4"), load("runs/upscale"), 0.1).sample(10, range(10))  # doctest: +SKIP
    """

    low: Model
    high: Model
    augment: float = 0.0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            instance(getattr(self, name), name, Model, "give a model, from undrift.load")
        upscale, small, large = self.high.upscale, self.low.spec, self.high.spec
        if upscale is None:
            raise UndriftError(
                "the second model of a cascade must be trained to enlarge pictures; train one: undrift train upscale"
            )
        wanted = (large.shape[0], *(side // upscale.factor for side in large.shape[1:]))
        if small.shape != wanted:
            raise UndriftError(f"the second model enlarges pictures of shape {wanted}, but the first draws {small.shape}")
        if (small.low, small.high) != (large.low, large.high):
            raise UndriftError("the values of the two models have different ranges; train both on the same data")
        if large.classes and small.classes != large.classes:
            raise UndriftError("the two models have different classes; train both on the same data")
        self._check(self.augment)

    @property
    def spec(self) -> Spec:
        """What is drawn: that of the second model."""
        return self.high.spec

    def sample(
        self,
        n: int,
        cond: int | str | Sequence[int | str] | None = None,
        *,
        augment: float | None = None,
        seed: int = 0,
        batch_size: int = 256,
        first: int = 0,
        low: Mapping[str, Any] | None = None,
        high: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Draw samples in data units.

        Args:
            n: How many.
            cond: A class (name or number) for all, or one for each. A text, where the first model reads text and the second
                has no classes. None: whatever the data hold.
            augment: Level of the noise between the two. Default: the cascade's own.
            seed, batch_size, first: See `undrift.sample`. The small pictures are `low.sample(n, cond, seed=seed)`.
            low, high: Options of `Model.sample` for one stage: scale, sampler, steps, grid.

        Returns:
            `(n, *shape)` in the dtype of the data, clipped to their range.

        Raises:
            UndriftError: as `Model.sample`; `augment` above what the second model was trained with.
        """
        level = self.augment if augment is None else augment
        n, seed, first = whole(n, "n", 1), whole(seed, "seed", 0), whole(first, "first", 0, LARGEST - n)
        self._check(level)
        labels = self.low.labels(n, cond) if self.spec.classes else None
        shared: dict[str, Any] = {"batch_size": batch_size, "first": first}
        small = self.low.sample(n, cond, seed=seed, **shared, **(low or {})).float()
        image = (small - self.spec.units(self.spec.shift, small)) / self.spec.units(self.spec.scale, small)
        noise = Noise(torch.arange(first, first + n)).fold("cascade", seed)
        told = augmented(image, torch.full((n,), level, dtype=torch.float32), noise, labels)
        return self.high.sample(n, told, seed=seed + _OTHER, **shared, **(high or {}))

    def save(self, folder: str | Path) -> None:
        """Write both models, as `low` and `high`, and `cascade.json`, which makes the folder a cascade, last.

        Raises:
            OutputError: something cannot be written.
        """
        folder = Path(folder)
        for name, model in (("low", self.low), ("high", self.high)):
            write_model(model, {"ema": model.denoiser.state_dict()}, folder / name)
        write_text(folder / "cascade.json", json.dumps({"format": FORMAT, "augment": self.augment}) + "\n")

    def _check(self, level: float) -> None:
        assert self.high.upscale is not None
        level = real(level, "augment", finite=False)
        if not 0 <= level <= self.high.upscale.augment:
            raise UndriftError(
                f"augment={level:g} is not in 0..{self.high.upscale.augment:g}, what the second model was trained with"
            )


def load_cascade(path: str | Path, device: str | torch.device = "auto", *, precision: str = "auto") -> Cascade:
    """Load a cascade. Executes nothing: the files are JSON and safetensors.

    Args:
        path: A folder that `Cascade.save` wrote.
        device, precision: Where to put both models, and in which precision they run; see `undrift.load`.

    Raises:
        ModelError: nothing there, or files that are damaged or do not fit each other.
    """
    folder = place_of(path, "path", "name a cascade's folder")
    where = folder / "cascade.json"
    if not where.is_file():
        raise ModelError(f"{folder} holds no cascade (no cascade.json); write one with Cascade.save")
    told = read_json(where, CascadeFacts, ModelError, "a description of a cascade", "restore it or write it again")
    if told.format != FORMAT:
        raise ModelError(f"{where} has format {told.format}, this version of undrift reads format {FORMAT}")
    try:
        low, high = (load(folder / part, device=device, precision=precision) for part in ("low", "high"))
        return Cascade(low, high, told.augment)
    except UndriftError as error:
        raise error if isinstance(error, ModelError) else ModelError(f"{where}: {error}") from None
