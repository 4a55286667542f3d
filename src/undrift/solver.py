"""Explicit Runge-Kutta methods for a batch of ordinary differential equations, each sample on its own clock.

A method is a table of numbers (Butcher's tableau). With slopes `k_i = f(t + c_i h, y + h sum_j a_ij k_j)` a step is

    y' = y + h sum_i b_i k_i,        error estimate  h sum_i e_i k_i   (the difference of two methods that share slopes).

The adaptive solver keeps time, step and tolerance per sample, so a sample's answer does not depend on its batch, and its
steps end exactly at the end of the interval, never beyond. Its pairs are "first same as last": the last slope of an
accepted step is the first of the next one, and is not computed twice.

A state is a tuple of tensors `(B, *D)` with any `D`, so what is carried along the flow (a log-determinant) is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from undrift.argument import MOST_STEPS, instance, real, whole
from undrift.error import nearest
from undrift.process import expand
from undrift.watching import tell

Values = tuple[Tensor, ...]
Field = Callable[[Tensor, Values], Values]  # time () or (B,) float64, state -> slopes


@dataclass(frozen=True)
class Tableau:
    """A Runge-Kutta method: `a` (one row for each slope), weights `b`, nodes `c`, and those of the error, if it has one."""

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    error: tuple[float, ...] = ()

    @property
    def stages(self) -> int:
        """Slopes that a step needs if its error is not wanted."""
        return max(i for i, weight in enumerate(self.b) if weight) + 1


EULER = Tableau("euler", 1, ((),), (1.0,), (0.0,))
HEUN = Tableau("heun", 2, ((), (1.0,)), (1 / 2, 1 / 2), (0.0, 1.0))
MIDPOINT = Tableau("midpoint", 2, ((), (1 / 2,)), (0.0, 1.0), (0.0, 1 / 2))
# Kutta 1901: the classical method.
RK4 = Tableau("rk4", 4, ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 1 / 2, 1 / 2, 1.0))
# Bogacki & Shampine 1989, eq. 2: orders 3 and 2.
BOSH3 = Tableau(
    "bosh3",
    3,
    ((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9, 0.0),
    (0.0, 1 / 2, 3 / 4, 1.0),
    (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
)
_DOPRI5 = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0)
_DOPRI4 = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
# Dormand & Prince 1980, table 2: orders 5 and 4.
DOPRI5 = Tableau(
    "dopri5",
    5,
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _DOPRI5[:-1],
    ),
    _DOPRI5,
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    tuple(p - q for p, q in zip(_DOPRI5, _DOPRI4, strict=True)),
)
SOLVERS = {tableau.name: tableau for tableau in (HEUN, RK4, BOSH3, DOPRI5)}


class Solution(NamedTuple):
    """Where the flow arrived, and `(B,)` int64: how many evaluations of the field each sample's answer took."""

    state: Values
    evaluations: Tensor


@dataclass(frozen=True)
class Solver:
    """A method with its step control: `steps` equal steps, or as many as each sample needs for `rtol` and `atol`.

    The adaptive control accepts a step if the root mean square of `error / (atol + rtol |y|)` over the entries of each part of
    the state is at most 1 (Hairer, Norsett & Wanner 1993, sec. II.4).

    Args:
        tableau: The method, or its name in `SOLVERS`.
        steps: Number of equal steps; None: adaptive.
        rtol, atol: Tolerances of one step, relative and absolute (units of the state).
        max_steps: Attempts after which an adaptive run gives up.

    Raises:
        ValueError: an unknown name, numbers out of range, an adaptive method without an error estimate.
    """

    tableau: Tableau = DOPRI5
    steps: int | None = None
    rtol: float = 1e-6
    atol: float = 1e-6
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        instance(self.tableau, "solver", Tableau, "give a `Tableau` or a name of undrift.likelihood.SOLVERS")
        if self.steps is not None:
            whole(self.steps, "steps", 1, MOST_STEPS)
        whole(self.max_steps, "max_steps", 1)
        for name in ("rtol", "atol"):
            object.__setattr__(self, name, real(getattr(self, name), name))
        if not (self.rtol >= 0 and self.atol > 0):
            raise ValueError(f"tolerances must be positive, got rtol = {self.rtol} and atol = {self.atol}.")
        if self.steps is None and not self.tableau.error:
            raise ValueError(f"{self.tableau.name} has no error estimate: give `steps`, or use bosh3 or dopri5.")

    @classmethod
    def of(
        cls,
        solver: Solver | Tableau | str | None = None,
        steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> Solver:
        """The solver that a call asks for: `steps` makes it fixed (RK4); else it is adaptive (DOPRI5).

        One tolerance given alone is both.
        """
        if steps is not None and (rtol is not None or atol is not None):
            raise ValueError("give `steps` (a fixed grid) or `rtol` and `atol` (step control), not both.")
        if isinstance(solver, Solver):
            if steps is not None or rtol is not None or atol is not None:
                raise ValueError("a `Solver` has its own steps and tolerances: give them there.")
            return solver
        if isinstance(solver, str):
            if solver not in SOLVERS:
                raise ValueError(f'solver "{solver}" is unknown{nearest(solver, SOLVERS)}')
            solver = SOLVERS[solver]
        tableau = (DOPRI5 if steps is None else RK4) if solver is None else solver
        given = [tol for tol in (rtol, atol) if tol is not None] or [cls.rtol]
        return cls(tableau, steps, given[0], given[-1])

    def __call__(self, field: Field, state: Values, start: float, end: float) -> Solution:
        """Integrate `d state/dt = field(t, state)` from `start` to `end`, in either direction.

        Args:
            field: Called with `t`, `()` for a fixed grid and `(B,)` for an adaptive run, float64 on the CPU.
            state: Tensors `(B, *D)` with one B.

        Raises:
            RuntimeError: step control found no step small enough, or `max_steps` did not do.
        """
        return self._fixed(field, state, start, end) if self.steps else self._adaptive(field, state, start, end)

    def _fixed(self, field: Field, state: Values, start: float, end: float) -> Solution:
        assert self.steps is not None
        tableau, stages = self.tableau, self.tableau.stages
        for i, (t, s) in enumerate(pairwise(torch.linspace(start, end, self.steps + 1, dtype=torch.float64))):
            tell(i / self.steps)
            slopes: list[Values] = []
            for row, c in zip(tableau.a[:stages], tableau.c[:stages], strict=True):
                slopes.append(field(s if c == 1 else t + c * (s - t), _ahead(state, row, slopes, s - t)))
            state = _ahead(state, tableau.b[:stages], slopes, s - t)
        return Solution(state, torch.full((len(state[0]),), stages * self.steps))

    def _adaptive(self, field: Field, state: Values, start: float, end: float) -> Solution:
        tableau, low, high = self.tableau, min(start, end), max(start, end)
        clock = torch.full((len(state[0]),), start, dtype=torch.float64)
        step = torch.full_like(clock, (end - start) / 16)
        evaluations = torch.ones(len(clock), dtype=torch.int64)
        first = field(clock, state)
        for _ in range(self.max_steps):
            todo = clock != end
            if not bool(todo.any()):
                return Solution(state, evaluations)
            tell(float((clock - start).abs().min()) / (high - low))
            last = step.abs() >= (end - clock).abs()
            h = torch.where(todo, torch.where(last, end - clock, step), 0.0)
            slopes = [first]
            for row, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
                at = torch.where(last, end, clock + h) if c == 1 else clock + c * h
                slopes.append(field(at.clamp(low, high), _ahead(state, row, slopes, h)))
            evaluations += todo * (len(slopes) - 1)
            new = _ahead(state, tableau.b, slopes, h)
            ratio = self._ratio(state, new, [_combine(tableau.error, part, h) for part in zip(*slopes, strict=True)])
            accept = todo & (ratio <= 1)
            state, first = _choose(accept, new, state), _choose(accept, slopes[-1], first)
            clock = torch.where(accept, torch.where(last, end, clock + h), clock)
            step = torch.where(todo, h * (0.9 * torch.exp(-ratio.log() / tableau.order)).clamp(0.2, 5.0), step)
            lost = todo & ~accept & (step.abs() < 1e-12 * (high - low))
            if bool(lost.any()):
                i = int(lost.nonzero()[0])
                raise RuntimeError(
                    f"{tableau.name} found no step small enough for sample {i} at {clock[i]:.6g} of [{low:g}, {high:g}]: "
                    "the flow there is not finite or not smooth. Loosen the tolerances, or check the denoiser's output."
                )
        raise RuntimeError(
            f"{int((clock != end).sum())} of {len(clock)} samples did not arrive in {self.max_steps} steps of {tableau.name}; "
            f"loosen the tolerances (now rtol = {self.rtol:g}, atol = {self.atol:g})."
        )

    def _ratio(self, old: Values, new: Values, errors: Sequence[Tensor]) -> Tensor:
        """(B,) error over tolerance: the largest over the parts of the state; infinite where anything is not finite."""
        ratios = []
        for a, b, e in zip(old, new, errors, strict=True):
            scaled = e / (self.atol + self.rtol * torch.maximum(a.abs(), b.abs()))
            ratios.append(scaled.flatten(1).square().mean(1).sqrt())
        ratio = torch.stack(ratios).amax(0).to("cpu", torch.float64)
        return ratio.nan_to_num(nan=torch.inf)


def _combine(weights: Sequence[float], slopes: Sequence[Tensor], h: Tensor) -> Tensor:
    """h times the weighted sum of slopes; () or (B,) steps."""
    total = torch.zeros_like(slopes[0])
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            total = total + weight * slope
    return expand(h, total) * total


def _ahead(state: Values, weights: Sequence[float], slopes: Sequence[Values], h: Tensor) -> Values:
    if not slopes:
        return state
    return tuple(y + _combine(weights, part, h) for y, *part in zip(state, *slopes, strict=True))


def _choose(accept: Tensor, new: Values, old: Values) -> Values:
    return tuple(torch.where(expand(accept, a) != 0, a, b) for a, b in zip(new, old, strict=True))
