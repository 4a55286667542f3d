"""How likely does a model find data: training against held-out, by the flow and by the variational bound."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from undrift.bound import Bins, variational_bound
from undrift.data import Dataset
from undrift.data.files import read_data
from undrift.data.stream import stream
from undrift.denoiser import AnyDenoiser
from undrift.error import UndriftError
from undrift.likelihood import LikelihoodResult, bits_per_dim
from undrift.model import Model
from undrift.noise import Noise
from undrift.run import Run

Unit = Literal["nats", "bits/dim"]
_COLUMNS = ("value", "standard_error", "evaluations", "prior", "prior_gap")


@dataclass(frozen=True)
class Measured:
    """What was found for one set of data.

    Attributes:
        name: Of the data.
        total: Examples in the whole set.
        rows: `(n,)` the examples that were asked about.
        flow: Of the probability flow, `(n,)` each.
        bound: `(n,)` in the unit of `flow` (a lower bound on log p in nats, an upper one on bits/dim), or None.
        seconds: Of the flow and of the bound.
    """

    name: str
    total: int
    rows: Tensor
    flow: LikelihoodResult
    bound: Tensor | None
    bound_evaluations: int
    seconds: tuple[float, float]

    def cells(self) -> list[str]:
        """The row of the table."""
        n = len(self.rows)
        which = f"all {n:,}" if n == self.total else f"a random {n:,} of {self.total:,}"
        bound = ["", ""] if self.bound is None else [_mean(self.bound), f"{self.bound_evaluations}"]
        evaluations = f"{self.flow.evaluations.double().mean():.0f}"
        return [self.name, which, _mean(self.flow.value), evaluations, *bound, f"{sum(self.seconds):.1f}"]


def _mean(values: Tensor) -> str:
    """Mean and its standard error over the examples."""
    if len(values) < 2:
        return f"{values.mean():.4f}"
    return f"{values.mean():.4f} +- {values.std() / math.sqrt(len(values)):.4f}"


def likelihood_of_run(
    model: Model,
    folder: Path,
    data: Path | None = None,
    data_dir: str | None = None,
    n: int = 256,
    *,
    given_class: bool = False,
    bound: bool = True,
    unit: Unit = "bits/dim",
    dequantize: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    tell: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> list[Measured]:
    """Ask a run's model about its training and its held-out data, or about a file.

    Args:
        model: As loaded from `folder`.
        folder: The run.
        data: A file for `read_data`, instead of the run's own data.
        data_dir: Where the run's data are, if no longer where they were.
        n: Examples of each set, drawn by `seed`; all of them where there are no more.
        given_class: log p(x | y) with each example's own class, instead of log p(x).
        bound: The variational bound as well.
        tell: Called with a line about the progress.
        unit, dequantize, seed, batch_size, options: Of `Model.log_likelihood`.

    Raises:
        UndriftError: data that cannot be read or are not the model's kind, classes asked of data without.
        ValueError: options that make no sense.
    """
    if n < 1:
        raise UndriftError(f"-n {n}: ask about at least one example")
    sets = {} if data is None else {data.name: read_data(data, model.spec, given_class)}
    if data is None:
        sets["train"], sets["held-out"] = Run(folder, data_dir).data()
    return [
        _measure(model, name, some, n, given_class, bound, unit, dequantize, seed, batch_size, tell, options)
        for name, some in sets.items()
    ]


def _measure(
    model: Model,
    name: str,
    data: Dataset,
    n: int,
    given_class: bool,
    bound: bool,
    unit: Unit,
    dequantize: int | None,
    seed: int,
    batch_size: int,
    tell: Callable[[str], None],
    options: dict[str, Any],
) -> Measured:
    if given_class and data.labels is None:
        raise UndriftError(f"{name}: there are no classes to be given; leave out --given-class")
    if given_class and data.spec.classes != model.spec.classes:
        raise UndriftError(f"{data.name} has other classes than the model was trained on; give its own --data-dir")
    rows = torch.from_numpy(stream(seed, "likelihood").permutation(len(data))[:n].copy()).sort().values
    parts: list[LikelihoodResult] = []
    bounds: list[Tensor] = []
    calls, spent = 0, [0.0, 0.0]
    for first in range(0, len(rows), max(1, batch_size)):
        some = rows[first : first + max(1, batch_size)]
        tell(f"{name}: {first} of {len(rows)} examples")
        x = data.raw(some)
        labels = data.labels[some.numpy()].tolist() if given_class and data.labels is not None else None
        begun = time.perf_counter()
        parts.append(
            model.log_likelihood(
                x, labels, unit=unit, dequantize=dequantize, seed=seed, index=some, batch_size=batch_size, **options
            )
        )
        spent[0] += time.perf_counter() - begun
        if bound:
            begun = time.perf_counter()
            value, calls = _bound(model, x, labels, some, dequantize, seed)
            bounds.append(bits_per_dim(value, model.spec.size) if unit == "bits/dim" else value)
            spent[1] += time.perf_counter() - begun
    columns = {c: torch.cat([getattr(p, c) for p in parts]).cpu() for c in _COLUMNS}
    flow = LikelihoodResult(**columns, start=parts[0].start, unit=unit)
    return Measured(name, len(data), rows, flow, torch.cat(bounds) if bounds else None, calls, (spent[0], spent[1]))


@torch.no_grad()
def _bound(
    model: Model, x: Tensor, labels: list[int] | None, rows: Tensor, dequantize: int | None, seed: int
) -> tuple[Tensor, int]:
    """A lower bound on log p in data units (log P of integers), nats; and how many evaluations it took."""
    denoiser, bins = bound_end(model, model.spec.integer and dequantize != 0)
    cond, noise = model.labels(len(x), labels), Noise(rows).fold("bound", seed)
    found = variational_bound(denoiser, model.to_model(x), noise=noise, cond=cond, bins=bins)
    return (0.0 if bins is not None else model.spec.log_abs_det()) - found.value.cpu(), found.evaluations


def bound_end(model: Model, integers: bool = True) -> tuple[AnyDenoiser, Bins | None]:
    """The denoiser and the bins with which to ask a model for its bound.

    Of integers the chain ends at a third of their distance, where the discretised decoder can still tell neighbours apart:
    below it the data are points, which a network does not know, and the bound would charge it for that. Any end is legal; this
    one is near the best for a trained network (measured on the digits). A discrete chain ends where it ends.
    """
    bins = Bins.of(model.spec) if integers and model.spec.integer and model.spec.low is not None else None
    denoiser: AnyDenoiser = model.denoiser
    if bins is not None and denoiser.process.levels is None:
        scale = model.spec.scale
        level = torch.tensor(1 / (3 * (max(scale) if isinstance(scale, tuple) else scale)), dtype=torch.float64)
        denoiser = denoiser.using(replace(denoiser.process, t_min=float(denoiser.process.time(-2 * level.log()))))
    return denoiser, bins


def table(measured: list[Measured]) -> list[str]:
    """The results as lines of text."""
    unit = measured[0].flow.unit
    with_bound = measured[0].bound is not None
    head = ["", "examples", f"flow, {unit}", "evaluations", f"bound, {unit}", "evaluations", "seconds"]
    rows = [head, *(m.cells() for m in measured)]
    if not with_bound:
        rows = [[*row[:4], row[6]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def notes(model: Model, measured: list[Measured], divergence: str, probes: int, dequantize: int | None) -> list[str]:
    """What the numbers are, in words."""
    flow, spec = measured[0].flow, model.spec
    draws = int(spec.integer) if dequantize is None else dequantize
    better = "higher is better" if flow.unit == "nats" else "lower is better"
    scale = f"data {spec.low:g}..{spec.high:g}" if spec.low is not None else "data units"
    kind = f"integers, dequantised by {draws} uniform draw{'s' * (draws > 1)}" if draws else "a density: depends on the units"
    how = "exact divergence" if divergence == "exact" else f"divergence by {probes} Hutchinson probe{'s' * (probes > 1)}"
    gap = max(float(m.flow.prior_gap.mean()) for m in measured) / (spec.size * math.log(2) if flow.unit == "bits/dim" else 1)
    lines = [
        f"{better}; {scale}, {kind}; +- is one standard error over the examples; {how}",
        f"noise level {flow.start:g}; the prior costs at most {gap:.2g} {flow.unit} on average",
    ]
    if draws and measured[0].bound is not None:
        lines.append("the two dequantise differently (uniform noise; a discretised decoder), and either may be the tighter one")
    if len(measured) == 2:
        a, b = (m.flow.value for m in measured)
        worse = float(a.mean() - b.mean()) if flow.unit == "nats" else float(b.mean() - a.mean())
        error = math.sqrt(sum(float(v.var()) / len(v) if len(v) > 1 else math.inf for v in (a, b)))
        lines.append(f"held-out data are {worse:.4f} +- {error:.4f} {flow.unit} less likely than training data")
    return lines
