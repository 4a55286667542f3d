"""A trained model: a denoiser, the spec of its data, and how it likes to be sampled.

On disk a model is two files, neither of which can execute anything: `model.json` (architecture, process, target, data spec,
versions) and `model.safetensors` (raw and EMA weights).
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, Unpack

import torch
from torch import Tensor

from undrift.argument import choice, instance, real, said, whole
from undrift.asked import (
    Asked,
    Guidance,
    GuidanceWords,
    OtherModel,
    Sampling,
    Words,
    as_numbers,
    as_sampler,
    check_words,
    each_of,
    guidance_of,
    named,
    none_left,
    sampling_of,
)
from undrift.condition import Condition, for_samples
from undrift.data.spec import Spec
from undrift.denoiser import AnyDenoiser, Denoiser, numbers_like
from undrift.description import FORMAT
from undrift.device import choose_device
from undrift.distributed.processes import here
from undrift.error import UndriftError
from undrift.guidance import DataEdit, Edit, Interval, Mix, NoisyClassifier, Tilt, guidance_scale
from undrift.imputation import impute
from undrift.imputation.measured import by_particles
from undrift.inverse import Operator
from undrift.inverse.posterior import Method
from undrift.likelihood import Dequantize, LikelihoodResult, bits_per_dim, decode, encode, interpolate, log_likelihood, round_trip
from undrift.plot.show import Samples
from undrift.progress import shown
from undrift.recipe.conditions import ConditionKind, MeasuredOptions, ReadText, UpscaleOptions, condition_of
from undrift.recipe.recipe import SamplingOptions
from undrift.recipe.tables import IMPUTATIONS
from undrift.restoration import restored
from undrift.sampler import Sampler, State, batches
from undrift.sampler.run import to_file
from undrift.storage import affordable

_OPTIONS = ("callback", "batch_size", "first", "start", "strength", "edit", "seed")  # of `undrift.sample`, besides `edit`
_SAMPLE = (*_OPTIONS, "out")


@dataclass(repr=False)
class Model:
    """A denoiser with its data spec.

    Its methods take and give data in data units, on the CPU as data are, and compute where its network is. What is in model space
    (`draw`, `guided`, `to_model`) stays there.

    Attributes:
        denoiser: In model space.
        spec: The map between model space and data units, and the classes.
        parts: What the denoiser is built from: `network`, `process`, `target`, `sigma_data`.
        sampling: Defaults of `sample`.
        trained: Facts about the training: recipe, steps, examples, seconds.
    """

    denoiser: Denoiser
    spec: Spec
    parts: dict[str, Any]
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    trained: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shape, classes = " x ".join(map(str, self.spec.shape)), len(self.spec.classes)
        told = f", {classes} classes" * bool(classes)
        usual = f"{self.sampling.sampler} in {self.sampling.steps} steps"
        return (
            f"Model: {self.trained.get('data', 'data')} of shape {shape}{told}; {self.parameters:,} parameters, "
            f"{type(self.denoiser.process).__name__}, {self.trained.get('steps', 0):,} steps of training; samples by {usual}"
        )

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in self.about().items())
        return f"<table>{rows}</table>"

    @property
    def device(self) -> torch.device:
        """Where its network is, and so where it computes."""
        return numbers_like(self.denoiser).device

    def to(self, device: str | torch.device) -> Self:
        """Move it to a device, by name as `undrift.load` takes it; returns itself. Raises UndriftError for one that is not there."""
        self.denoiser.to(choose_device(device))
        return self

    def about(self) -> dict[str, str]:
        """What it is, by name: data, classes, network, process, training, sampling."""
        spec, parts, trained, usual = self.spec, self.parts, self.trained, self.sampling
        bounds = "unbounded" if spec.low is None else f"{spec.low:g} to {spec.high:g}{' (integers)' if spec.integer else ''}"
        network = ", ".join(f"{k}={v}" for k, v in parts["network"].items() if k != "kind")
        told = self.told
        rows = {
            "data": f"{trained.get('data', '?')}: shape {spec.shape}, values {bounds}",
            "classes": ", ".join(spec.named()) or "none",
            **({} if told is None else {"reads": told.reads(spec)}),
            "network": f"{parts['network']['kind']} ({network}), {self.parameters:,} parameters",
            "process": str(self.denoiser.process),
            "target": f"{parts['target']}, sigma_data {parts['sigma_data']:g}",
            "trained": f"{trained.get('steps', 0)} steps, {trained.get('examples', 0):,} examples, "
                       f"{trained.get('seconds', 0):.0f} s, recipe {trained.get('recipe', '?')}",
            "samples with": f"{usual.sampler}, {usual.steps} steps on the {usual.grid} grid, "
                            f"guidance scale {usual.scale:g} (w = {usual.scale - 1:g})",
        }  # fmt: skip
        if usual.fitted is not None:
            steps = ", ".join(str(len(levels)) for levels in usual.fitted)
            rows["fitted grid"] = f"measured for {steps} steps; other numbers are interpolated from the nearest"
        return rows

    @shown("sampling")
    def sample(
        self,
        n: int,
        cond: Asked = None,
        *,
        guidance: Guidance | None = None,
        sampling: Sampling | None = None,
        callback: Callable[[State], None] | None = None,
        batch_size: int = 256,
        first: int = 0,
        start: Tensor | None = None,
        strength: float = 1.0,
        edit: DataEdit | None = None,
        out: str | Path | None = None,
        **words: Unpack[Words],
    ) -> Samples:
        """Draw samples in data units.

        Args:
            n: How many.
            cond: A class (name or number) or a text for all, or one for each; or a `Condition`. None: whatever the data hold.
            guidance, sampling: Towards what and how strongly, and in which steps; or the same in words:
            words: `scale`, `w`, `guide`, `interval` and `rescale` as `undrift.Guidance` has them; `sampler`, `steps`, `grid` and `seed`
                as `undrift.Sampling` has them. Default: the model's own.
            start: `(n, *shape)` data in data units to start from, with `strength` the share of the steps that is run: image to
                image. Default: pure noise.
            edit: What to do to every prediction of the data, in model space: `undrift.guidance.clip(-1, 1)`, `dynamic_threshold()`.
            out: A `.npy` file to write the samples to, batch by batch, so that memory does not grow with n.
            callback, batch_size, first: See `undrift.sample`.

        Returns:
            `(n, *shape)` in the dtype of the data (uint8 for 8-bit images), clipped to their range. A tensor that shows itself as a
            picture in a notebook (`undrift.show`).

        Raises:
            UndriftError: unknown class, sampler or grid; a class asked of a model without classes.
            ValueError: numbers that make no sense; a value and words for the same.
        """
        n = whole(n, "n", 1)
        if out is not None:
            instance(out, "out", (str, Path), "name a .npy file")
        else:
            affordable(f"n = {n}", n, self.spec.size)
        if start is not None:
            start = self.to_model(start, "start")
        options = dict(callback=callback, batch_size=batch_size, first=first, start=start, strength=strength, edit=edit)
        parts = self._batches(n, guidance_of(cond, guidance, words), sampling_of(sampling, words), options, words)
        shape, done = (n, *self.spec.shape), (self.spec.from_model(part).cpu() for part in parts)
        return Samples.of(torch.cat(list(done)) if out is None else to_file(Path(out), shape, done), self.spec)

    @shown("sampling")
    def draw(
        self,
        n: int,
        cond: Asked = None,
        *,
        guidance: Guidance | None = None,
        sampling: Sampling | None = None,
        **options: Any,
    ) -> Tensor:
        """As `sample`, but in model space, unclipped float32."""
        n = whole(n, "n", 1)
        affordable(f"n = {n}", n, self.spec.size)
        asked, walk = guidance_of(cond, guidance, options), sampling_of(sampling, options)
        return torch.cat(list(self._batches(n, asked, walk, options)))

    def _batches(
        self, n: int, guidance: Guidance, sampling: Sampling, options: dict[str, Any], strange: Mapping[str, Any] | None = None
    ) -> Iterator[Tensor]:
        n = whole(n, "n", 1)
        none_left(dict(strange or {}), _SAMPLE)
        none_left({k: v for k, v in options.items() if k not in _OPTIONS}, _OPTIONS)
        denoiser, labels = self._guided(n, guidance, self.sampling.scale)
        if (edit := options.pop("edit", None)) is not None:
            denoiser = Edit(denoiser, edit)
        chosen = as_sampler(self.sampling.sampler if sampling.sampler is None else sampling.sampler)
        count = self.sampling.steps if sampling.steps is None else sampling.steps
        layout, shape = self.sampling.layout(sampling.grid), (n, *self.spec.shape)
        options["seed"] = sampling.seed
        return batches(denoiser, shape, chosen, count, cond=labels, grid=layout, processes=here(), **options)

    def guided(
        self,
        n: int,
        cond: Asked = None,
        scale: float | None = None,
        w: float | None = None,
        *,
        guidance: Guidance | None = None,
    ) -> tuple[AnyDenoiser, Tensor | Condition | None]:
        """The denoiser that `sample` would use for these classes and this guidance, bound to them; and what is bound."""
        words = {name: value for name, value in (("scale", scale), ("w", w)) if value is not None}
        denoiser, labels = self._guided(n, guidance_of(cond, guidance, words), self.sampling.scale)
        labels = for_samples(labels, n, self.device)
        return (denoiser if labels is None else denoiser.given(labels)), labels

    @shown("imputing")
    def impute(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        draws: int = 8,
        cond: Asked = None,
        *,
        method: str = "repaint",
        guidance: Guidance | None = None,
        sampling: Sampling | None = None,
        **options: Any,
    ) -> Samples:
        """Fill in what is missing, several times, in data units.

        Args:
            x: `(B, *shape)` in data units; what is missing may be anything, also NaN.
            mask: `shape` or `(B, *shape)` bool, True where the value is known. Default: where `x` is not NaN.
            draws: How many for each input.
            cond: A class or a text for all, or one for each; or a `Condition`. None: whatever fits.
            method: "repaint", "particles", "mmps" (a gradient at every step), "replace" or "langevin"; `undrift.imputation.known` and
                `undrift.imputation.measured` say how far each is to be trusted.
            guidance, sampling: As for `sample`, or the same in words; the default of the sampler and the steps is the method's own.
            options: Of `undrift.impute`: first, batch_size, callback; of particles: first, particles, noise_std.

        Returns:
            `(draws, B, *shape)`: known values as in `x`, bit for bit; integers in the dtype of the data, floats in that of `x`.

        Raises:
            UndriftError: known values of another shape, out of range, not whole where they should be, NaN; a mask that does not
                fit; an unknown class, method, sampler or grid.
            ValueError: numbers that make no sense.
        """
        x, draws = as_numbers(x), whole(draws, "draws", 1)
        if mask is None and not bool(torch.isnan(x).any()):
            raise UndriftError("nothing is missing: give a mask that is False where values are wanted, or NaN there")
        affordable(f"draws = {draws}", draws, x.numel())
        x = x.cpu()
        mask = ~torch.isnan(x) if mask is None else as_numbers(mask, "mask").cpu()
        if mask.dtype != torch.bool or mask.shape not in (x.shape, x.shape[1:]):
            raise UndriftError(
                f"the mask is {tuple(mask.shape)} {mask.dtype} but the data are {tuple(x.shape)}; "
                "give one of bools, True where the value is known"
            )
        legal = self.spec.from_model(torch.zeros(self.spec.shape, dtype=torch.float64))
        filled = torch.where(mask, x, legal) if tuple(x.shape[1:]) == self.spec.shape else x
        y = self.to_model(filled)
        way = named("method", method, IMPUTATIONS)
        asked, walk = guidance_of(cond, guidance, options), sampling_of(sampling, options)
        denoiser, labels = self._guided(len(y), asked, self.sampling.scale)
        check_words(options, by_particles if way.method is None else impute)
        chosen = None if walk.sampler is None else as_sampler(walk.sampler)
        steps, layout = way.steps if walk.steps is None else walk.steps, self.sampling.layout(walk.grid)
        shared = {"steps": steps, "cond": labels, "grid": layout, "seed": walk.seed, **options}
        if way.method is None:
            if chosen is not None:
                raise UndriftError(
                    "particles move as the ancestral sampler does; leave the sampler out, or choose another method"
                )
            drawn = by_particles(denoiser, y, mask.to(y.device), draws, **shared)
        else:
            drawn = impute(denoiser, y, mask, draws, method=way.method, sampler=way.sampler(chosen), **shared)
        kind = x.dtype if x.is_floating_point() and not self.spec.integer else self.spec.dtype
        return Samples.of(torch.where(mask, filled.to(kind), self.spec.from_model(drawn.cpu()).to(kind)), self.spec)

    @shown("measuring")
    def log_likelihood(
        self,
        x: Tensor,
        cond: Asked = None,
        *,
        guidance: Guidance | None = None,
        unit: Literal["nats", "bits/dim"] = "nats",
        dequantize: int | None = None,
        **options: Any,
    ) -> LikelihoodResult:
        """Log-likelihood of data, in data units, by the probability flow.

        The exact one takes a few hundred evaluations, each with as many derivatives as an example has numbers: seconds for points, a
        minute for a digit of 8 x 8. For pictures take `divergence="hutchinson", probes=8`, an estimate whose error is in
        `standard_error`, and `steps=32`.

        Args:
            x: `(B, *shape)` in data units.
            cond: A class for all, or one for each: log p(x | y). None: log p(x).
            guidance: As for `sample`, or the same in words (`scale`, `w`, `guide`, ...). The default is scale 1, which is Bayes. Above it,
                the density of the sharpened flow.
            unit: "nats" or "bits/dim", both of the data's own scale (0..255 for 8-bit images).
            dequantize: K draws of uniform noise, for integer data: log P of the integers. 0: the density at the integers, as
                if they were points. Default: 1 for integer data, else 0.
            options: Of `undrift.log_likelihood`: divergence, probes, solver, steps, rtol, atol, start, seed, index, batch_size.

        Returns:
            `LikelihoodResult`; `prior` and `prior_gap` are of model space.

        Raises:
            UndriftError: data of another shape, out of range, not whole where integers are wanted, NaN; an unknown class.
            ValueError: options that make no sense.
        """
        y = self.to_model(x)
        draws = int(self.spec.integer) if dequantize is None else whole(dequantize, "dequantize", 0)
        if draws and not self.spec.integer:
            raise UndriftError("these data are not integers, so there is nothing to dequantise; leave `dequantize` out")
        choice(unit, "unit", ("nats", "bits/dim"))
        step = None if draws == 0 else Dequantize(1 / self.spec.units(self.spec.scale, y.double()), draws)
        denoiser, labels = self._guided(len(y), guidance_of(cond, guidance, options))
        check_words(options, log_likelihood)
        found = log_likelihood(denoiser, y, cond=labels, dequantize=step, **options).cpu()
        value = found.value if draws else found.value + self.spec.log_abs_det()
        if unit == "nats":
            return replace(found, value=value)
        error = found.standard_error / (self.spec.size * math.log(2))
        return replace(found, value=bits_per_dim(value, self.spec.size), standard_error=error, unit=unit)

    @shown("restoring")
    def restore(
        self,
        y: Tensor,
        operator: str | Operator | None = None,
        noise_std: float | None = None,
        draws: int = 4,
        method: str | Method = "mmps",
        cond: Asked = None,
        *,
        particles: int = 0,
        sampler: str | Sampler = "ancestral",
        steps: int = 100,
        seed: int = 0,
        guidance: Guidance | None = None,
        sampling: Sampling | None = None,
        **options: Unpack[GuidanceWords],
    ) -> Samples:
        """Samples of what a measurement may have been of: `p(x | y)`, `y = operator(x) + noise_std n`, all in data units.

        A model that was trained to be told what an operator measures (`condition.kind=measured`) is told y; any other is steered
        by a method of `undrift.inverse`, whatever the operator.

        Args:
            y: `(N, *Y)`, N measurements; or `(*Y)`, one.
            operator: A name such as "blur:2" (`undrift.recipe.operators`), or an `Operator` of data `(B, *shape)`; left out for a
                model that was trained to be told.
            noise_std: Standard deviation of its noise, in the units of y, positive; left out likewise.
            draws: Samples for each measurement.
            method: A name (mmps, tmpd, pigdm, dps, diffpir) or a method of `undrift.inverse`.
            cond: A class for all, or one for each measurement.
            particles: Above 0, `smc` with so many for each measurement and the method as twist (the sampler is not used).
            sampler, steps, seed: How samples are drawn, or `sampling`. The stochastic samplers forgive more of a method's errors.
            guidance: As for `sample`, or the same in words; for the methods and for a model that is told what was measured.

        Returns:
            `(N, draws, *shape)` in the dtype of the data, clipped to their range.

        Raises:
            UndriftError: unknown names; an operator that does not fit the model, y that does not fit the operator, NaN,
                noise that is not positive.
        """
        asked = guidance_of(cond, guidance, options)
        walk = sampling_of(sampling, {"sampler": sampler, "steps": steps, "seed": seed} if sampling is None else {})
        none_left(options)
        found = restored(self, y, operator, noise_std, draws, method, asked, particles, walk)
        return Samples.of(found.cpu(), self.spec)

    @shown("encoding")
    def encode(
        self,
        x: Tensor,
        cond: Asked = None,
        *,
        guidance: Guidance | None = None,
        **options: Any,
    ) -> Tensor:
        """Data in data units to latents `(B, *shape)`, on the scale of the prior. Options of `undrift.encode`."""
        y = self.to_model(x)
        denoiser, labels = self._guided(len(y), guidance_of(cond, guidance, options))
        check_words(options, encode)
        return encode(denoiser, y, cond=labels, **options).cpu()

    @shown("decoding")
    def decode(
        self,
        z: Tensor,
        cond: Asked = None,
        *,
        guidance: Guidance | None = None,
        **options: Any,
    ) -> Tensor:
        """Latents to data in data units, of the dtype of the data, clipped to their range. Options of `undrift.decode`."""
        z = as_numbers(z, "z")
        if z.ndim < 2 or not z.is_floating_point():
            raise UndriftError(
                f"`z` has shape {tuple(z.shape)} and is of {z.dtype}; give floats (B, *shape), as `encode` makes them"
            )
        denoiser, labels = self._guided(len(z), guidance_of(cond, guidance, options))
        check_words(options, decode)
        y = decode(denoiser, z.to(numbers_like(denoiser).device), cond=labels, **options)
        return Samples.of(self.spec.from_model(y).cpu(), self.spec)

    @shown("measuring")
    def round_trip(self, x: Tensor, cond: Asked = None, *, guidance: Guidance | None = None, **options: Any) -> Tensor:
        """`(B,)`: the largest error of an entry by `encode` and `decode`, in model space and before rounding."""
        y = self.to_model(x)
        denoiser, labels = self._guided(len(y), guidance_of(cond, guidance, options))
        check_words(options, encode)
        return round_trip(denoiser, y, cond=labels, **options).cpu()

    @shown("decoding")
    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        n: int = 8,
        kind: Literal["slerp", "linear"] = "slerp",
        *,
        cond: Asked = None,
        cond_b: Asked = None,
        guidance: Guidance | None = None,
        **options: Any,
    ) -> Tensor:
        """From data to data through latent space, `(B, n, *shape)` in data units; see `undrift.interpolate`.

        With two classes, those of `a` and of `b`, frames are decoded under a blend of both. `guidance`, or the same in words, as for
        `sample`; the default is scale 1.
        """
        y_a, y_b = self.to_model(a), self.to_model(b)
        asked = guidance_of(cond, guidance, options)
        if cond_b is not None and asked.cond is None:
            raise UndriftError("`cond_b` is the class of b: give the class of a as well (`cond`)")
        denoiser, first = self._guided(len(y_a), asked)
        last = self.condition(len(y_b), cond_b)
        check_words(options, encode)
        between = interpolate(denoiser, y_a, y_b, n, kind, cond=first, cond_b=last, **options)
        return self.spec.from_model(between).cpu()

    def to_model(self, x: Tensor, name: str = "x") -> Tensor:
        """Data in data units, checked, to model space on the model's device.

        Raises:
            UndriftError: another shape, NaN or infinities, values out of range, too large to be computed with, or not whole where
                they should be.
        """
        x, spec = as_numbers(x, name), self.spec
        if x.ndim != len(spec.shape) + 1 or tuple(x.shape[1:]) != spec.shape or not len(x):
            wanted = ", ".join(map(str, spec.shape))
            raise UndriftError(f"this model wants data of shape (B, {wanted}), but got {tuple(x.shape)}; reshape them")
        faults = {"NaN or infinite": ~torch.isfinite(x)}
        if spec.low is not None and spec.high is not None:
            faults[f"outside {spec.low:g}..{spec.high:g}"] = (x < spec.low) | (x > spec.high)
        if spec.integer and x.is_floating_point():
            faults["not whole numbers"] = x != x.round()
        moved: Tensor | None = None
        if not any(bool(bad.any()) for bad in faults.values()):
            moved = spec.to_model(x)
            faults = {f"too large for {str(moved.dtype)[6:]}, the type that the computation uses": ~torch.isfinite(moved)}
        for what, bad in faults.items():
            if bool(bad.any()):
                place = ", ".join(str(int(i)) for i in bad.nonzero()[0])
                first = x[tuple(bad.nonzero()[0])].item()
                raise UndriftError(
                    f"{int(bad.sum()):,} of {x.numel():,} values are {what}, the first is {name}[{place}] = {first:.6g}; "
                    "give data in data units, as the model was trained on"
                )
        assert moved is not None
        return moved.to(numbers_like(self.denoiser).device)

    def _guided(self, n: int, asked: Guidance, usual: float = 1.0) -> tuple[AnyDenoiser, Tensor | Condition | None]:
        """The denoiser of a question with its guidance, and the condition to bind; `usual` is the scale if none is given."""
        labels = self.condition(n, asked.cond)
        if labels is None:
            self.must_know_without()
        plain = asked.guide is None and asked.scale is None and asked.w is None and asked.interval is None and not asked.rescale
        if labels is None and not isinstance(asked.guide, Model):
            if not plain:
                raise UndriftError("guidance (a scale, an interval) needs a class to be guided to; name one (cond, --class)")
            return self.denoiser, None
        strength = usual if asked.scale is None and asked.w is None else guidance_scale(asked.scale, asked.w)
        return self.leaning(strength, asked.guide, asked.interval, asked.rescale), labels

    def leaning(
        self,
        scale: float | Tensor,
        guide: NoisyClassifier | OtherModel | None = None,
        interval: tuple[float, float] | None = None,
        rescale: float = 0.0,
    ) -> AnyDenoiser:
        """The denoiser with guidance, to be asked with any condition; the arguments are those of `sample`.

        Raises:
            UndriftError: a model that knows nothing without its condition and would have to; a guide of other data; `rescale` with a
                classifier.
        """
        plain: AnyDenoiser = self.denoiser
        guided: AnyDenoiser
        scale, rescale = guidance_scale(scale), real(rescale, "rescale")
        if guide is not None and not isinstance(guide, (NoisyClassifier, Model)):
            raise TypeError(
                f"`guide` is {said(guide)}: give a NoisyClassifier or another Model, as undrift.load and load_classifier do."
            )
        if interval is not None and (not isinstance(interval, (tuple, list)) or len(interval) != 2):
            raise ValueError(f"`interval` must be two noise levels sigma/alpha, such as (0.3, 5.0), got {said(interval)}.")
        if isinstance(guide, NoisyClassifier) or (guide is None and (isinstance(scale, Tensor) or scale != 1)):
            self.must_know_without()
        if isinstance(guide, Model):
            if guide.spec != self.spec or guide.parts.get("condition") != self.parts.get("condition"):
                raise UndriftError(
                    "the weaker model is of other data than this one, or told other things; guide by a run of the same"
                )
            weak = guide.denoiser
            guided = Mix(plain, weak if weak.process == plain.process else weak.using(plain.process), scale, rescale=rescale)
        elif guide is None:
            guided = Mix(plain, plain.given(None), scale, rescale=rescale)
        else:
            if rescale:
                raise UndriftError("`rescale` compares two predictions, and a classifier makes none; leave it out")
            plain = plain.given(None)
            guided = Tilt(plain, guide, scale)
        return guided if interval is None else Interval(guided, plain, *interval)

    @property
    def knows_without(self) -> bool:
        """Whether it was ever trained without what it is told, or is told nothing."""
        return self.trained.get("label_dropout") != 0 or not self.examples

    def must_know_without(self) -> None:
        """Raises UndriftError if the model was always told its class, or text, and so knows nothing without."""
        if not self.knows_without:
            raise UndriftError(
                "this model was never trained without what it is told (label_dropout=0), so it can neither draw without it nor be "
                "guided: name a class and keep to scale 1 (w = 0), or train one with label_dropout=0.1"
            )

    def labels(self, n: int, cond: Asked) -> Tensor | None:
        """Class numbers `(n,)` from names or numbers; None stays None."""
        if cond is None:
            return None
        if (told := self.told) is not None:
            told.check_classes()
        if not self.spec.classes:
            raise UndriftError("this model was trained without classes; leave the class out")
        return torch.tensor([self.spec.class_index(c) for c in each_of(cond, n, "classes")])

    def condition(self, n: int, cond: Asked) -> Tensor | Condition | None:
        """What was asked for, as the network wants it: class numbers `(n,)`, the words of texts, or a `Condition` as it is.

        Raises:
            UndriftError: an unknown class, an unknown word (the nearest known one is named), a text for a model that reads none,
                a class alone for a model that enlarges pictures.
        """
        told = self.told
        if cond is None or isinstance(cond, Condition):
            return for_samples(cond, n)
        return self.labels(n, cond) if told is None else told.asked(each_of(cond, n, "texts"))

    @property
    def examples(self) -> list[Any]:
        """What the model may be asked for, to show it: its class numbers, or a few texts; empty if it has no condition."""
        told = self.told
        return list(range(len(self.spec.classes))) if told is None else told.examples(self.spec)

    @property
    def told(self) -> ConditionKind | None:
        """What it is told besides the class, if anything."""
        return condition_of(self.parts.get("condition"))

    @property
    def reads_text(self) -> bool:
        """Whether it is told texts."""
        return isinstance(self.told, ReadText)

    @property
    def upscale(self) -> UpscaleOptions | None:
        """How it was trained to enlarge pictures, if it was."""
        told = self.told
        return told if isinstance(told, UpscaleOptions) else None

    @property
    def measures(self) -> MeasuredOptions | None:
        """What it was trained to be told of the picture, if it was."""
        told = self.told
        return told if isinstance(told, MeasuredOptions) else None

    def describe(self) -> dict[str, Any]:
        """What model.json holds."""
        return {
            "format": FORMAT,
            **self.parts,
            "spec": self.spec.to_json(),
            "sampling": self.sampling.model_dump(mode="json"),
            "trained": self.trained,
        }

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.denoiser.parameters())
