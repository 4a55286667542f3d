"""Latents: data carried to noise along the flow, and back.

The flow is deterministic and invertible, so every data point has one latent, x at t_max, distributed like the prior; the way
back is the same equation run the other way. `encode` then `decode` is the identity up to the solver's error, which
`round_trip` measures. Latents have the dimension of the data, and nothing orders them: two that are close give data that
are close, no more (001 calls them "slightly more explainable", 004 "just noise").

Between two data points: a path of latents, decoded. "slerp" follows the great circle, along which the norm stays typical of
the prior; "linear" cuts the corner through shorter, atypical latents (White 2016). If the two points have conditions of their
own, each is encoded under its own, and frame w is decoded under the blend `(1 - w) a + w b` of both predictions: labels have no
middle, predictions do. (To switch the class and keep the latent: `encode` under one condition, `decode` under the other.)
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from undrift import condition
from undrift.argument import choice, whole
from undrift.denoiser import AnyDenoiser, Prediction, exactly
from undrift.likelihood.density import batches, check_data
from undrift.likelihood.divergence import wide
from undrift.likelihood.flow import START, Line
from undrift.process import expand
from undrift.solver import Solver, Tableau


def encode(
    denoiser: AnyDenoiser,
    x: Tensor,
    *,
    cond: Any = None,
    solver: Solver | Tableau | str | None = None,
    steps: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    start: float = START,
    batch_size: int = 256,
) -> Tensor:
    """Data to latents: follow the probability flow to t_max.

    Args:
        denoiser: Any denoiser.
        x: `(B, *D)` data in model space.
        cond, solver, steps, rtol, atol, start, batch_size: As in `log_likelihood`. Default: `dopri5` at 1e-6.

    Returns:
        `(B, *D)`, states at t_max on the scale of the prior, `N(0, sigma_T^2 I)`, in the dtype of `x`.

    Raises:
        ValueError, RuntimeError: as `log_likelihood`.
    """
    check_data(denoiser, x)
    return _carry(denoiser, x, cond, Solver.of(solver, steps, rtol, atol), Line(denoiser.process, start), True, batch_size)


def decode(
    denoiser: AnyDenoiser,
    z: Tensor,
    *,
    cond: Any = None,
    solver: Solver | Tableau | str | None = None,
    steps: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    start: float = START,
    batch_size: int = 256,
) -> Tensor:
    """Latents to data: the way back of `encode`, same arguments. From a draw of the prior it is a sample.

    It ends at noise level `start`, not with a denoised mean, so that it inverts `encode`.
    """
    check_data(denoiser, z, "z")
    return _carry(denoiser, z, cond, Solver.of(solver, steps, rtol, atol), Line(denoiser.process, start), False, batch_size)


def round_trip(denoiser: AnyDenoiser, x: Tensor, **options: Any) -> Tensor:
    """`(B,)`: the largest change of any entry of a sample by `encode` and `decode`, in units of `x`. Options as there."""
    return (decode(denoiser, encode(denoiser, x, **options), **options) - x).abs().flatten(1).amax(1)


def interpolate(
    denoiser: AnyDenoiser,
    a: Tensor,
    b: Tensor,
    n: int = 8,
    kind: Literal["slerp", "linear"] = "slerp",
    *,
    cond: Any = None,
    cond_b: Any = None,
    **options: Any,
) -> Tensor:
    """From data `a` to data `b` through latent space.

    Args:
        denoiser: Any denoiser.
        a, b: `(B, *D)` data in model space, B paths.
        n: Frames of a path, at least 2, both ends included: the first is `a`, the last `b`, up to the solver's error.
        kind: "slerp" or "linear"; see the module. Where two latents point in opposite directions slerp is linear.
        cond: The condition of `a`, as in `log_likelihood`.
        cond_b: The condition of `b`. Default: that of `a`.
        options: As in `encode`.

    Returns:
        `(B, n, *D)`.

    Raises:
        ValueError: shapes that differ, fewer than 2 frames, an unknown kind.
    """
    if whole(n, "n") < 2:
        raise ValueError(f"`n` counts the frames with both ends and must be at least 2, got {n}.")
    check_data(denoiser, a, "a")
    check_data(denoiser, b, "b")
    choice(kind, "kind", ("slerp", "linear"))
    if a.shape != b.shape:
        raise ValueError(f"`a` and `b` must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    cond_b = cond if cond_b is None else cond_b
    z_a, z_b = encode(denoiser, a, cond=cond, **options), encode(denoiser, b, cond=cond_b, **options)
    share = torch.linspace(0, 1, n, dtype=torch.float64)
    path = torch.stack([_between(z_a, z_b, float(w), kind) for w in share], 1)
    frames = []
    for i in range(len(a)):  # one path at a time, so that its two conditions can be bound to its frames
        ends = [condition.repeat(condition.rows(condition.for_samples(c, len(a)), slice(i, i + 1)), n) for c in (cond, cond_b)]
        blend = denoiser.given(ends[0])
        if cond_b is not cond:
            blend = _Blend(blend, denoiser.given(ends[1]), share)
        frames.append(decode(blend, path[i], **{**options, "batch_size": n}))
    return torch.stack(frames)


class _Blend(AnyDenoiser):
    """`(1 - w) a + w b`, with a weight for each sample."""

    def __init__(self, a: AnyDenoiser, b: AnyDenoiser, weight: Tensor) -> None:
        super().__init__()
        self.a, self.b, self.weight = a, b, weight
        self.process, self.shape, self.sigma_data = a.process, a.shape, a.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        w = expand(self.weight, x)
        return Prediction(*(p + w * (q - p) for p, q in zip(self.a(x, t), self.b(x, t), strict=True)))


def _between(a: Tensor, b: Tensor, w: float, kind: str) -> Tensor:
    """The point w of the way from a to b, each (B, *D)."""
    if kind == "linear":
        return (1 - w) * a + w * b
    flat_a, flat_b = a.flatten(1).to(wide(a)), b.flatten(1).to(wide(b))
    cosine = torch.nn.functional.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1)
    angle = cosine.arccos()
    straight = angle.sin() < 1e-6
    safe = torch.where(straight, torch.ones_like(angle), angle)
    left = torch.where(straight, 1 - w, ((1 - w) * safe).sin() / safe.sin())
    right = torch.where(straight, w, (w * safe).sin() / safe.sin())
    return (left[:, None] * flat_a + right[:, None] * flat_b).to(a.dtype).view_as(a)


@torch.no_grad()
def _carry(denoiser: AnyDenoiser, x: Tensor, cond: Any, solver: Solver, line: Line, up: bool, batch_size: int) -> Tensor:
    parts = []
    with exactly(denoiser):
        for rows, bound in batches(denoiser, x, cond, batch_size):
            field = line.velocity(bound, x.dtype)
            if up:
                parts.append(line.to_noise(solver(field, (line.from_data(x[rows]),), line.low, line.high).state[0]))
            else:
                parts.append(line.to_data(solver(field, (line.from_noise(x[rows]),), line.high, line.low).state[0]))
    end = torch.cat(parts).to(x.dtype)
    bad = int((~torch.isfinite(end.flatten(1))).any(1).sum())
    if bad:
        raise RuntimeError(f"the flow took {bad} of {len(x)} samples to values that are not finite; check the denoiser's output.")
    return end
