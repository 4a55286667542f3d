"""Runge-Kutta methods: their order, step control per sample, and what they refuse."""

import math
from itertools import pairwise

import pytest
import torch

from undrift.likelihood import BOSH3, DOPRI5, HEUN, RK4, SOLVERS, Solver


def pendulum(t, state):
    """A smooth nonlinear, time-dependent field."""
    x, v = state[0].unbind(1)
    t = t if t.ndim else t.expand(len(x))
    return (torch.stack([v + t.cos(), -x.sin() * (1 + 0.5 * t)], 1),)


START = torch.tensor([[0.3, 1.0], [1.2, -0.4], [-2.0, 0.1], [0.0, 2.5]], dtype=torch.float64)
TRUTH = Solver(RK4, 4000)(pendulum, (START,), 0.0, 2.0).state[0]


@pytest.mark.parametrize("tableau", SOLVERS.values(), ids=SOLVERS)
def test_order(tableau):
    """Halving the step divides the error by 2^order."""
    sizes = [10, 20, 40]
    errors = [(Solver(tableau, n)(pendulum, (START,), 0.0, 2.0).state[0] - TRUTH).abs().mean() for n in sizes]
    for a, b in pairwise(errors):
        assert tableau.order - 0.35 < math.log2(a / b) < tableau.order + 0.9


@pytest.mark.parametrize("tableau", SOLVERS.values(), ids=SOLVERS)
def test_tableaux_are_consistent(tableau):
    for row, c in zip(tableau.a, tableau.c, strict=True):
        assert sum(row) == pytest.approx(c, abs=1e-14)
    assert sum(tableau.b) == pytest.approx(1, abs=1e-14) and sum(tableau.error) == pytest.approx(0, abs=1e-14)
    if tableau.error:
        assert tableau.a[-1] == tableau.b[:-1]  # first same as last


@pytest.mark.parametrize("tableau", [BOSH3, DOPRI5], ids=lambda t: t.name)
def test_the_error_estimate_is_of_the_lower_order(tableau):
    """The error of one step, as estimated, falls as h^order (the lower method has order - 1)."""

    def estimate(h):
        slopes, y = [], START
        for row, c in zip(tableau.a, tableau.c, strict=True):
            at = y + h * sum((w * k for w, k in zip(row, slopes, strict=False)), torch.zeros_like(y))
            slopes.append(pendulum(torch.tensor(c * h, dtype=torch.float64), (at,))[0])
        return sum(w * h * k for w, k in zip(tableau.error, slopes, strict=True)).abs().mean()

    assert math.log2(estimate(0.1) / estimate(0.05)) == pytest.approx(tableau.order, abs=0.3)


@pytest.mark.parametrize("tableau", [BOSH3, DOPRI5], ids=lambda t: t.name)
@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0)])
def test_adaptive_meets_its_tolerance_and_stays_inside(tableau, ends):
    seen = []

    def field(t, state):
        seen.append(t)
        return pendulum(t, state)

    truth = Solver(RK4, 4000)(pendulum, (START,), *ends).state[0]
    errors = []
    for tol in (1e-4, 1e-6, 1e-8):
        found = Solver(tableau, rtol=tol, atol=tol)(field, (START,), *ends)
        errors.append((found.state[0] - truth).abs().max().item())
        assert errors[-1] < 30 * tol
    assert errors[0] > errors[1] > errors[2]
    clocks = torch.stack(seen)
    assert clocks.min() == 0 and clocks.max() == 2


def test_each_sample_has_its_own_clock():
    """Stiff and easy samples together: the same answers, and the same counts, as alone; the stiff one alone pays."""
    rates = torch.tensor([[0.1], [50.0], [1.0]], dtype=torch.float64)

    def field(rows):
        return lambda t, state: (-rates[rows] * (state[0] - t.reshape(-1, 1).cos()),)

    one = torch.ones(3, 1, dtype=torch.float64)
    together = Solver()(field(slice(None)), (one,), 0.0, 1.0)
    for i in range(3):
        alone = Solver()(field(slice(i, i + 1)), (one[:1],), 0.0, 1.0)
        assert torch.equal(alone.state[0][0], together.state[0][i]) and alone.evaluations[0] == together.evaluations[i]
    assert together.evaluations[1] > 2 * together.evaluations[0]


@pytest.mark.parametrize("tableau", SOLVERS.values(), ids=SOLVERS)
def test_evaluations_are_those_that_were_made(tableau):
    for solver in (Solver(tableau, 7), *([Solver(tableau)] if tableau.error else [])):
        calls = []

        def field(t, state, calls=calls):
            calls.append(t)
            return pendulum(t, state)

        found = solver(field, (START[:1],), 0.0, 2.0)
        assert found.evaluations.tolist() == [len(calls)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Solver(RK4), "rk4 has no error estimate"),
        (lambda: Solver(RK4, 0), "`steps` must be a whole number of at least 1 and at most 1,000,000, got 0"),
        (lambda: Solver(atol=0.0), "tolerances must be positive"),
        (lambda: Solver.of("rk5"), 'solver "rk5" is unknown — did you mean "rk4"'),
        (lambda: Solver.of(None, 5, 1e-3), "not both"),
        (lambda: Solver.of(Solver(), 5), "has its own steps"),
    ],
)
def test_what_no_solver_is(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_which_solver_a_call_gets():
    assert Solver.of() == Solver(DOPRI5) and Solver.of(None, 9) == Solver(RK4, 9) and Solver.of("heun", 9) == Solver(HEUN, 9)
    assert Solver.of(None, None, 1e-3) == Solver(DOPRI5, None, 1e-3, 1e-3)
    assert Solver.of("bosh3", None, 1e-6, 1e-3) == Solver(BOSH3, None, 1e-6, 1e-3)


def test_a_flow_that_cannot_be_followed_is_said():
    with pytest.raises(RuntimeError, match="no step small enough for sample 1"):
        Solver()(lambda t, s: (1 / (torch.tensor([[9.0], [0.5]]) - t[:, None]) ** 2,), (torch.zeros(2, 1).double(),), 0.0, 1.0)
    with pytest.raises(RuntimeError, match="4 of 4 samples did not arrive in 3 steps of dopri5"):
        Solver(max_steps=3)(pendulum, (START,), 0.0, 2.0)
