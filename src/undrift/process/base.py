"""Forward processes: how noise is mixed into data.

A process is one pair of functions of time, the signal scale alpha and the noise scale sigma:

    x_t = alpha(t) x_0 + sigma(t) eps,      eps ~ N(0, I),      t in [t_min, t_max], noise grows with t.

Everything else follows from the pair (Song et al. 2021, app. B; Kingma et al. 2021, sec. 3):

    log-SNR      log_snr = log(alpha^2 / sigma^2)                              decreasing in t
    SDE          dx = f x dt + g dw,   f = alpha'/alpha,   g^2 = (sigma^2)' - 2 f sigma^2
    transition   x_s | x_t ~ N(r x_t, (sigma_s^2 - r^2 sigma_t^2) I),   r = alpha_s / alpha_t,   s noisier than t

So the discrete chains of the papers are processes too: DDPM is VP with a piecewise-constant beta and SMLD is VE with a
piecewise-linear variance, both exact on their own grid (`levels`).

Times are tensors, `()` (one for all samples) or `(B,)`. Pass float64: schedules are smooth but steep, and are cast to the
dtype of the data only at the end, by `expand`. To write a process, give `alpha` and `sigma`; `rates` and `time` have
working defaults (automatic differentiation, bisection) that the processes below replace by closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from undrift.argument import instance, real, said, tensor
from undrift.device import onto

if TYPE_CHECKING:
    from undrift.noise import Noise


def as_time(t: Tensor | float, x: Tensor) -> Tensor:
    """A time as the float64 tensor that processes want, checked against the batch.

    Args:
        t: A number, a `()` tensor, or one time per sample `(B,)`.
        x: The batch `(B, *D)` that the time belongs to.

    Returns:
        `()` or `(B,)` float64.

    Raises:
        ValueError: `t` has any other shape, or is no real number.
    """
    t = tensor(t, "t", torch.float64)
    if not isinstance(x, Tensor) or not x.ndim:
        raise TypeError(f"`x` is {said(x)}: give a batch, a tensor (B, *D).")
    if t.ndim > 1 or (t.ndim == 1 and len(t) != len(x)):
        raise ValueError(f"`t` has shape {tuple(t.shape)}; pass one time () or one per sample ({len(x)},).")
    return t


def expand(t: Tensor, x: Tensor) -> Tensor:
    """Make a coefficient multiply a batch: `()` stays, `(B,)` becomes `(B, 1, ..., 1)` with the dtype and device of `x`.

    A single number of the CPU multiplies tensors of any device, and is handed to it with the call: nothing waits.
    """
    return t if t.ndim == 0 else onto(t.to(x.dtype), x).reshape(-1, *[1] * (x.ndim - 1))


def like(c: Tensor, x: Tensor) -> Tensor:
    """A coefficient in the dtype of `x`, and on its device unless it is a single number, which multiplies tensors of any device."""
    return c.to(x.dtype) if c.ndim == 0 else onto(c.to(x.dtype), x)


T = TypeVar("T")
_known: ContextVar[dict[tuple[str, int, int], tuple[Any, ...]] | None] = ContextVar("undrift_known", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Inside, what a process is asked of one and the same time tensor is computed once: a step asks about its two ends many times.

    It changes no number. Samplers open it for each step, and not for longer, since what a process has learned may change between steps.
    """
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def _once(name: str, process: Process, t: Tensor, compute: Callable[[Tensor], T]) -> T:
    """`compute(t)`, or what it gave before for this process and this tensor, if that has not been written to since."""
    known = _known.get()
    if known is None or not isinstance(t, Tensor) or t.requires_grad or t.is_inference():
        return compute(t)
    key = name, id(process), id(t)  # both are held by the entry, so that no other object can take their place
    if (found := known.get(key)) is None or found[2] != t._version:
        found = known[key] = process, t, t._version, compute(t)
    value: T = found[3]
    return value


@dataclass(frozen=True)
class Process:
    """A Gaussian process `p(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I)` on `[t_min, t_max]`."""

    t_min: float = field(default=0.0, kw_only=True)
    t_max: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("t_min", "t_max"):
            real(getattr(self, name), name)
        if not 0 <= self.t_min < self.t_max:
            raise ValueError(f"{type(self).__name__} needs 0 <= t_min < t_max, got {self.t_min} and {self.t_max}.")

    def _repr_png_(self) -> bytes:  # what a notebook shows; drawing is no part of the core
        found: bytes = import_module("undrift.plot.show").of_process(self)._repr_png_()
        return found

    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale, in [0, 1]; `()` or `(B,)` to the same shape."""
        raise NotImplementedError

    def sigma(self, t: Tensor) -> Tensor:
        """Noise scale (a standard deviation, data units); `()` or `(B,)` to the same shape."""
        raise NotImplementedError

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`(alpha(t), sigma(t))`; a plain number counts as a `()` float64 time."""
        return _once("pair", self, t, self._pair)

    def _pair(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = tensor(t, "t", None if isinstance(t, Tensor) else torch.float64)
        return self.alpha(t), self.sigma(t)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Time derivatives `(d alpha/dt, d sigma/dt)`, by automatic differentiation unless a closed form is given."""
        with torch.enable_grad():
            u = t if t.requires_grad else t.detach().requires_grad_()
            pair = [_derivative(f(u), u, create_graph=t.requires_grad) for f in (self.alpha, self.sigma)]
        return pair[0], pair[1]

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2); plus infinity where sigma = 0, minus infinity where alpha = 0."""
        return _once("log_snr", self, t, self._log_snr)

    def _log_snr(self, t: Tensor) -> Tensor:
        alpha, sigma = self(t)
        return 2 * (alpha.log() - sigma.log())

    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which `log_snr(t)` has this value; values out of reach give the nearer end."""
        low, high = torch.full_like(log_snr, self.t_min), torch.full_like(log_snr, self.t_max)
        for _ in range(64):
            middle = (low + high) / 2
            too_noisy = self.log_snr(middle) < log_snr
            low, high = torch.where(too_noisy, low, middle), torch.where(too_noisy, middle, high)
        return torch.where(log_snr >= self.log_snr(torch.full_like(low, self.t_min)), self.t_min, (low + high) / 2)

    def drift(self, t: Tensor) -> Tensor:
        """f(t) of the forward SDE `dx = f x dt + g dw`, in 1/time (Song et al. 2021, eq. 5)."""
        return self.rates(t)[0] / self.alpha(t)

    def diffusion(self, t: Tensor) -> Tensor:
        """g(t) (not its square) of the forward SDE, in data units per root time. `g^2 = 2 sigma (sigma' - f sigma)`."""
        (alpha, sigma), (dalpha, dsigma) = self(t), self.rates(t)
        return (2 * sigma * (dsigma - sigma * dalpha / alpha)).clamp(min=0).sqrt()

    def perturb(self, x0: Tensor, t: Tensor | float, eps: Tensor) -> Tensor:
        """A draw from `p(x_t | x_0)`: `alpha_t x0 + sigma_t eps`. All of shape `(B, *D)`."""
        alpha, sigma = self(as_time(t, x0))
        return expand(alpha, x0) * x0 + expand(sigma, x0) * eps

    def transition(self, x_t: Tensor, t: Tensor | float, s: Tensor | float, eps: Tensor) -> Tensor:
        """A draw from `q(x_s | x_t)` for `s` at least as noisy as `t`: one step of the forward SDE, exact for any gap.

        Raises:
            ValueError: some `s` lies before its `t`.
        """
        t, s = as_time(t, x_t), as_time(s, x_t)
        if bool((s < t).any()):
            raise ValueError("`transition` adds noise: `s` must not lie before `t`. Use a sampler to go back.")
        ratio, std = self.step(t, s)
        return expand(ratio, x_t) * x_t + expand(std, x_t) * eps

    def step(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """`(ratio, std)` of the transition kernel `q(x_s | x_t) = N(ratio x_t, std^2 I)`, `s` noisier than `t`."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self(t), self(s)
        ratio = alpha_s / alpha_t
        return ratio, (sigma_s**2 - (ratio * sigma_t) ** 2).clamp(min=0).sqrt()

    def prior(self, shape: Sequence[int] | Tensor, noise: Noise) -> Tensor:
        """A draw from `N(0, sigma(t_max)^2 I)`, where sampling starts.

        Args:
            shape: `(B, *D)`, or a tensor whose shape, dtype and device are taken.
            noise: One address per sample, `B` in all.
        """
        sigma = self.sigma(torch.tensor(self.t_max, dtype=torch.float64))
        return sigma * noise.fold("prior").normal(shape)

    def prior_log_prob(self, x: Tensor) -> Tensor:
        """Log-density of the prior at `x` `(B, *D)`, in nats, `(B,)`."""
        sigma = self.sigma(torch.tensor(self.t_max, dtype=torch.float64))
        squares = (x / sigma).square().flatten(1)
        return -0.5 * (squares.sum(1) + squares.shape[1] * torch.log(2 * math.pi * sigma**2))

    @property
    def levels(self) -> Tensor | None:
        """`(N + 1,)` decreasing times of a discrete chain, from t_max to clean data; None for a continuous process."""
        return None


def checked(process: Process) -> Process:
    """The process itself, if it is one: looked at on a coarse grid of times, wherever it enters a denoiser.

    Raises:
        TypeError: it is none.
        ValueError: alpha or sigma of another shape than the times, not finite, negative, or both zero; noise that does not grow.
    """
    instance(process, "process", Process, "give a process, such as undrift.VP()")
    share = torch.linspace(0, 1, 49, dtype=torch.float64)
    times = torch.lerp(share.new_tensor(process.t_min), share.new_tensor(process.t_max), share)
    with torch.no_grad():
        pairs = process(times), process(times[0])
    for name, many, one in zip(("alpha", "sigma"), *pairs, strict=True):
        for value, t in ((many, times), (one, times[0])):
            if not isinstance(value, Tensor) or value.shape != t.shape:
                found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"{process}: {name} of times {tuple(t.shape)} has to be of that shape, but is {found}.")
        bad = ~(many >= 0) | many.isinf()
        if bool(bad.any()):
            raise ValueError(
                f"{process}: {name} is {many[bad][0]:g} at t = {times[bad][0]:g}; it must be finite and not negative."
            )
    alpha, sigma = (a.double().cpu() for a in pairs[0])
    lost = (alpha == 0) & (sigma == 0)
    if bool(lost.any()):
        raise ValueError(f"{process}: alpha and sigma are both 0 at t = {times[lost][0]:g}, so nothing is left of the sample.")
    still = sigma[1:] * alpha[:-1] <= sigma[:-1] * alpha[1:]  # of the ratio, which may be infinite at the end
    if bool(still.any()):
        t, s = times[:-1][still][0], times[1:][still][0]
        raise ValueError(
            f"{process}: noise must grow with t, but log-SNR goes from {_log_snr(process, t):g} at t = {t:g} to "
            f"{_log_snr(process, s):g} at t = {s:g}. Data belong at t_min and noise at t_max: swap alpha and sigma, or turn t around."
        )
    return process


def _log_snr(process: Process, t: Tensor) -> float:
    return float(process.log_snr(t).detach())


def _derivative(y: Tensor, t: Tensor, create_graph: bool) -> Tensor:
    if not y.requires_grad:
        return torch.zeros_like(t)
    return torch.autograd.grad(y.sum(), t, create_graph=create_graph)[0]


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), the same for a value in any batch; torch's own rounds the last few of a batch differently from the others."""
    return torch.where(x >= 0, x + torch.log1p(torch.exp(-x.clamp(min=0))), torch.log1p(torch.exp(x.clamp(max=0))))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x), the same for a value in any batch, as `softplus`; both branches are finite, and so is their derivative."""
    rising = torch.exp(x.clamp(max=0))
    return torch.where(x >= 0, 1 / (1 + torch.exp(-x.clamp(min=0))), rising / (1 + rising))


def ordered(name: str, **bounds: float) -> None:
    """Constructor check: two named bounds, positive, finite and in order."""
    (low, a), (high, b) = bounds.items()
    for bound, value in bounds.items():
        real(value, bound, finite=False)
    if not (0 < a < b and math.isfinite(b)):
        raise ValueError(f"{name} needs 0 < {low} < {high}, got {low} = {a} and {high} = {b}.")
