"""Why are my samples not better, and what should I change? The error budget of a model.

Two currencies, which are not exchangeable and are shown beside each other:

- *the metric*, a distance between samples and data (see `undrift.metrics.criterion`): what each part really costs, by repairing it (see `repair`).
  All parts have one, they add up, and it decides which part costs most;
- *nats*, the terms of the bound `KL(data || samples) <= prior + score` for a sampler with noise and infinitely many steps (see `prior`,
  `score`): what a part may cost, and at which noise levels. They see faults that a distance between n samples does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from undrift.argument import function, instance, whole
from undrift.data import Dataset
from undrift.data.stream import stream
from undrift.denoiser import AnyDenoiser, check_denoiser, numbers_like
from undrift.diagnosis.extrapolate import Sized
from undrift.diagnosis.measure import Number
from undrift.diagnosis.prior import PriorGap, prior_gap
from undrift.diagnosis.repair import Repairs, Task, Way, repairs
from undrift.diagnosis.run import as_users_get_them, law_of, notes, size_of
from undrift.diagnosis.score import Examples, ScoreError, score_error
from undrift.error import UndriftError
from undrift.exact import GaussianMixture
from undrift.guidance import guidance_scale
from undrift.metrics import criterion as criteria
from undrift.metrics.criterion import LEAST
from undrift.metrics.reference import Reference
from undrift.model import Model
from undrift.noise import Noise
from undrift.recipe.recipe import SamplingOptions
from undrift.recipe.tables import SAMPLERS
from undrift.run import Run
from undrift.sampler import Sampler
from undrift.synonyms import in_python
from undrift.times import Grid
from undrift.tuning.setting import names

KNOWN_POINTS = 10_000  # training examples that the score is held against
MOMENTS = 2_000  # of these the moments of the data are taken
MOSTLY = 0.5  # share of the worst fault that the other weights take away, from which they are named first


@dataclass(frozen=True)
class Budget:
    """What was found.

    Attributes:
        n: Samples of each stage.
        way: How samples were drawn.
        task: What was sampled, and the metric with its floor.
        repairs: The parts in the metric.
        prior, score: The parts in nats.
        notes: What the data did not allow.
    """

    n: int
    way: Way
    task: Task
    repairs: Repairs
    prior: PriorGap
    score: ScoreError
    notes: tuple[str, ...]

    @property
    def faults(self) -> dict[str, Number]:
        """What surely worsens the metric, the worst first: "discretisation", "prior", "guidance", "score", "ema".

        Common noise shows differences far below what n samples could tell otherwise; those smaller than the error bar of what is left
        in the end are no faults. The other weights come first where they would take away most of what is wrong, since a network's
        weights are then good, and only their average is not.
        """
        left, parts = self.repairs.parts["finite sample"].error, self.parts
        sure = {k: v for k, v in parts.items() if v.sure and v.value > left}
        most = max((v.value for v in sure.values()), default=0.0)
        return dict(sorted(sure.items(), key=lambda item: (item[0] != "ema" or item[1].value < MOSTLY * most, -item[1].value)))

    @property
    def parts(self) -> dict[str, Number]:
        """All that can be a fault: the parts of the metric, and what the other weights would take away."""
        found = {k: v for k, v in self.repairs.parts.items() if k != "finite sample"}
        return found if self.repairs.ema is None else {**found, "ema": self.repairs.ema}

    @property
    def hidden(self) -> dict[str, Number]:
        """What surely costs more nats than n samples are blind to, though their metric does not show it; the worst first."""
        found = {"prior": self.prior.nats, "score": self.score.best}
        sure = {k: v.at_least for k, v in found.items() if v.counts(self.n) and k not in self.faults}
        return dict(sorted(sure.items(), key=lambda item: -item[1].value))

    @property
    def culprit(self) -> str | None:
        """The part that costs most: in the metric where anything shows there, else in nats; None if nothing is found."""
        return next(iter([*self.faults, *self.hidden]), None)


@in_python
def diagnose(
    model: Model | AnyDenoiser,
    law: GaussianMixture | None = None,
    n: int = 1000,
    *,
    folder: str | Path | None = None,
    data_dir: str | None = None,
    sampler: str | Sampler | None = None,
    steps: int | None = None,
    grid: str | Grid | None = None,
    scale: float | None = None,
    w: float | None = None,
    metric: str | None = None,
    other: AnyDenoiser | None = None,
    smaller: Sequence[Sized] = (),
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Budget:
    """Split the distance between samples and data into prior, score, discretisation, guidance, EMA and finite sample.

    Args:
        model: A model loaded from `folder`, or any denoiser together with the `law` of its data.
        law: The law of the data of a denoiser, for the exact score.
        n: Samples of each stage; at least 50.
        folder: The run, which names the data and keeps the classifier.
        data_dir: Where the data are, if no longer where they were.
        sampler, steps, grid: Names or objects; default: the model's own, and of a denoiser those of `undrift.sample`.
        scale, w: Guidance scale; default: the model's own. Given with a law, classes are asked for: the mixture's labels.
        metric: What samples of a run are compared by, one of `undrift.metrics.criterion.comparable()`; default as for `frontier`.
        other: Another denoiser of the same training, such as its raw weights beside the averaged ones. Of a run: found there.
        smaller: Other runs, as of `run.smaller_runs`: the floor of the score is extrapolated over them, where it is not known.
        seed: Names noise, classes and examples.
        tell: Called with a line about the progress.

    Returns:
        A `Budget`; `undrift.diagnosis.report` makes a table, sentences, a picture and JSON of it.

    Raises:
        UndriftError: fewer than 50 samples, unknown names, a model without its data, data that are missing or too few.
        ValueError: a denoiser without a law, a law of another shape.

    Cost: sampling 4 to 9 times, half of them with twice the steps or more; and 12 evaluations for each held-out and each training example that is asked about.

    Example:
        >>> law = undrift.GaussianMixture([[-1.0], [1.0]], 0.4)
        >>> undrift.diagnose(law, law, 100, steps=20).culprit is None
        True
    """
    n, seed = whole(n, "n"), whole(seed, "seed", 0)
    function(tell, "tell", "give a function of a line")
    if not isinstance(model, Model):
        check_denoiser(model, "model")
        if law is not None:
            instance(law, "law", GaussianMixture, "give the law of the data, such as a GaussianMixture")
    if other is not None:
        check_denoiser(other, "other")
    if n < LEAST:
        raise UndriftError(f"-n {n}: too few samples for error bars; ask for at least {LEAST}")
    criteria.check_comparable(metric)
    given = None if scale is None and w is None else float(guidance_scale(scale, w))
    if given is not None and not math.isfinite(given):
        raise UndriftError("a guidance scale is a finite number, such as --scale 2 or -w 1")
    if isinstance(model, Model):
        if folder is None:
            raise UndriftError(
                "a model alone does not say what its data are: give the run's folder (folder=), or a denoiser with its law"
            )
        options = _options(model.sampling, sampler, steps, grid)
        instance(folder, "folder", (str, PathLike), "name the run's folder")
        return _of_run(model, Path(folder), data_dir, n, options, given, metric, other, smaller, seed, tell)
    if metric is not None:
        raise ValueError("with a law samples are compared by their energy distance to exact draws; leave out `metric`.")
    if law is None:
        raise ValueError("a denoiser alone has no data to be held against: give the `law` of its data as well.")
    if smaller:
        raise ValueError("with a law the floor is known: `smaller` is for models of data whose law is not.")
    options = _options(SamplingOptions(), sampler, steps, grid)
    return _of_law(model, law, n, options, given, other, seed, tell)


Options = tuple[Sampler, int, Grid]


def _options(usual: SamplingOptions, sampler: str | Sampler | None, steps: int | None, grid: str | Grid | None) -> Options:
    name = usual.sampler if sampler is None else sampler
    if not isinstance(name, str):
        instance(name, "sampler", Sampler, "give a sampler, such as undrift.ABM(), or the name of one")
    chosen = name if isinstance(name, Sampler) else SAMPLERS[names("sampler", [name], SAMPLERS)[0]]
    count = usual.steps if steps is None else whole(steps, "steps")
    if count < 1:
        raise UndriftError(f"--steps {count}: ask for at least one step")
    return (
        chosen,
        count,
        usual.layout(grid) if grid is None or isinstance(grid, str) else function(grid, "grid", "take one of undrift.times"),
    )


def _of_law(
    denoiser: AnyDenoiser,
    law: GaussianMixture,
    n: int,
    options: Options,
    scale: float | None,
    other: AnyDenoiser | None,
    seed: int,
    tell: Callable[[str], None],
) -> Budget:
    if denoiser.shape is not None and denoiser.shape != law.shape:
        raise ValueError(f"the denoiser's samples are {denoiser.shape} and the law's {law.shape}: give the law of its data.")
    noise = Noise(range(n)).fold("diagnose", seed)
    k = torch.multinomial(law.log_weights.exp(), n, True, generator=torch.Generator().manual_seed(seed))
    real, cond = law.draw(k, noise), None if scale is None else law.labels[k]
    tell("drawing from the law")
    task = Task(n, law.shape or (), cond, criteria.of_draws(law, n, seed), seed)
    way = Way(denoiser, *options, 1.0 if scale is None else scale)
    exact = copy(law)
    exact.process = denoiser.process  # the same mixture under this noise
    fixed = repairs(task, way, real, exact, other, tell)
    tell("asking the denoiser at every noise level")
    like = numbers_like(denoiser)
    error = score_error(denoiser, Examples(real.to(like), cond), noise.fold("score"), exact)
    prior = prior_gap(denoiser.process, real, exact, noise.fold("prior"))
    return Budget(n, way, task, fixed, prior, error, fixed.notes)


def _of_run(
    model: Model,
    folder: Path,
    data_dir: str | None,
    n: int,
    options: Options,
    scale: float | None,
    metric: str | None,
    other: AnyDenoiser | None,
    smaller: Sequence[Sized],
    seed: int,
    tell: Callable[[str], None],
) -> Budget:
    if model.upscale is not None:
        raise UndriftError(f"{folder}: this model enlarges pictures and has no samples of its own; diagnose the model before it")
    tell("reading the data")
    train, held_out = Run(folder, data_dir).data_of(model)
    told = bool(model.spec.classes) or model.reads_text
    if scale is not None and not told:
        raise UndriftError("a guidance scale needs classes, and these data have none; leave it out")
    if min(len(train), len(held_out)) < LEAST:
        raise UndriftError(
            f"{train.name}: {len(train)} training and {len(held_out)} held-out examples; a diagnosis needs {LEAST} of each"
        )
    rows = torch.from_numpy(stream(seed, "diagnose").permutation(len(held_out))[:n].copy())
    fresh = _examples(held_out, rows, told)
    many = rows.repeat(-(-n // len(rows)))[:n]  # more samples than held-out examples: these start, and ask, more than once
    asked = _examples(held_out, many, told)
    tell("measuring real data")
    labels = asked.cond if isinstance(asked.cond, Tensor) and len(set(asked.cond.tolist())) > 1 else None
    reference = Reference(train, held_out, n, seed, folder, "frontier", LEAST, device=model.device)
    compared = criteria.of_data(reference, labels, metric)
    usual = model.sampling.scale if told else 1.0
    task = Task(n, model.spec.shape, asked.cond, compared, seed, as_users_get_them(model))
    way = Way(model.denoiser, *options, usual if scale is None else scale)
    law = law_of(model, folder)
    fixed = repairs(task, way, asked.x, law, other, tell)
    tell("asking the denoiser at every noise level")
    some = torch.from_numpy(stream(seed, "diagnose", "train").permutation(len(train))[:KNOWN_POINTS].copy())
    known = _examples(train, some, told)
    noise = Noise(range(len(rows))).fold("diagnose", seed)
    size = size_of(model, folder) if smaller else 1.0
    error = score_error(model.denoiser, fresh, noise.fold("score"), law, known, size, smaller)
    moments = known.x[:MOMENTS]
    prior = prior_gap(model.denoiser.process, moments, law, Noise(range(len(moments))).fold("diagnose", seed).fold("prior"))
    return Budget(n, way, task, fixed, prior, error, (*fixed.notes, *notes(model, len(moments), len(held_out), n)))


def _examples(data: Dataset, rows: Tensor, told: bool) -> Examples:
    return Examples(data.batch(rows)[0], data.condition(rows) if told else None)
