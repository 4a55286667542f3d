"""The rules of the house, for every sampler."""

import collections
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

import undrift as ud
from conftest import ALL_SAMPLERS, Counted, mixture, same_law
from undrift import times as grids
from undrift.process.base import remembering
from undrift.sampler.base import State
from undrift.solver import RK4

DOUBLE = torch.empty(0, dtype=torch.float64)
FEWER = {name: sampler for name, (sampler, _) in ALL_SAMPLERS.items()} | {"annealed-langevin": ud.AnnealedLangevin(corrections=3)}


@pytest.mark.parametrize("kind", FEWER)
def test_rules_of_the_house(kind):
    """No noise in the last step; evaluations as promised; any grid from 1 step on; the batch does not matter."""
    sampler, m = FEWER[kind], mixture(ud.Rectified())
    for steps in (1, 2, 3, 9, 200):
        counted = Counted(m)
        x = ud.sample(counted, 8, sampler, steps, seed=1, like=DOUBLE)
        assert torch.isfinite(x).all() and sampler.evaluations(steps) in (None, counted.calls)
    uneven = torch.tensor([1.0, 0.93, 0.4, 0.39, 0.1, 0.0], dtype=torch.float64)
    assert torch.isfinite(ud.sample(m, 8, sampler, uneven, like=DOUBLE)).all()

    start = State(torch.full((4, 2), 0.3, dtype=torch.float64), uneven[-2], index=4, memory=None)
    ends = [next(sampler.__class__.__call__(sampler, m, start, uneven, ud.Noise(range(4)).fold(k))).x for k in (1, 2)]
    if not getattr(sampler, "corrector_first", False) and kind not in ("adaptive", "printed"):
        # The first follows the flow a little further before; the other's last step is one with noise, see test_endings.
        torch.testing.assert_close(ends[0], m(start.x, start.t).data)
        assert torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("kind", FEWER)
def test_sample_i_is_bitwise_the_same_in_any_batch(kind):
    sampler, m = FEWER[kind], mixture(ud.VP())
    for dtype in (torch.float32, torch.float64):
        whole = ud.sample(m, 24, sampler, 6, seed=7, like=torch.empty(0, dtype=dtype), batch_size=24)
        assert torch.equal(ud.sample(m, 24, sampler, 6, seed=7, like=torch.empty(0, dtype=dtype), batch_size=7), whole)
        alone = [ud.sample(m, 1, sampler, 6, seed=7, first=i, like=torch.empty(0, dtype=dtype)) for i in (0, 5, 23)]
        assert torch.equal(torch.cat(alone), whole[[0, 5, 23]])
        assert torch.equal(ud.sample(m, 3, sampler, 6, seed=7, first=20, like=torch.empty(0, dtype=dtype)), whole[20:23])


@pytest.mark.parametrize("kind", FEWER)
def test_a_run_goes_on_where_it_stopped(kind, tmp_path):
    sampler, m = FEWER[kind], mixture(ud.VP())
    grid, noise = grids.karras(m.process, 8), ud.Noise(range(5)).fold("resume")
    states = list(sampler(m, State(m.process.prior((5, 2), noise), grid[0]), grid, noise))
    torch.save(states[3], tmp_path / "state")
    again = torch.load(tmp_path / "state", weights_only=False)
    *_, last = sampler(m, again, grid, noise)
    assert torch.equal(last.x, states[-1].x)


@pytest.mark.parametrize("kind", FEWER)
def test_float32_follows_float64(kind):
    """Chaos aside: 20 steps on a mixture, where rounding grows by at most a hundred or so."""
    m, sampler = mixture(ud.VP()), FEWER[kind]
    a, b = (ud.sample(m, 32, sampler, 20, like=torch.empty(0, dtype=d)) for d in (torch.float32, torch.float64))
    near = (a.double() - b).abs().amax(1) < 1e-3
    # A move accepted in one and not in the other, or a step count that differs, takes a sample elsewhere.
    assert near.double().mean() >= (0.9 if kind in ("metropolis", "adaptive") else 1)


@pytest.mark.parametrize("grid", ["karras", "straight", "log_snr", "cosine", "uniform", "trailing", "linspace", "leading"])
@pytest.mark.parametrize("kind", FEWER)
def test_every_grid_is_safe_from_zero_terminal_snr(kind, grid):
    """alpha = 0 at t_max: nothing is infinite, and the evaluations are as promised."""
    from undrift.recipe.tables import GRIDS

    m, sampler = Counted(mixture(ud.Cosine())), FEWER[kind]
    x = ud.sample(m, 8, sampler, 4, grid=GRIDS[grid], like=DOUBLE)
    assert torch.isfinite(x).all() and x.abs().max() < 30
    if sampler.evaluations(4) is not None:
        assert m.calls == sampler.evaluations(4)


def test_numbers_of_numpy_are_numbers():
    n, steps = np.arange(3, 5)
    assert torch.equal(ud.sample(mixture(), n, steps=steps), ud.sample(mixture(), 3, steps=4))
    with pytest.raises(ValueError, match="`n` must be a whole number"):
        ud.sample(mixture(), 2.5)


def test_a_name_is_not_a_sampler():
    with pytest.raises(TypeError, match=r"`sampler` is an object, such as undrift.ABM\(\); names like 'abm'"):
        ud.sample(mixture(), 2, "abm")


def test_steps_within_a_budget():
    assert [ud.Heun().steps_within(n) for n in (0, 1, 2, 3, 10)] == [0, 1, 1, 2, 5]
    assert ud.DPM2M().steps_within(10) == 10 and ud.Adaptive().steps_within(10) == 0
    assert ud.PredictorCorrector(ud.Ancestral(), ud.Metropolis()).steps_within(10) == 4


def test_a_start_is_noised_data():
    """Image-to-image: with little strength the data come back, with all of it they are forgotten."""
    m = mixture(ud.VP())
    data = m.sample(200, ud.Noise(range(200)).fold("data"))
    options = {"steps": 40, "seed": 3, "like": DOUBLE}
    moved = [(ud.sample(m, 200, start=data, strength=s, **options) - data).norm(dim=1).mean() for s in (0.05, 0.4, 1.0)]
    assert moved[0] < 0.1 < moved[1] < moved[2]
    assert same_law(ud.sample(m, 200, ud.Ancestral(), start=data, strength=0.5, **options), data) > 1 / 201
    times = grids.straight(m.process, 40)[20:]
    eps = ud.Noise(range(200)).fold("sample", 3).fold("prior").normal(data)
    *_, last = ud.DPM2M()(m, State(m.process.perturb(data, times[0], eps), times[0]), times)
    torch.testing.assert_close(ud.sample(m, 200, start=data, strength=0.5, **options), last.x)


def test_a_large_set_goes_to_disk_and_is_the_same(tmp_path):
    m, seen = mixture(), []
    whole = ud.sample(m, 500, steps=3)
    mapped = ud.sample(m, 500, steps=3, batch_size=64, out=tmp_path / "x.npy", callback=lambda s: seen.append(len(s.x)))
    assert torch.equal(mapped, whole) and max(seen) == 64
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "x.npy")), whole)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    """Anonymous memory, which the system cannot take back, of 100 MB of samples written to disk in batches of 1 MB."""
    code = f"""
import torch, undrift as ud
m = ud.GaussianMixture(torch.zeros(1, 1024), 1.0)
def anonymous():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1])
ud.sample(m, 500, steps=1, out={str(tmp_path / "a.npy")!r})
before = anonymous()
x = ud.sample(m, 25_000, steps=1, batch_size=250, out={str(tmp_path / "b.npy")!r})
print(tuple(x.shape), anonymous() - before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "StopIteration" in out.stderr or "FileNotFoundError" in out.stderr:
        pytest.skip("this system does not tell anonymous memory apart")
    assert out.stdout.startswith("(25000, 1024) "), out.stderr
    assert int(out.stdout.split()[-1]) < 60_000, out.stdout


def test_previews_and_early_stop():
    m, seen = mixture(), []

    def callback(state):
        seen.append(state.data)
        if len(seen) == 3:
            raise StopIteration

    x = ud.sample(m, 4, ud.DPM2M(), 10, callback=callback)
    assert len(seen) == 3 and x.shape == (4, 2) and all(d.shape == (4, 2) for d in seen)


M = mixture()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ud.sample(M, 0), "must be a whole number of at least 1"),
        (lambda: ud.sample(M, 4, steps=0), "whole number of at least 1"),
        (lambda: ud.sample(M, 4, steps=-3), "whole number of at least 1"),
        (lambda: ud.sample(M, 4, seed=-1), "must be a whole number of at least 0"),
        (lambda: ud.sample(M, 4, cond=torch.tensor([0, 1])), "2 rows for 4 samples"),
        (lambda: ud.sample(M, 4, steps=torch.tensor([0.1, 0.9])), "decrease from noise to data"),
        (lambda: ud.sample(M, 4, steps=torch.tensor([1.5, 0.0])), "outside"),
        (lambda: ud.sample(ud.Denoiser(torch.nn.Identity(), ud.VP()), 4), "does not know the shape"),
        (
            lambda: ud.Ancestral()(M, State(torch.zeros(2, 2), torch.tensor(1.0).double()), torch.tensor([1.0, 0.0])),
            "pass `noise`",
        ),
        (lambda: ud.Heun()(M, State(torch.zeros(2, 2), torch.tensor(0.7)), torch.tensor([1.0, 0.0])), "not on this grid"),
        (lambda: ud.Heun()(M, State(torch.zeros(2, 2), torch.tensor(1.0)), torch.tensor([1.0, 0.0]), ud.Noise([1])), "carries 1"),
        (lambda: ud.Ancestral(1.5), "share of fresh noise"),
        (lambda: ud.sample(M, 4, strength=0.5), "give them as `start`"),
        (lambda: ud.sample(M, 4, start=torch.zeros(4, 2), strength=0.0), "in \\(0, 1\\]"),
        (lambda: ud.sample(M, 4, start=torch.zeros(3, 2)), "shape \\(3, 2\\)"),
        (lambda: ud.sample(M, 4, start=torch.full((4, 2), torch.nan)), "not finite"),
        (lambda: ud.Adams(5), "1, 2, 3 or 4"),
        (lambda: ud.SASolver(tau=-1), "must not be negative"),
        (lambda: ud.DEIS(2, tau=0.5), "use `SASolver`"),
        (lambda: ud.VelocityAB(tau=0.5), "goes with the data prediction"),
        (lambda: ud.Adams(quantity="score"), "one of data, noise, velocity, not 'score'"),
        (lambda: ud.Adams(coordinate="sigma"), "one of log_snr, log_straight, straight, ratio, time"),
        (lambda: ud.Churn(0.5), "sqrt"),
        (lambda: ud.Churn(low=3.0, high=1.0), "low < high"),
        (lambda: ud.Metropolis(measured=True), "leave out `measured`"),
        (lambda: ud.Adaptive(rtol=-1.0), "positive"),
        (lambda: ud.Adaptive(RK4), "no error estimate"),
        (lambda: ud.sample(M.using(ud.VE()), 4, ud.PredictorCorrector(corrector=ud.Metropolis()), 3), "no `log_prob`"),
        (lambda: ud.fit_grid(M, (4, 2), ud.Noise(range(4)), steps=(1,)), "at least 2 steps"),
        (lambda: ud.fit_grid(M, (4, 2), ud.Noise(range(4)), sampler=ud.Ancestral()), "deterministic sampler"),
        (lambda: grids.Fitted(((1.0, 2.0),)), "decreasing"),
        (lambda: ud.EulerMaruyama(-1), "must not be negative"),
        (lambda: ud.EulerMaruyama(float("nan")), "finite"),
        (lambda: ud.SASolver(tau=float("inf")), "finite"),
        (lambda: grids.karras(ud.VP(), 5, rho=0.0), "positive rho"),
        (lambda: grids.warped(ud.VP(), 5, 0.0, 1.0), "positive a and b"),
        (lambda: ud.Langevin(0), "snr"),
        (lambda: ud.PredictorCorrector(corrections=0), "at least 1"),
        (lambda: grids.uniform(ud.DDPM(10), 11), "only 10 levels"),
        (lambda: grids.karras(ud.VP(), 5, sigma_low=3, sigma_high=1), "sigma_low < sigma_high"),
    ],
)
def test_what_cannot_be_sampled(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_samples_that_are_not_finite_are_not_returned():
    class Broken(torch.nn.Module):
        def forward(self, x, level, cond):
            return x / 0

    with pytest.raises(RuntimeError, match="DPM2M made 3 of 3 samples that are not finite"):
        ud.sample(ud.Denoiser(Broken(), ud.VP()), (3, 2))


def test_from_pure_noise_a_step_of_one_s_own_is_told_what_to_look_at():
    """alpha = 0 at t_max: the drift alpha'/alpha is infinite there, the velocity is not."""

    class ByDrift(ud.Sampler):
        def step(self, denoiser, state, s, noise):
            f, g = denoiser.process.drift(state.t), denoiser.process.diffusion(state.t)
            flow = f * state.x - g**2 / 2 * ud.score_at(denoiser, state.x, state.t)
            return state.next(state.x - (state.t - s) * flow, s)

    class ByVelocity(ud.Sampler):
        def step(self, denoiser, state, s, noise):
            return state.next(state.x - (state.t - s) * ud.velocity_at(denoiser, state.x, state.t), s)

    m = mixture(ud.Rectified())
    with pytest.raises(RuntimeError, match=r"start from pure noise, alpha = 0 at t = 1, .* written with `velocity_at`"):
        ud.sample(m, 3, ByDrift(), 5)
    assert torch.isfinite(ud.sample(m, 3, ByVelocity(), 5)).all()
    with pytest.raises(RuntimeError) as told:
        ud.sample(ud.Denoiser(Nan(), ud.VP()), (3, 2))
    assert "pure noise" not in str(told.value)


class Nan(torch.nn.Module):
    def forward(self, x, level, cond):
        return x * torch.nan


def test_a_density_is_one_number_for_each_sample():
    corrector = ud.Metropolis(log_prob=lambda x, t: M.log_prob(x, t)[:, None])
    with pytest.raises(ValueError, match=r"must return \(4,\), one value for each sample, got \(4, 1\)"):
        ud.sample(M, 4, ud.PredictorCorrector(ud.Ancestral(), corrector), 3)


def test_what_is_no_denoiser_and_no_sampler_is_named():
    law = mixture(ud.VP())
    with pytest.raises(TypeError, match=r"`denoiser` is a Linear, which is no denoiser: wrap a network as undrift.Denoiser"):
        ud.sample(torch.nn.Linear(2, 2), 4)

    class Model:
        denoiser = law

    for ask in (ud.sample, ud.log_likelihood, ud.encode, ud.variational_bound):
        with pytest.raises(TypeError, match=r"`denoiser` is a Model, which is no denoiser: pass its `.denoiser`"):
            ask(Model(), torch.zeros(4, 2) if ask is not ud.sample else 4)
    with pytest.raises(TypeError, match=r"write Heun\(\), with the brackets"):
        ud.sample(law, 4, ud.Heun)

    class Wrong(ud.Euler):
        def step(self, denoiser, state, s, noise):
            return state.x

    with pytest.raises(
        TypeError, match=r"Wrong.step returned Tensor, but must return a State: `return state.next\(x, s, data\)`"
    ):
        ud.sample(law, 4, Wrong())


@pytest.mark.parametrize("kind", ALL_SAMPLERS)
def test_a_step_asks_the_process_about_a_time_once(kind):
    asked = collections.Counter()

    @dataclasses.dataclass(frozen=True)
    class Asked(ud.VP):
        def alpha(self, t):
            asked.update(t.flatten().tolist())
            return super().alpha(t)

    process = Asked()
    law = mixture(process)
    sampler = ALL_SAMPLERS[kind][0]
    grid = ud.times.straight(process, 6)
    asked.clear()
    list(sampler(law, State(torch.ones(2, 2), grid[0]), grid, ud.Noise(range(2))))
    # As the end of a step, the start of the next, and what a multistep solver looks back at. RePaint goes back itself.
    assert kind in ("repaint", "adaptive") or max(asked.values()) <= 4, asked


def test_what_a_step_remembers_of_a_process_is_what_it_would_say_again():
    process, t = ud.VP(), torch.tensor(0.5, dtype=torch.float64)
    with remembering():
        first, log_snr = process(t), process.log_snr(t)
        assert process(t) is first and process.log_snr(t) is log_snr
        assert ud.VP(beta_max=9.0)(t)[0] != first[0], "another process"
        t.mul_(0.5)
        assert process(t)[0] == ud.VP()(torch.tensor(0.25, dtype=torch.float64))[0], "another time in the same tensor"
    assert process(t) is not process(t), "nothing is kept for longer than a step"
