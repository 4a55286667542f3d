"""The frontier of a model: how good samples are for how many evaluations, over samplers and grids; and which setting to use.

Every setting starts from the same noise and is asked for the same classes, so what is compared is the setting (see `race`). The
recommendation is the cheapest setting within the error bars of the best: whose difference to it is at most two standard errors of
that difference. Of equally cheap ones the model keeps its own (see `choice`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.data.stream import stream
from undrift.denoiser import AnyDenoiser, numbers_like
from undrift.error import UndriftError
from undrift.exact import GaussianMixture
from undrift.guidance import guidance_scale
from undrift.metrics import criterion as criteria
from undrift.metrics.criterion import LEAST, Criterion
from undrift.metrics.reference import Reference
from undrift.model import Model
from undrift.noise import Noise
from undrift.recipe.recipe import SamplingOptions
from undrift.recipe.tables import GRIDS, SAMPLERS
from undrift.run import Run
from undrift.sampler import fit_grid, sample
from undrift.times import Fitted, in_units
from undrift.tuning.setting import Setting, names, possible
from undrift.tuning.successive_halving import Draw, Row, best, race, recommend

EVALUATIONS = (5, 8, 10, 15, 20)
USUAL_SAMPLERS = (
    "velocity-abm", "velocity-ab", "abm", "unipc", "dpm2m", "dpm3m", "deis", "plms", "heun", "sde-dpm2m", "ancestral",
)  # fmt: skip
FITTED_ON = 32  # samples
SINGLE = torch.empty(0, dtype=torch.float32)  # what a denoiser without parameters is sampled in, whatever the default dtype is
USUAL_GRIDS = ("straight", "trailing", "log_snr", "karras", "fitted")


@dataclass(frozen=True)
class Frontier:
    """All that was measured, by evaluations, and what follows from it.

    Attributes:
        rows: One for each setting.
        criterion: The metric and its floor.
        scale: Guidance scale; None without classes.
        notes: What was left out, and why.
        fitted: The levels of the fitted grid.
        present: How the model samples now; None where its cost is not known beforehand, or its fitted grid is another one now.
        best: The row with the best metric of those with the most samples.
        recommended: The cheapest within the error bars of the best; of equally cheap ones the present one.
    """

    rows: tuple[Row, ...]
    criterion: Criterion
    scale: float | None = None
    notes: tuple[str, ...] = ()
    fitted: tuple[tuple[float, ...], ...] | None = None
    present: Setting | None = None
    best: Row = field(init=False)
    recommended: Row = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "best", best(self.rows))
        object.__setattr__(self, "recommended", recommend(self.rows, self.present))


def frontier(
    model: Model | GaussianMixture,
    n: int = 1000,
    *,
    folder: Path | None = None,
    data_dir: str | None = None,
    evaluations: Sequence[int] = EVALUATIONS,
    samplers: Sequence[str] | None = None,
    grids: Sequence[str] | None = None,
    scale: float | None = None,
    w: float | None = None,
    metric: str | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Frontier:
    """Measure samplers, grids and numbers of evaluations on a model, or on an exact law.

    Args:
        model: A model loaded from `folder`, or a mixture, whose denoiser is exact.
        n: Samples of each setting that stays to the end; at least 50.
        folder: The run, which names the data and keeps the classifier.
        data_dir: Where the data are, if no longer where they were.
        evaluations: Numbers of evaluations of the denoiser to spend on a sample.
        samplers, grids: Names, or "all"; default: `USUAL_SAMPLERS`, `USUAL_GRIDS`. The grid "fitted" is measured first.
        scale, w: Guidance scale; default: the model's own.
        metric: What settings of a model are compared by, one of `undrift.metrics.criterion.comparable()`; default: the Fréchet distance of
            images with classes, the energy distance of everything else.
        seed: Names noise, classes and examples.
        tell: Called with a line about the progress.

    Raises:
        UndriftError: fewer than 50 samples, unknown names, evaluations below 1, data that are missing, too few or not the model's.
    """
    if n < LEAST:
        raise UndriftError(f"-n {n}: too few samples to tell settings apart; ask for at least {LEAST}")
    criteria.check_comparable(metric)
    if not evaluations or min(evaluations) < 1 or max(evaluations) > 1000:
        raise UndriftError("numbers of evaluations are whole numbers from 1 to 1,000; write --evaluations 5,10,20")
    chosen = names("sampler", _all(samplers, USUAL_SAMPLERS, SAMPLERS), SAMPLERS)
    wanted = names("grid", _all(grids, USUAL_GRIDS, (*GRIDS, "fitted")), dict.fromkeys((*GRIDS, "fitted")))
    present, strength = None, None
    guided: AnyDenoiser
    if isinstance(model, GaussianMixture):
        if metric is not None:
            raise ValueError("with a law samples are compared by their energy distance to exact draws; leave out `metric`.")
        compared, guided, shape = criteria.of_law(model, n, seed), model, model.shape or ()
    else:
        if folder is None:
            raise ValueError("a model's data are found through its run: give `folder`.")
        train, held_out = Run(folder, data_dir).data_of(model)
        labels = None
        if train.labels is not None and model.spec.classes:
            like = stream(seed, "frontier classes").integers(0, len(train), n)
            labels = torch.from_numpy(train.labels[like])
            strength = model.sampling.scale if scale is None and w is None else float(guidance_scale(scale, w))
        elif scale is not None or w is not None:
            raise UndriftError("a guidance scale needs classes, and these data have none; leave it out")
        guided, _ = model.guided(FITTED_ON, None if labels is None else labels[:FITTED_ON].tolist(), strength)
        tell("reading the data")
        reference = Reference(train, held_out, n, seed, folder, "frontier", LEAST, device=model.device)
        compared = criteria.of_data(reference, labels, metric)
        present, shape = present_setting(model), model.spec.shape
    fitted = None
    if "fitted" in wanted:
        tell("fitting a grid")
        fitted = _fit(guided, shape, evaluations, seed)
        if isinstance(model, Model):
            if present is not None and present.grid == "fitted" and fitted.levels != model.sampling.fitted:
                present = None
            model = replace(model, sampling=model.sampling.model_copy(update={"fitted": fitted.levels}))
    layouts = {name: grid for name in wanted if (grid := GRIDS.get(name, fitted)) is not None}
    settings, notes = possible(in_units(guided.process, guided.unit), chosen, layouts, evaluations)
    if not settings:
        raise UndriftError(f"no setting is left to measure: {'; '.join(notes)}")
    draw = _draw_law(model, seed, layouts) if isinstance(model, GaussianMixture) else _draw_model(model, labels, strength, seed)
    rows, more = race(draw, compared, settings, n, evaluations, present, tell)
    return Frontier(rows, compared, strength, (*notes, *more), None if fitted is None else fitted.levels, present)


def _all(given: Sequence[str] | None, usual: Sequence[str], table: Iterable[str]) -> Sequence[str]:
    return usual if given is None else list(table) if list(given) == ["all"] else given


def _fit(denoiser: AnyDenoiser, shape: tuple[int, ...], evaluations: Sequence[int], seed: int) -> Fitted:
    """A grid fitted to the denoiser for the numbers of steps that the budgets allow."""
    like = numbers_like(denoiser)
    noise = Noise(range(FITTED_ON)).fold("fit", seed)
    steps = sorted({max(2, budget) for budget in evaluations})
    return fit_grid(denoiser, like.new_empty(FITTED_ON, *shape), noise, steps=steps)


def present_setting(model: Model) -> Setting | None:
    """How the model samples now; None where its cost is not known beforehand."""
    usual = model.sampling
    cost = SAMPLERS[usual.sampler].evaluations(usual.steps)
    return None if cost is None else Setting(usual.sampler, usual.grid, usual.steps, cost)


def sampling_of(model: Model, found: Frontier) -> SamplingOptions:
    """The model's defaults with the recommended setting, and the guidance scale that it was measured at."""
    setting = found.recommended.setting
    update: dict[str, Any] = {"sampler": setting.sampler, "grid": setting.grid, "steps": setting.steps}
    if found.scale is not None:
        update["scale"] = found.scale
    if found.fitted is not None:
        update["fitted"] = found.fitted
    return model.sampling.model_copy(update=update)


def _draw_model(model: Model, labels: Tensor | None, scale: float | None, seed: int) -> Draw:
    def draw(s: Setting, first: int, count: int) -> Tensor:
        cond = None if labels is None else labels[first : first + count].tolist()
        y = model.draw(count, cond, scale=scale, sampler=s.sampler, steps=s.steps, grid=s.grid, seed=seed, first=first)
        return model.spec.to_model(model.spec.from_model(y)).cpu()  # as users get them: clipped, and whole where data are

    return draw


def _draw_law(law: GaussianMixture, seed: int, layouts: Mapping[str, Any]) -> Draw:
    def draw(s: Setting, first: int, count: int) -> Tensor:
        return sample(law, count, SAMPLERS[s.sampler], s.steps, seed, grid=layouts[s.grid], first=first, like=SINGLE)

    return draw
