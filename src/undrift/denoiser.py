"""Denoisers: from a noisy sample to what it was made of.

A denoiser is called as `denoiser(x, t, cond=None)` and returns a `Prediction`, the pair

    data = E[x_0 | x_t],      noise = E[eps | x_t],      always with x_t = alpha data + sigma noise.

Score, velocity, eps, x_0 and v are linear in the pair. Keeping both halves avoids dividing by a sigma or an alpha near
zero. Whatever changes a denoiser (a bound condition, guidance, another process) is a denoiser again, so samplers,
likelihoods and guidance never know what they were given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from undrift.argument import batch, function, real, said, whole
from undrift.condition import for_network
from undrift.device import onto
from undrift.process import Process, as_time, checked, expand
from undrift.target import Target, determinant, karras, solve

# Log-SNRs beyond which networks see no difference: sigma/alpha = 150, where no signal is left to find, and 4.5e-5. Training draws
# noisier levels too rarely to teach a network what they mean, but every sampler may start from pure noise.
LEVEL_LIMITS = (-10.0, 20.0)
# Spreads of the data that count as one: grids were made for such data, and a factor of a few makes no difference to them.
ABOUT_ONE = (0.1, 10.0)
ROUNDING = 1e-6  # of t_max: as far outside its interval a time may come to lie by being computed in float32


class Prediction(NamedTuple):
    """What a denoiser returns, both `(B, *D)`: `data = E[x_0 | x_t]` and `noise = E[eps | x_t]`."""

    data: Tensor
    noise: Tensor


def unit_of(sigma_data: float) -> float:
    """The unit in which the noise of such data is measured: 1 for a spread of about one (0.1 to 10), else the spread itself."""
    low, high = ABOUT_ONE
    return 1.0 if low <= sigma_data <= high else sigma_data


class AnyDenoiser(nn.Module):
    """What every denoiser has: a `process`, the call `(x, t, cond=None) -> Prediction`, `given` and `using`.

    Whatever wraps a denoiser passes its `process`, `shape` and `sigma_data` on.
    """

    process: Process
    shape: tuple[int, ...] | None = None  # of one sample, where known
    sigma_data: float = 1.0  # standard deviation of the data

    @property
    def unit(self) -> float:
        """The unit of noise for grids and samplers (`unit_of`): data and process scaled alike are sampled alike."""
        return unit_of(self.sigma_data)

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        """Denoise.

        Args:
            x: `(B, *D)` noisy samples.
            t: `()` or `(B,)` times in [t_min, t_max]; see `time_within`.
            cond: What is known about the samples. Class labels are `(B,)` integers, -1 for "not known"; None: nothing.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        """One line; the layers of a network are shown by `print(denoiser.net)`."""
        return f"{type(self).__name__}({self.about()})"

    def about(self) -> str:
        """What it is made of, in a few words: the denoisers that it asks, or its process."""
        inner = [child for child in self.children() if isinstance(child, AnyDenoiser)]
        process = getattr(self, "process", None)
        other = [repr(process)] if all(child.process != process for child in inner) else []
        return ", ".join([*dict.fromkeys(map(repr, inner)), *other])

    def given(self, cond: Any) -> AnyDenoiser:
        """This denoiser with its condition bound. A bound condition stays: see `Given`."""
        return Given(self, cond)

    def using(self, process: Process) -> AnyDenoiser:
        """This denoiser seen through another process: see `Rescaled`."""
        return Rescaled(self, process)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        """The prediction and, from the same evaluation, where the learned reverse variance lies between its bounds.

        Returns:
            `(prediction, fraction)`, the fraction `(B, *D)`: 0 is beta-tilde, 1 is beta (see `undrift.reverse`).

        Raises:
            ValueError: a denoiser without a variance head.
        """
        raise ValueError(
            f"this {type(self).__name__} has no learned variance. Use a network with twice the channels "
            '(`learned_variance=True`) trained by `HybridObjective`, or another `variance`, such as "tilde".'
        )


def network_input(process: Process, x: Tensor, t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """What a network sees of `x` `(B, *D)` at times `t`: `c_in x` of unit variance, and its level `(B,)`, both like `x`."""
    alpha, sigma = process(t)
    c_in = (sigma**2 + (alpha * sigma_data) ** 2).rsqrt()
    level = process.log_snr(t).clamp(*LEVEL_LIMITS) / -8
    return x * expand(c_in, x), one_each(level, x)


def one_each(value: Tensor, x: Tensor) -> Tensor:
    """A number `()`, or one for each sample `(B,)`, as `(B,)` of the dtype and device of `x` `(B, *D)`.

    A number of the CPU is filled in on the device: a copy of it would make the device wait.
    """
    if value.ndim == 0 and value.device.type == "cpu" != x.device.type and not torch.compiler.is_compiling():
        return x.new_full((x.shape[0],), value.item())
    return onto(value.expand(x.shape[0]).to(x.dtype), x)


def time_within(process: Process, t: Tensor | float, x: Tensor) -> Tensor:
    """`as_time`, inside the process's interval: what lies outside by no more than rounding is moved to the end.

    Beyond its ends a schedule means nothing, and a network was never trained there: its answer would look like any other. A time
    on a GPU, which only a loop of the caller's own makes, is not looked at, since that would wait for the GPU at every call; nor is
    one of a network that is being compiled or exported.

    Raises:
        ValueError: a time outside [t_min, t_max], or NaN.
    """
    t = as_time(t, batch(x))
    if t.device.type != "cpu" or torch.compiler.is_compiling() or not t.numel():
        return t
    low, high = (float(t.detach()),) * 2 if t.ndim == 0 else tuple(float(end) for end in t.detach().aminmax())
    if process.t_min <= low and high <= process.t_max:
        return t
    room = ROUNDING * process.t_max
    if process.t_min - room <= low and high <= process.t_max + room:
        return t.clamp(process.t_min, process.t_max)
    raise ValueError(f"`t` must lie in [{process.t_min:g}, {process.t_max:g}], the times of {process}; got {low:g} to {high:g}.")


class Denoiser(AnyDenoiser):
    """A network with a process and a target.

    The network is called as `net(c_in x, level, cond)`: its input has unit variance, and all it learns of time is
    `level = -log_snr/8 = log(sigma/alpha)/4`, held to [-2.5, 1.25] (EDM's c_noise, Karras et al. 2022, table 1).
    So one network serves any process. The level is not in units of the data: bring data that are far from unit spread to it first.

    Args:
        net: `(x (B, *D), level (B,), cond) -> (B, *D)`, a module or a function. One that returns twice the channels, `(B, 2C, ...)`, has a variance
            head: the second half is read by `with_fraction`.
        process: The noise that it was or will be trained on.
        target: What it outputs; see `undrift.target`. Default: `karras(sigma_data)`.
        sigma_data: Standard deviation of the data in model space.
        shape: `D`, where known, so that `sample(denoiser, n)` needs no shape.

    Raises:
        ValueError: a process that is none (`process.checked`), a `sigma_data` that is not positive, a target that is blind where
            sampling starts (noise or score on a process with alpha(t_max) = 0). When called: a network's output of another shape, or
            of complex numbers; times outside the process's interval; a condition that is none.
        TypeError: a network that cannot be called, a process or a target that is none.
    """

    def __init__(
        self,
        net: nn.Module,
        process: Process,
        target: Target | None = None,
        sigma_data: float = 1.0,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.precision: torch.dtype | None = None  # in which its convolutions and products run; see `exactly`
        function(net, "net", "give a network, net(x, level, cond)")
        if isinstance(net, type):
            raise TypeError(f"`net` is an object: write {net.__name__}(...), with its arguments.")
        shape = sample_shape(shape)
        if not 0 < real(sigma_data, "sigma_data", finite=False) < math.inf:
            raise ValueError(f"`sigma_data` is a standard deviation and must be positive, got {sigma_data}.")
        self.net, self.process, self.sigma_data, self.shape = net, checked(process), sigma_data, shape
        self.target = karras(sigma_data) if target is None else function(target, "target", "take one of undrift.target")
        end = torch.tensor(process.t_max, dtype=torch.float64)
        if not determinant(self.target, process, end).abs() > 1e-8:
            raise ValueError(
                f"this target tells nothing about the data at t_max = {process.t_max:g} of {process}, where alpha = 0. "
                "Use the target v, karras, data or velocity, or a smaller t_max."
            )

    def about(self) -> str:
        count = sum(p.numel() for p in self.parameters())
        return f"{type(self.net).__name__} with {count:,} parameters, {self.process!r}"

    def output(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
        """The network's own output, `(B, *D)`, an estimate of `a x_0 + b eps`."""
        return self.outputs(x, t, cond)[0]

    def outputs(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Tensor, Tensor | None]:
        """`output`, and the variance head's `fraction` `(B, *D)` where the network has one."""
        seen, level = network_input(self.process, x, time_within(self.process, t, x), self.sigma_data)
        known = self.net.parameters() if isinstance(self.net, nn.Module) else ()
        dtype = next((p.dtype for p in known if p.is_floating_point()), x.dtype)
        with nullcontext() if self.precision is None else torch.autocast(x.device.type, self.precision):
            raw = self.net(seen.to(dtype), level.to(dtype), for_network(cond, x))
        if isinstance(raw, Tensor) and raw.is_complex():
            raise ValueError(
                f"the network returned complex numbers ({raw.dtype}); it must return real ones, such as their real part."
            )
        raw = raw.to(x.dtype) if isinstance(raw, Tensor) else raw  # the network may compute in another precision
        if isinstance(raw, Tensor) and raw.shape == x.shape:
            return raw, None
        twice = (x.shape[0], 2 * x.shape[1], *x.shape[2:]) if x.ndim > 1 else None
        if not isinstance(raw, Tensor) or raw.shape != twice:
            found = f"shape {tuple(raw.shape)}" if isinstance(raw, Tensor) else f"type {type(raw).__name__}"
            raise ValueError(
                f"the network returned {found} for `x` of shape {tuple(x.shape)}; it must return a tensor of that shape"
                f"{f', or {twice} with a variance head' if twice else ''}."
            )
        output, head = raw.chunk(2, 1)
        return output, (head + 1) / 2  # in units of half the gap, so that a fresh head says "between"

    def predict(self, x: Tensor, t: Tensor | float, output: Tensor) -> Prediction:
        """Data and noise from the network's own output."""
        (p, q), (r, w) = ((expand(a, x), expand(b, x)) for a, b in solve(self.target, self.process, as_time(t, x)))
        return Prediction(torch.addcmul(p * x, output, q), torch.addcmul(r * x, output, w))

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        t = time_within(self.process, t, x)
        return self.predict(x, t, self.output(x, t, cond))

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        t = time_within(self.process, t, x)
        output, fraction = self.outputs(x, t, cond)
        if fraction is None:
            return super().with_fraction(x, t, cond)
        return self.predict(x, t, output), fraction


@contextmanager
def exactly(denoiser: AnyDenoiser) -> Iterator[None]:
    """Inside, the networks that a denoiser asks run in float32 and as they are written.

    What is exact, a likelihood or a latent, is not to be rounded to 16 bits; and torch does not differentiate a compiled network for
    many directions at once.
    """
    parts = [part for part in denoiser.modules() if isinstance(part, Denoiser)]
    before = [(part, part.precision, getattr(part.net, "_compiled_call_impl", None)) for part in parts]
    for part, _, compiled in before:
        part.precision = None
        if compiled is not None:
            part.net._compiled_call_impl = None
    try:
        yield
    finally:
        for part, precision, compiled in before:
            part.precision = precision
            if compiled is not None:
                part.net._compiled_call_impl = compiled


class Given(AnyDenoiser):
    """A denoiser with its condition bound.

    A bound condition stays bound: one that arrives later is ignored. That is what makes
    `Mix(d, d.given(None), scale)` classifier-free guidance for whatever condition it is then called with.
    """

    def __init__(self, denoiser: AnyDenoiser, cond: Any) -> None:
        super().__init__()
        check_denoiser(denoiser)
        self.denoiser, self.cond = denoiser, cond
        self.process, self.shape, self.sigma_data = denoiser.process, denoiser.shape, denoiser.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        return self.denoiser(x, t, self.cond)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        return self.denoiser.with_fraction(x, t, self.cond)


class Rescaled(AnyDenoiser):
    """The same denoiser seen through another process.

    Two processes at equal log-SNR differ by a factor only: x_new = c x_old. So a network trained on one can be sampled
    through any other (Karras et al. 2022, sec. 2; Kingma et al. 2021, eq. 10). Where the new process is cleaner or noisier
    than the old one ever is, the old one's nearest end is used.
    """

    def __init__(self, denoiser: AnyDenoiser, process: Process) -> None:
        super().__init__()
        check_denoiser(denoiser)
        self.denoiser, self.process, self.shape = denoiser, checked(process), denoiser.shape
        self.sigma_data = denoiser.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        t = time_within(self.process, t, x)
        old = self.denoiser.process
        alpha, sigma = self.process(t)
        t_old = old.time(self.process.log_snr(t))
        alpha_old, sigma_old = old(t_old)
        c = ((alpha_old**2 + sigma_old**2) / (alpha**2 + sigma**2)).sqrt()
        data, noise = self.denoiser(expand(c, x) * x, t_old, cond)
        # Keep the half that is better determined, and let x_t = alpha data + sigma noise give the other.
        clean = expand((alpha > sigma).to(alpha), x).bool()
        alpha, sigma = expand(alpha, x), expand(sigma, x)
        # Divisions are kept finite on the branch not taken too: its gradient would be 0 times infinity.
        by_alpha, by_sigma = torch.where(clean, alpha, 1.0).to(x.dtype), torch.where(clean, 1.0, sigma).to(x.dtype)
        return Prediction(
            torch.where(clean, (x - sigma * noise) / by_alpha, data), torch.where(clean, noise, (x - alpha * data) / by_sigma)
        )


class Counted(AnyDenoiser):
    """The same denoiser, counting its calls in `calls`: what a sampler really costs."""

    def __init__(self, denoiser: AnyDenoiser) -> None:
        super().__init__()
        check_denoiser(denoiser)
        self.denoiser, self.calls = denoiser, 0
        self.process, self.shape, self.sigma_data = denoiser.process, denoiser.shape, denoiser.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        self.calls += 1
        return self.denoiser(x, t, cond)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        self.calls += 1
        return self.denoiser.with_fraction(x, t, cond)


def sample_shape(shape: Any) -> tuple[int, ...] | None:
    """The shape of one sample as a tuple of positive whole numbers; None stays None. Raises TypeError or ValueError."""
    if shape is None:
        return None
    if not isinstance(shape, Sequence) or isinstance(shape, (str, bytes)):
        raise TypeError(f"`shape` is that of one sample, such as (1, 28, 28), got {said(shape)}.")
    return tuple(whole(size, "shape", 1) for size in shape)


def check_denoiser(denoiser: object, name: str = "denoiser") -> None:
    """Raise TypeError, with what to pass instead, for what is no denoiser: a model, a network."""
    if isinstance(denoiser, AnyDenoiser):
        return
    kind = type(denoiser).__name__
    if isinstance(getattr(denoiser, "denoiser", None), AnyDenoiser):
        cure = (
            "pass its `.denoiser`, which works in model space, or call its own method of the same name, which works in data units"
        )
    else:
        cure = "wrap a network as undrift.Denoiser(network, process)"
    raise TypeError(f"`{name}` is a {kind}, which is no denoiser: {cure}.")


def numbers_like(denoiser: AnyDenoiser, default: Tensor | None = None) -> Tensor:
    """An empty tensor of the device and dtype in which a denoiser is sampled: those of its parameters, but at least float32.

    A network may compute in 16 bits; what a sampler adds to a sample step by step would be rounded away there.

    Args:
        denoiser: Any.
        default: Whose device and dtype count where it has no parameters, as an exact one; None: float32, on the CPU.
    """
    found = next((p for p in denoiser.parameters() if p.is_floating_point()), default)
    if found is None:
        return torch.empty(0, dtype=torch.float32)
    return torch.empty(0, dtype=torch.promote_types(found.dtype, torch.float32), device=found.device)


def score_at(denoiser: AnyDenoiser, x: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
    """The score grad_x log p_t(x) = -noise / sigma, `(B, *D)`, in 1/data units; infinite where sigma = 0."""
    check_denoiser(denoiser)
    t = as_time(t, batch(x))
    return -denoiser(x, t, cond).noise / expand(denoiser.process.sigma(t), x)


def velocity_at(denoiser: AnyDenoiser, x: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
    """The velocity dx/dt = alpha' data + sigma' noise of the probability-flow ODE, `(B, *D)` (Song et al. 2021, eq. 13)."""
    check_denoiser(denoiser)
    t = as_time(t, batch(x))
    dalpha, dsigma = denoiser.process.rates(t)
    data, noise = denoiser(x, t, cond)
    return expand(dalpha, x) * data + expand(dsigma, x) * noise
