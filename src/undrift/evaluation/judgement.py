"""All that is found about a run: figures beside their floors, copies, class frequencies, and what to be careful about."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.data import Dataset
from undrift.error import UndriftError
from undrift.evaluation.gauge import Gauge, Space, gauge, pick
from undrift.evaluation.verdict import data_of_model
from undrift.evaluation.warnings import warnings
from undrift.metrics.balance import Balance, balance
from undrift.metrics.figure import Figure, Recognised, Share
from undrift.metrics.inception_space import inception_space
from undrift.metrics.memorization import Memory
from undrift.metrics.registry import KINDS
from undrift.metrics.vectors import Column, columns
from undrift.model import Model


@dataclass(frozen=True, repr=False)
class Judgement:
    """What was found about one run.

    Attributes:
        run: Its folder.
        drawn: How samples were drawn, in words.
        n, measured: Samples drawn; and those that figures are of.
        spaces: Where distances were measured, in words; each with the figures that belong to it, by key of `KINDS`.
        figures: Those that were measured.
        missing: Why the others were not. Beside the keys of `KINDS`, "recognised" and "balances".
        memories: Likeness to training examples, in one or two spaces.
        recognised: For images with classes; None where missing.
        balances: Class frequencies, "samples" and "held-out data" by the same judge; empty where missing.
        columns: Of vectors, each column by itself, the worst first.
        warnings: What to be careful about.
        likelihood: Lines of a table, where it was asked for.
        samples: `(n, *shape)` in model space.
        seconds: Spent drawing.
    """

    run: str
    drawn: str
    n: int
    measured: int
    spaces: dict[str, tuple[str, ...]]
    figures: dict[str, Figure]
    missing: dict[str, str]
    memories: list[Memory]
    recognised: Recognised | None
    balances: dict[str, Balance]
    columns: list[Column]
    warnings: list[str]
    likelihood: list[str]
    samples: Tensor
    seconds: float

    def __repr__(self) -> str:
        """One line; `str` is the report."""
        worse = [f.kind.name for f in self.figures.values() if f.verdict == "worse than real data"]
        named = f": {', '.join(worse)}" * bool(worse)
        return f"Judgement of {self.n:,} samples: {len(worse)} of {len(self.figures)} metrics are worse than real data{named}"

    def __str__(self) -> str:
        from undrift.evaluation.report import lines

        return "\n".join(lines([self]))


@dataclass(frozen=True)
class Ground:
    """What all runs that are compared have in common: their data, and the gauge."""

    train: Dataset
    held_out: Dataset
    gauge: Gauge


def ground(
    models: dict[str, Model],
    folders: list[Path],
    n: int,
    data_dir: str | None = None,
    seed: int = 0,
    inception: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Ground:
    """Check that runs are of the same data, and make their gauge.

    Args:
        inception: Weights of the Inception network, to measure in its features as well.
        tell: Called with a line about the progress.

    Raises:
        UndriftError: they are not, or the data are too few, or the weights are none.
    """
    sets = [data_of_model(model, folder, data_dir) for model, folder in zip(models.values(), folders, strict=True)]
    first = [part.content_hash() for part in sets[0]]
    for (train, held_out), folder in zip(sets[1:], folders[1:], strict=True):
        if [train.content_hash(), held_out.content_hash()] != first:
            raise UndriftError(
                f"{folder} was trained on other data than {folders[0]}, or another part of them; figures of different data are "
                "not comparable, so evaluate them one by one"
            )

    def more(train: Dataset, held_out: Dataset, m: int) -> Space:
        assert inception is not None
        return inception_space(inception, train, held_out, m, seed, folders[0], tell)

    return Ground(*sets[0], gauge(*sets[0], n, seed, folders[0], None if inception is None else more))


def judge(model: Model, folder: Path, on: Ground, n: int, drawn: str, likelihood: list[str], **options: Any) -> Judgement:
    """Draw `n` samples, of the classes of the held-out examples they are compared with (any more: of training examples), and measure.

    Runs that are compared get the same classes and, by `seed`, the same noise.

    Args:
        model: As loaded from `folder`.
        on: From `ground`.
        drawn: How, in words, for the report.
        likelihood: Lines, for the report.
        options: Of `Model.draw`.
    """
    classes, ruler = model.spec.classes, on.gauge
    labels = _labels(on, n)
    start = time.perf_counter()
    y = _shown(model, model.draw(n, None if labels is None else labels.tolist(), **options))
    seconds = time.perf_counter() - start
    m = ruler.samples
    figures: dict[str, Figure] = {}
    missing: dict[str, str] = {}
    spaces: dict[str, tuple[str, ...]] = {}
    for space in ruler.spaces:
        own = space.figures(y[:m], None if labels is None else labels[:m])
        figures |= {k: Figure(KINDS[k], e, space.floor[k], ruler.shares.get(k, 0)) for k, e in own.items()}
        missing |= space.missing
        spaces[space.name] = (*own, *space.missing)
    recognised, balances = None, {}
    if ruler.judge is not None and labels is not None:
        right, known = ruler.judge.classify(y) == labels, ruler.judge.held_out
        by_class = {c: Share(int(right[labels == k].sum()), int((labels == k).sum())) for k, c in enumerate(classes)}
        floor = Share(round(ruler.judge.accuracy * known), known)
        recognised = Recognised(Share(int(right.sum()), n), {c: s for c, s in by_class.items() if s.n}, floor)
        if model.trained.get("label_dropout") != 0:
            plain = {k: v for k, v in options.items() if k in ("sampling", "sampler", "steps", "grid", "seed")}
            free = ruler.judge.classify(_shown(model, model.draw(n, None, **plain)))
            shares = torch.from_numpy(on.train.labels)
            unseen = ruler.judge.classify(pick(on.held_out, len(on.held_out), 0)[0])
            balances = {"samples": balance(free, shares, classes), "held-out data": balance(unseen, shares, classes)}
        else:
            missing["balances"] = "the model never learnt to choose a class by itself (label_dropout is 0)"
    elif ruler.judge is None and labels is not None and "inception" not in missing:
        why = "a classifier is trained of pictures of at least 8 x 8 only"
        missing |= {"recognised": why, "balances": why}
    elif "inception" in missing:
        missing |= {"recognised": missing["inception"], "balances": missing["inception"]}
    flat = () if "energy" not in figures else columns(y[:m], pick(on.train, 5000, 0)[0])
    return Judgement(
        str(folder), drawn, n, m, spaces, figures, missing, ruler.memories(y), recognised, balances, list(flat),
        warnings(ruler, on.train, n, balances), likelihood, y, seconds,
    )  # fmt: skip


def _labels(on: Ground, n: int) -> Tensor | None:
    """`(n,)` classes: first those of the held-out examples of the floor, then of training examples in turn; None without labels."""
    if on.gauge.classes is None:
        return None
    _, more = pick(on.train, len(on.train), 0)
    assert more is not None
    return torch.cat([on.gauge.classes, more.repeat(n // len(more) + 1)])[:n]


def _shown(model: Model, y: Tensor) -> Tensor:
    """Samples as the user gets them, rounded and clipped, in model space."""
    return model.spec.to_model(model.spec.from_model(y))
