"""A trained model: a denoiser, the spec of its data, and how it likes to be sampled.

On disk a model is two files, neither of which can execute anything: `model.json` (architecture, process, target, data spec,
versions) and `model.safetensors` (raw and EMA weights).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from undrift.argument import choice, instance, real, said, tensor, whole
from undrift.condition import Condition, for_samples
from undrift.data.spec import Spec
from undrift.denoiser import AnyDenoiser, Denoiser, numbers_like
from undrift.description import FORMAT
from undrift.distributed.processes import here
from undrift.error import UndriftError, nearest, short
from undrift.guidance import DataEdit, Edit, Interval, Mix, NoisyClassifier, Tilt, guidance_scale
from undrift.imputation import impute
from undrift.imputation.measured import by_particles
from undrift.inverse import Observation, Operator, Posterior, smc
from undrift.inverse.posterior import Method
from undrift.likelihood import Dequantize, LikelihoodResult, bits_per_dim, decode, encode, interpolate, log_likelihood, round_trip
from undrift.recipe.conditions import MeasuredOptions, UpscaleOptions, measured_of, upscale_of, vocabulary_of
from undrift.recipe.operators import named_method, named_operator
from undrift.recipe.recipe import IMPUTATIONS, SAMPLERS, SamplingOptions
from undrift.sampler import Sampler, State, as_grid, batches, sample
from undrift.sampler.run import Part, write_array

# A class (by name or number) or a text for all, one for each, or a `Condition`. Numbers may be NumPy's, or tensors.
Asked = int | str | Sequence[int | str] | Tensor | np.ndarray | Condition | None


@dataclass
class Model:
    """A denoiser with its data spec.

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

    def sample(
        self,
        n: int,
        cond: Asked = None,
        *,
        scale: float | None = None,
        w: float | None = None,
        guide: NoisyClassifier | Model | None = None,
        interval: tuple[float, float] | None = None,
        rescale: float = 0.0,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: str | None = None,
        seed: int = 0,
        callback: Callable[[State], None] | None = None,
        batch_size: int = 256,
        first: int = 0,
        start: Tensor | None = None,
        strength: float = 1.0,
        edit: DataEdit | None = None,
        out: str | Path | None = None,
    ) -> Tensor:
        """Draw samples in data units.

        Args:
            n: How many.
            cond: A class (name or number) or a text for all, or one for each; or a `Condition`. None: whatever the data hold.
            scale: Guidance scale: 0 ignores the condition, 1 is Bayes, above 1 sharpens. Default: the model's own.
            w: `scale - 1`, the convention of Ho & Salimans 2022; give one of the two.
            guide: What the scale weighs. None: this model with the class against itself without (classifier-free guidance); a
                `NoisyClassifier`: its gradient on this model without the class; another `Model`: this one against that weaker
                one, both with the class if there is one (autoguidance).
            interval: Guide only where sigma/alpha lies between these two (`undrift.Interval`). Default: everywhere.
            rescale: Share, 0 to 1, of the way back to the contrast without guidance (`undrift.Mix`).
            sampler: A name or a `Sampler`; default: the model's own, as for `steps` and `grid`.
            steps, grid: A number and a name.
            start: `(n, *shape)` data in data units to start from, with `strength` the share of the steps that is run: image to
                image. Default: pure noise.
            edit: What to do to every prediction of the data, in model space: `undrift.guidance.clip(-1, 1)`, `dynamic_threshold()`.
            out: A `.npy` file to write the samples to, batch by batch, so that memory does not grow with n.
            seed, callback, batch_size, first: See `undrift.sample`.

        Returns:
            `(n, *shape)` in the dtype of the data (uint8 for 8-bit images), clipped to their range.

        Raises:
            UndriftError: unknown class, sampler or grid; a class asked of a model without classes.
            ValueError: numbers that make no sense.
        """
        n = whole(n, "n", 1)
        if out is not None:
            instance(out, "out", (str, Path), "name a .npy file")
        if start is not None:
            start = self.to_model(start, "start")
        options = dict(
            seed=seed, callback=callback, batch_size=batch_size, first=first, start=start, strength=strength, edit=edit,
            interval=interval, rescale=rescale,
        )  # fmt: skip
        parts = self._batches(n, cond, scale, w, guide, sampler, steps, grid, options)
        shape, done = (n, *self.spec.shape), (self.spec.from_model(part) for part in parts)
        return torch.cat(list(done)) if out is None else write_array(Path(out), shape, done)

    def draw(
        self,
        n: int,
        cond: Asked = None,
        *,
        scale: float | None = None,
        w: float | None = None,
        guide: NoisyClassifier | Model | None = None,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: str | None = None,
        **options: Any,
    ) -> Tensor:
        """As `sample`, but in model space, unclipped float32."""
        return torch.cat(list(self._batches(n, cond, scale, w, guide, sampler, steps, grid, options)))

    def _batches(
        self,
        n: int,
        cond: Any,
        scale: float | None,
        w: float | None,
        guide: NoisyClassifier | Model | None,
        sampler: str | Sampler | None,
        steps: int | None,
        grid: str | None,
        options: dict[str, Any],
    ) -> Iterator[Tensor]:
        n = whole(n, "n", 1)
        limits = {name: options.pop(name) for name in ("interval", "rescale") if name in options}
        denoiser, labels = self._guided(n, cond, scale, w, self.sampling.scale, guide, **limits)
        if (edit := options.pop("edit", None)) is not None:
            denoiser = Edit(denoiser, edit)
        chosen = _sampler(self.sampling.sampler if sampler is None else sampler)
        count = self.sampling.steps if steps is None else steps
        layout, shape = self.sampling.layout(grid), (n, *self.spec.shape)
        crew = here()
        if not crew.sharing or n < crew.size or "callback" in options:
            return batches(denoiser, shape, chosen, count, cond=labels, grid=layout, **options)
        job = Part(denoiser, shape, chosen, as_grid(denoiser, layout, count), labels, options)
        many = crew.size * int(options.get("batch_size", 256))
        return (crew.spread(job, slice(low, min(low + many, n))) for low in range(0, n, many))

    def guided(
        self,
        n: int,
        cond: Asked = None,
        scale: float | None = None,
        w: float | None = None,
    ) -> tuple[AnyDenoiser, Tensor | Condition | None]:
        """The denoiser that `sample` would use for these classes and this guidance, bound to them; and what is bound."""
        denoiser, labels = self._guided(n, cond, scale, w, self.sampling.scale)
        return (denoiser if labels is None else denoiser.given(labels)), labels

    def impute(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        draws: int = 8,
        cond: Asked = None,
        *,
        method: str = "repaint",
        scale: float | None = None,
        w: float | None = None,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: str | None = None,
        **options: Any,
    ) -> Tensor:
        """Fill in what is missing, several times, in data units.

        Args:
            x: `(B, *shape)` in data units; what is missing may be anything, also NaN.
            mask: `shape` or `(B, *shape)` bool, True where the value is known. Default: where `x` is not NaN.
            draws: How many for each input.
            cond: A class or a text for all, or one for each; or a `Condition`. None: whatever fits.
            method: "repaint", "particles", "mmps" (a gradient at every step), "replace" or "langevin"; `undrift.imputation.known` and
                `undrift.imputation.measured` say how far each is to be trusted.
            scale, w: Guidance scale, for a class; default: the model's own.
            sampler, steps: A name or a `Sampler`, and a number; default: the method's own.
            grid: A name; default: the model's own.
            options: Of `undrift.impute`: seed, first, batch_size, callback; of particles: seed, first, particles, noise_std.

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
        way = _named("method", method, IMPUTATIONS)
        denoiser, labels = self._guided(len(y), cond, scale, w, self.sampling.scale)
        chosen = None if sampler is None else _sampler(sampler)
        layout = self.sampling.layout(grid)
        shared = {"steps": way.steps if steps is None else steps, "cond": labels, "grid": layout, **options}
        if way.method is None:
            if chosen is not None:
                raise UndriftError(
                    "particles move as the ancestral sampler does; leave the sampler out, or choose another method"
                )
            drawn = by_particles(denoiser, y, mask.to(y.device), draws, **shared)
        else:
            drawn = impute(denoiser, y, mask, draws, method=way.method, sampler=way.sampler(chosen), **shared)
        kind = x.dtype if x.is_floating_point() and not self.spec.integer else self.spec.dtype
        return torch.where(mask, filled.to(kind), self.spec.from_model(drawn.cpu()).to(kind))

    def log_likelihood(
        self,
        x: Tensor,
        cond: Asked = None,
        *,
        scale: float | None = None,
        w: float | None = None,
        unit: Literal["nats", "bits/dim"] = "nats",
        dequantize: int | None = None,
        **options: Any,
    ) -> LikelihoodResult:
        """Log-likelihood of data, in data units, by the probability flow.

        Args:
            x: `(B, *shape)` in data units.
            cond: A class for all, or one for each: log p(x | y). None: log p(x).
            scale, w: Guidance scale; default 1, which is Bayes. Above it, the density of the sharpened flow.
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
        denoiser, labels = self._guided(len(y), cond, scale, w)
        found = log_likelihood(denoiser, y, cond=labels, dequantize=step, **options)
        value = found.value if draws else found.value + self.spec.log_abs_det()
        if unit == "nats":
            return replace(found, value=value)
        error = found.standard_error / (self.spec.size * math.log(2))
        return replace(found, value=bits_per_dim(value, self.spec.size), standard_error=error, unit=unit)

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
    ) -> Tensor:
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
            sampler, steps, seed: How samples are drawn. The stochastic samplers forgive more of a method's errors.

        Returns:
            `(N, draws, *shape)` in the dtype of the data, clipped to their range.

        Raises:
            UndriftError: unknown names; an operator that does not fit the model, y that does not fit the operator, NaN,
                noise that is not positive.
        """
        walk, draws, particles = _sampler(sampler), whole(draws, "draws"), whole(particles, "particles")
        if self.measures is not None:
            if operator not in (None, self.measures.operator) or noise_std is not None or method != "mmps" or particles:
                raise UndriftError(
                    f"this model was trained to be told {self.measures.operator}; leave out another operator, the noise, the method "
                    "and particles, or restore with a model that was not"
                )
            return self._told(as_numbers(y, "y"), self.measures.build(self.spec.shape), draws, cond, walk, steps, seed)
        if operator is None or noise_std is None:
            raise UndriftError("an operator and the standard deviation of its noise are needed: how was it measured?")
        chosen = named_operator(operator, self.spec.shape) if isinstance(operator, str) else operator
        instance(chosen, "operator", Operator, 'give an `Operator`, or a name such as "blur:2"')
        how = named_method(method) if isinstance(method, str) else method
        if isinstance(how, type) or not hasattr(how, "through"):
            raise TypeError(f"`method` is {said(how)}: give a method of undrift.inverse, such as MMPS(), or the name of one.")
        if draws < 1 or particles < 0:
            raise UndriftError(f"ask for at least one draw and no negative number of particles, not {draws} and {particles}")
        like = numbers_like(self.denoiser)
        # What is measured keeps its digits until its shift is taken away.
        wide = as_numbers(y, "y").to(like.device, torch.float64)
        shift, scale = (self.spec.units(v, wide) for v in (self.spec.shift, self.spec.scale))

        def moved(m: Tensor) -> Tensor:
            """A measurement of model space, less that of its middle."""
            if chosen.linear:
                return chosen(scale.to(m) * m)
            return chosen((shift + scale * m.double()).to(m)) - base.to(m)

        try:
            seen = Observation(chosen, wide, noise_std)
            base = _of_middle(chosen, shift)
            inner = Operator(moved, self.spec.shape, chosen.linear)
        except ValueError as error:
            raise UndriftError(str(error).rstrip(".")) from None
        rest = (seen.y - base).to(like)
        if not bool(torch.isfinite(rest).all()):
            bad = ~torch.isfinite(rest)
            raise UndriftError(
                f"{int(bad.sum()):,} of {rest.numel():,} values of `y` are too large for these data, such as {seen.y[bad][0]:g}; "
                "give it in data units"
            )
        labels = self.labels(len(rest), cond)
        if labels is None:
            self._must_know_without()
        if particles:
            found = smc(self.denoiser, inner, rest, noise_std, how, particles, steps, seed, labels).draw(draws, seed)
        else:
            posterior = Posterior(self.denoiser, inner, rest.repeat_interleave(draws, 0), noise_std, how)
            each = None if labels is None else labels.repeat_interleave(draws)
            found = sample(posterior, len(rest) * draws, walk, steps, seed, each, batch_size=len(rest) * draws)
        return self.spec.from_model(found.view(len(rest), draws, *self.spec.shape))

    def _told(self, y: Tensor, operator: Operator, draws: int, cond: Any, sampler: Sampler, steps: int, seed: int) -> Tensor:
        """`restore` by a model that is told y: conditional samples."""
        like = numbers_like(self.denoiser)
        y = y.to(like.device, torch.float64)
        y = y[None] if y.shape == operator.measured else y
        if draws < 1 or tuple(y.shape[1:]) != operator.measured or not len(y) or not bool(torch.isfinite(y).all()):
            raise UndriftError(
                f"ask for at least one draw of finite measurements of shape (N, {', '.join(map(str, operator.measured))}), "
                f"not {draws} of {tuple(y.shape)}"
            )
        shift, scale = (self.spec.units(v, y) for v in (self.spec.shift, self.spec.scale))
        image = ((y - _of_middle(operator, shift)) / scale).to(like).repeat_interleave(draws, 0)
        labels = self.labels(len(y), cond)
        told = Condition(label=None if labels is None else labels.repeat_interleave(draws), image=image)
        found = sample(self.denoiser, (len(image), *self.spec.shape), sampler, steps, seed, told)
        return self.spec.from_model(found.view(len(y), draws, *self.spec.shape))

    def encode(
        self,
        x: Tensor,
        cond: Asked = None,
        *,
        scale: float | None = None,
        w: float | None = None,
        **options: Any,
    ) -> Tensor:
        """Data in data units to latents `(B, *shape)`, on the scale of the prior. Options of `undrift.encode`."""
        y = self.to_model(x)
        denoiser, labels = self._guided(len(y), cond, scale, w)
        return encode(denoiser, y, cond=labels, **options)

    def decode(
        self,
        z: Tensor,
        cond: Asked = None,
        *,
        scale: float | None = None,
        w: float | None = None,
        **options: Any,
    ) -> Tensor:
        """Latents to data in data units, of the dtype of the data, clipped to their range. Options of `undrift.decode`."""
        z = as_numbers(z, "z")
        if z.ndim < 2 or not z.is_floating_point():
            raise UndriftError(
                f"`z` has shape {tuple(z.shape)} and is of {z.dtype}; give floats (B, *shape), as `encode` makes them"
            )
        denoiser, labels = self._guided(len(z), cond, scale, w)
        return self.spec.from_model(decode(denoiser, z, cond=labels, **options))

    def round_trip(self, x: Tensor, cond: Asked = None, **options: Any) -> Tensor:
        """`(B,)`: the largest error of an entry by `encode` and `decode`, in model space and before rounding."""
        y = self.to_model(x)
        return round_trip(self.denoiser, y, cond=self.condition(len(y), cond), **options)

    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        n: int = 8,
        kind: Literal["slerp", "linear"] = "slerp",
        *,
        cond: Asked = None,
        cond_b: Asked = None,
        **options: Any,
    ) -> Tensor:
        """From data to data through latent space, `(B, n, *shape)` in data units; see `undrift.interpolate`.

        With two classes, those of `a` and of `b`, frames are decoded under a blend of both.
        """
        y_a, y_b = self.to_model(a), self.to_model(b)
        if cond_b is not None and cond is None:
            raise UndriftError("`cond_b` is the class of b: give the class of a as well (`cond`)")
        ends = self.condition(len(y_a), cond), self.condition(len(y_b), cond_b)
        return self.spec.from_model(interpolate(self.denoiser, y_a, y_b, n, kind, cond=ends[0], cond_b=ends[1], **options))

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

    def _guided(
        self,
        n: int,
        cond: Any,
        scale: float | None,
        w: float | None,
        usual: float = 1.0,
        guide: NoisyClassifier | Model | None = None,
        interval: tuple[float, float] | None = None,
        rescale: float = 0.0,
    ) -> tuple[AnyDenoiser, Tensor | Condition | None]:
        """The denoiser of a question with its guidance, and the condition to bind."""
        labels = self.condition(n, cond)
        if labels is None:
            self._must_know_without()
        if labels is None and not isinstance(guide, Model):
            if not (guide is None and scale is None and w is None and interval is None and not rescale):
                raise UndriftError("guidance (a scale, an interval) needs a class to be guided to; name one (cond, --class)")
            return self.denoiser, None
        strength = usual if scale is None and w is None else guidance_scale(scale, w)
        return self.leaning(strength, guide, interval, rescale), labels

    def leaning(
        self,
        scale: float | Tensor,
        guide: NoisyClassifier | Model | None = None,
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
            self._must_know_without()
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

    def _must_know_without(self) -> None:
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
        if self.upscale is not None:
            raise UndriftError("this model enlarges small pictures and was given none; put it behind another: undrift.Cascade")
        if not self.spec.classes:
            raise UndriftError("this model was trained without classes; leave the class out")
        return torch.tensor([self.spec.class_index(c) for c in _each(cond, n, "classes")])

    def condition(self, n: int, cond: Asked) -> Tensor | Condition | None:
        """What was asked for, as the network wants it: class numbers `(n,)`, the words of texts, or a `Condition` as it is.

        Raises:
            UndriftError: an unknown class, an unknown word (the nearest known one is named), a text for a model that reads none,
                a class alone for a model that enlarges pictures.
        """
        known = vocabulary_of(self.parts.get("condition"))
        if cond is None or isinstance(cond, Condition):
            return for_samples(cond, n)
        if self.measures is not None:
            raise UndriftError(f"this model is told {self.measures.operator} and not a class alone; use undrift restore")
        if known is None:
            return self.labels(n, cond)
        each = _each(cond, n, "texts")
        texts = [text for text in each if isinstance(text, str)]
        if len(texts) < n:
            raise UndriftError(f'this model reads text, not class numbers; ask for one like "{self.examples[0]}"')
        return known.condition(texts)

    @property
    def examples(self) -> list[Any]:
        """What the model may be asked for, to show it: its class numbers, or a few texts; empty if it has no condition."""
        if self.reads_text:
            return list(self.parts["condition"]["examples"])
        return [] if self.upscale or self.measures else list(range(len(self.spec.classes)))

    @property
    def reads_text(self) -> bool:
        """Whether it is told texts."""
        return vocabulary_of(self.parts.get("condition")) is not None

    @property
    def upscale(self) -> UpscaleOptions | None:
        """How it was trained to enlarge pictures, if it was."""
        return upscale_of(self.parts.get("condition"))

    @property
    def measures(self) -> MeasuredOptions | None:
        """What it was trained to be told of the picture, if it was."""
        return measured_of(self.parts.get("condition"))

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


def as_numbers(x: Any, name: str = "x") -> Tensor:
    """Data as a user has them, a tensor of a type that torch computes with.

    Raises:
        UndriftError: they are no numbers, complex ones, or too large whole ones (`undrift.argument.tensor`).
    """
    try:
        return tensor(x, name)
    except (TypeError, ValueError) as error:
        raise UndriftError(str(error).rstrip(".")) from None


def _named(what: str, name: str, table: dict[str, Any]) -> Any:
    if not isinstance(name, str) or name not in table:
        raise UndriftError(f'{what} "{short(name)}" is unknown{nearest(short(name), table)}')
    return table[name]


def _sampler(sampler: Any) -> Sampler:
    """A sampler, given itself or by name."""
    if isinstance(sampler, str):
        return _named("sampler", sampler, SAMPLERS)
    return instance(sampler, "sampler", Sampler, "give a sampler, such as undrift.ABM(), or the name of one")


def _of_middle(operator: Operator, shift: Tensor) -> Tensor:
    """What is measured of the middle of model space, `(1, *Y)` float64; by operators of float32 alone as well as they can."""
    middle = shift.expand(1, *operator.shape)
    try:
        return operator(middle).double()
    except RuntimeError:
        return operator(middle.float()).double()


def _each(cond: Any, n: int, what: str) -> list[Any]:
    """What was asked for, one for each sample.

    Raises:
        UndriftError: it is neither one nor a row of them.
        TypeError: a set, which has no order.
        ValueError: another number of them than there are samples.
    """
    if isinstance(cond, (Tensor, np.ndarray)):
        cond = as_numbers(cond, "cond") if isinstance(cond, Tensor) else cond
        if cond.ndim > 1:
            raise UndriftError(
                f"`cond` has shape {tuple(cond.shape)}; give one of the {what} for all samples, or one each: ({n},)"
            )
        cond = cond.tolist()
    if isinstance(cond, (set, frozenset)):
        raise TypeError(f"`cond` is a {type(cond).__name__}, which has no order: give the {what} in a list.")
    if isinstance(cond, (str, bytes, Mapping)) or not isinstance(cond, Iterable):
        return [cond] * n
    each = list(islice(cond, n + 1))
    if len(each) != n:
        found = len(each) if len(each) < n else len(cond) if isinstance(cond, Sized) else f"more than {n}"
        raise ValueError(f"`cond` names {found} {what} for {n} samples: give one for all, or one each.")
    return each
