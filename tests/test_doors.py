"""Whatever is handed in from Python, a public function does what it says, or says in one sentence what it got and what to give."""

import math
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

import undrift as ud
from undrift.data import Spec
from undrift.inverse import MMPS, Operator, downsample
from undrift.inverse.method import DPS, DiffPIR, PiGDM
from undrift.metrics.energy import Energy
from undrift.metrics.frechet import Frechet
from undrift.metrics.inception_score import inception_score
from undrift.metrics.interval import median
from undrift.metrics.manifold import Manifold
from undrift.metrics.memorization import by_distance
from undrift.model import Model

LAW = ud.GaussianMixture([[1.0, 0.0], [-1.0, 0.0]], 0.5, process=ud.Rectified())
LINE = ud.GaussianMixture([[1.0, 0.0], [-1.0, 0.0]], 0.5)  # of VP
NET = ud.Denoiser(lambda x, level, cond: x, ud.VP(), shape=(2,))
X = torch.tensor([[0.5, 0.2], [-0.4, 0.1]])
MASK = torch.tensor([True, False])
FIRST = Operator(lambda x: x[:, :1], (2,), name="first")
NOISE = ud.Noise(range(2))
SOURCE = Path(ud.__file__).parent


def network(**options):
    """A network of the plane that takes a class."""
    return ud.Denoiser(ud.nn.MLP((2,), classes=2, width=8, depth=1), ud.VP(), shape=(2,), **options)


def plane():
    """A model of data in the plane, of two classes; its network is fresh."""
    spec = Spec((2,), None, None, False, 0.0, 1.0, ("a", "b"))
    return Model(network(), spec, {"network": {}, "process": {}, "target": "karras", "sigma_data": 1.0})


ODD = [None, "2", 1.5, -1, math.nan, math.inf, 10**30, [], {}, {0, 1}, object(), 1 + 2j, 3, True, np.int64(2), np.float32(0.5), int,
       np.array([1 + 2j]), np.array([1.0, 0.5]), np.array(["a"]), torch.tensor([1.0, 2.0]), torch.tensor(2), torch.tensor([]),
       torch.tensor([1j, 2j]), torch.empty(2, device="meta"), torch.ones(2).to_sparse(), torch.ones(2).to(torch.float8_e5m2)]  # fmt: skip

# A public function with arguments that it takes; each is put in place of in turn.
DOORS = {
    "sample": (ud.sample, dict(denoiser=LAW, n_or_shape=2, sampler=ud.Euler(), steps=2, seed=0, cond=0, callback=None,
                               grid=ud.times.straight, batch_size=2, first=0, like=X, start=X, strength=1.0)),
    "sample of a network": (ud.sample, dict(denoiser=network(), n_or_shape=2, steps=2, cond=1, start=X)),
    "log_likelihood": (ud.log_likelihood, dict(denoiser=LAW, x=X, cond=0, divergence="exact", probes=1, law="gaussian", solver="rk4",
                                               steps=2, unit="nats", dequantize=None, prior=None, start=1e-3, seed=0, index=None,
                                               batch_size=2, chunk=None)),
    "log_likelihood with step control": (ud.log_likelihood, dict(denoiser=LAW, x=X, rtol=0.1, atol=0.1)),
    "encode": (ud.encode, dict(denoiser=LAW, x=X, cond=0, solver="rk4", steps=2, start=1e-3, batch_size=2)),
    "decode": (ud.decode, dict(denoiser=LAW, z=X, cond=0, solver="rk4", steps=2, start=1e-3, batch_size=2)),
    "interpolate": (ud.interpolate, dict(denoiser=LAW, a=X, b=X, n=2, kind="linear", cond=0, cond_b=1, steps=2)),
    "variational_bound": (ud.variational_bound, dict(denoiser=LAW, x0=X, steps=2, seed=0, noise=NOISE, cond=0, variance="beta",
                                                     bins=None, draws=1, points=2, times="uniform", ends=(0.1, 10.0))),
    "variational_bound in continuous time": (ud.variational_bound, dict(denoiser=LAW, x0=X, points=2, ends=(0.1, 10.0))),
    "impute": (ud.impute, dict(denoiser=LAW, values=X, mask=MASK, draws=1, method=ud.Known, sampler=ud.Euler(), steps=2, seed=0,
                               cond=0, grid=ud.times.straight, batch_size=2, first=0, callback=None)),
    "smc": (ud.smc, dict(denoiser=LAW, operator=FIRST, y=X[:, :1], noise_std=0.5, twist=MMPS(), particles=2, steps=2, seed=0, cond=0,
                         grid=ud.times.karras, first=0)),
    "analytic_variance": (ud.analytic_variance, dict(denoiser=LAW, x0=X, noise=NOISE, steps=2, cond=0)),
    "fit_grid": (ud.fit_grid, dict(denoiser=LAW, shape=(2, 2), noise=NOISE, sampler=ud.Euler(), steps=(2,), rounds=1, cond=0)),
    "a network called": (network(), dict(x=X, t=0.5, cond=1)),
    "a mixture called": (LAW, dict(x=X, t=0.5, cond=1)),
    "a process called": (ud.VP(), dict(t=0.5)),
    "score_at": (ud.score_at, dict(denoiser=LAW, x=X, t=0.5, cond=0)),
    "velocity_at": (ud.velocity_at, dict(denoiser=LAW, x=X, t=0.5, cond=0)),
    "Denoiser": (ud.Denoiser, dict(net=torch.nn.Identity(), process=ud.VP(), target=None, sigma_data=1.0, shape=(2,))),
    "Given": (ud.Given, dict(denoiser=LAW, cond=0)),
    "Rescaled": (ud.Rescaled, dict(denoiser=LAW, process=ud.VP())),
    "Counted": (ud.Counted, dict(denoiser=LAW)),
    "Condition": (ud.Condition, dict(label=torch.tensor([0, 1]), vector=X, sequence=X[..., None], mask=X > 0)),
    "Condition of a picture": (ud.Condition, dict(image=X[..., None, None])),
    "GaussianMixture": (ud.GaussianMixture, dict(means=X, covs_or_stds=0.5, weights=[1.0, 1.0], process=ud.VP(), labels=[0, 1])),
    "Empirical": (ud.Empirical, dict(points=X, process=ud.VP(), labels=[0, 1])),
    "Noise": (ud.Noise, dict(seeds=[0, 1])),
    "Mix": (ud.Mix, dict(strong=LAW, weak=LAW, scale=2.0, rescale=0.5)),
    "Mix by w": (ud.Mix, dict(strong=LAW, weak=LAW, w=2.0)),
    "Interval": (ud.Interval, dict(guided=LAW, plain=LAW, low=0.1, high=2.0)),
    "Tilt": (ud.Tilt, dict(denoiser=LAW, log_prob=lambda x, t, cond: x.sum(1), scale=2.0)),
    "Edit": (ud.Edit, dict(denoiser=LAW, edit=ud.clip(-1, 1))),
    "clip": (ud.clip, dict(low=-1.0, high=1.0)),
    "dynamic_threshold": (ud.dynamic_threshold, dict(quantile=0.9)),
    "Known": (ud.Known, dict(denoiser=LAW, values=X, mask=MASK, noise=None)),
    "NoisyClassifier": (ud.NoisyClassifier, dict(net=torch.nn.Identity(), process=ud.VP(), prior=[0.5, 0.5], sigma_data=1.0)),
    "class_log_prob": (ud.class_log_prob, dict(logits=lambda x, t: x)),
    "Posterior": (ud.Posterior, dict(denoiser=LAW, operator=FIRST, y=X[:, :1], noise_std=0.5, method=MMPS())),
    "Operator": (Operator, dict(function=lambda x: x, shape=(2,), linear=True)),
    "downsample": (downsample, dict(shape=(4,), factor=2)),
    "MMPS": (MMPS, dict(iterations=2)),
    "PiGDM": (PiGDM, dict(variance=1.0, iterations=2)),
    "DPS": (DPS, dict(strength=1.0)),
    "DiffPIR": (DiffPIR, dict(weight=1.0, iterations=2)),
    "Dequantize": (ud.Dequantize, dict(step=0.1, draws=1)),
    "VP": (ud.VP, dict(beta_min=0.1, beta_max=20.0, t_min=0.0, t_max=1.0)),
    "VE": (ud.VE, dict(sigma_min=0.1, sigma_max=20.0, t_max=1.0)),
    "SubVP": (ud.SubVP, dict(beta_min=0.1, t_max=1.0)),
    "Cosine": (ud.Cosine, dict(offset=0.008, t_max=1.0)),
    "Rectified": (ud.Rectified, dict(t_min=0.0, t_max=1.0)),
    "Karras": (ud.Karras, dict(t_min=0.002, t_max=80.0)),
    "DDPM": (ud.DDPM, dict(steps=10, beta_min=1e-4, beta_max=0.02, schedule="linear")),
    "SMLD": (ud.SMLD, dict(levels=10, sigma_min=0.01, sigma_max=1.0)),
    "LinearSDE": (ud.LinearSDE, dict(drift=lambda t: -t, diffusion=lambda t: 1 + t, panels=8)),
    "Learned": (ud.Learned, dict(curve=ud.process.Monotone(12.0, -9.0), t_max=1.0)),
    "Adaptive": (ud.Adaptive, dict(rtol=0.1, atol=0.1)),
    "RungeKutta": (ud.RungeKutta, dict(tableau=ud.RungeKutta().tableau)),
    "Heun": (ud.Heun, dict(tableau=ud.Heun().tableau)),
    "Ancestral": (ud.Ancestral, dict(eta=1.0, variance="tilde")),
    "EulerMaruyama": (ud.EulerMaruyama, dict(eta=1.0)),
    "Churn": (ud.Churn, dict(gamma=0.2, low=0.0, high=2.0, inflate=1.0, inner=ud.Heun())),
    "Adams": (ud.Adams, dict(points=3, corrector=False, tau=0.0, quantity="data", coordinate="log_snr")),
    "Langevin": (ud.Langevin, dict(snr=0.16)),
    "Metropolis": (ud.Metropolis, dict(snr=0.16, log_prob=lambda x, t: x.sum(1))),
    "PredictorCorrector": (ud.PredictorCorrector, dict(predictor=ud.Euler(), corrector=ud.Langevin(), corrections=1)),
    "AnnealedLangevin": (ud.AnnealedLangevin, dict(predictor=ud.Euler(), corrector=ud.Langevin(), corrections=1)),
    "RePaint": (ud.RePaint, dict(sampler=ud.Ancestral(), jump=1, resamplings=2)),
    "Energy": (Energy, dict(reference=X)),
    "Frechet": (Frechet, dict(reference=torch.randn(30, 2, generator=torch.Generator().manual_seed(0)))),
    "Manifold": (Manifold, dict(reference=torch.randn(30, 2, generator=torch.Generator().manual_seed(0)), k=2)),
    "by_distance": (lambda samples, held_out, train: by_distance("space", samples, held_out, train),
                    dict(samples=X, held_out=X, train=X)),
    "median": (median, dict(values=torch.arange(5.0))),
    "inception_score": (inception_score, dict(logits=torch.zeros(20, 2))),
    "karras": (ud.times.karras, dict(process=ud.VP(), n=3, rho=7.0, sigma_low=0.02, sigma_high=80.0)),
    "Compose": (lambda base, side, scale: ud.Compose(base, (side, scale)), dict(base=LAW, side=LAW, scale=2.0)),
    "AnalyticVariance": (ud.AnalyticVariance, dict(log_snr=(0.0, 1.0), spread=(1.0, 0.5))),
    "Bins": (ud.Bins, dict(low=-1.0, high=1.0, width=0.1)),
    "DenoisingScoreMatching": (ud.DenoisingScoreMatching, dict(space=None, weight="simple", times="uniform")),
    "ImplicitScoreMatching": (ud.ImplicitScoreMatching, dict(exact_up_to=8, probes=1, law="gaussian", weight="simple", times="uniform")),
    "SlicedScoreMatching": (ud.SlicedScoreMatching, dict(probes=1, law="gaussian", weight="simple", times="uniform")),
    "ExplicitScoreMatching": (ud.ExplicitScoreMatching, dict(exact=LAW, weight="simple", times="uniform")),
    "Distillation": (ud.Distillation, dict(teacher=LAW, weight="simple", times="uniform")),
    "HybridObjective": (ud.HybridObjective, dict(weight=1e-3, simple=ud.DenoisingScoreMatching())),
    "ScheduleVariance": (ud.ScheduleVariance, dict(times="uniform")),
    "a loss": (ud.DenoisingScoreMatching(), dict(denoiser=network(), x0=X, noise=NOISE, cond=1)),
    "a score's loss": (ud.ImplicitScoreMatching(), dict(denoiser=LAW, x0=X, noise=NOISE, cond=1)),
    "a bound's loss": (ud.VariationalBound(2), dict(denoiser=LAW, x0=X, noise=NOISE, cond=1)),
    "diagnose": (ud.diagnose, dict(model=LAW, law=LAW, n=10)),
    "diagnose a model": (ud.diagnose, dict(model=plane(), folder="nowhere", n=50, sampler="euler", steps=2, grid="straight", seed=0)),
    "load": (ud.load, dict(path="nowhere", weights="ema", device="cpu")),
    "load_cascade": (ud.load_cascade, dict(path="nowhere", device="cpu")),
    "load_classifier": (ud.load_classifier, dict(path="nowhere", model=plane())),
    "Cascade": (ud.Cascade, dict(low=plane(), high=plane(), augment=0.0)),
    "Model.sample": (plane().sample, dict(n=2, cond=0, scale=2.0, guide=None, interval=(0.1, 2.0), rescale=0.0, sampler="euler", steps=2,
                                          grid="straight", seed=0, callback=None, batch_size=2, first=0, start=X, strength=1.0,
                                          edit=None)),
    "Model.impute": (plane().impute, dict(x=X, mask=MASK, draws=1, cond=0, method="replace", sampler="ddim", steps=2, seed=0, first=0)),
    "Model.impute by particles": (plane().impute, dict(x=X, mask=MASK, draws=1, method="particles", steps=2, particles=2, noise_std=0.3)),
    "Model.log_likelihood": (plane().log_likelihood, dict(x=X, cond=0, scale=2.0, unit="nats", dequantize=0, probes=1, steps=2)),
    "Model.restore": (plane().restore, dict(y=X[:, :1], operator=FIRST, noise_std=0.5, draws=1, method="dps", cond=0, particles=0,
                                            sampler="ddim", steps=2, seed=0)),
    "Model.encode": (plane().encode, dict(x=X, cond=0, steps=2)),
    "Model.decode": (plane().decode, dict(z=X, cond=0, steps=2)),
}  # fmt: skip


# What needs a run on the disk, or is refused by what it is of; here it is asked where there is none.
NOWHERE = ("diagnose", "diagnose a model", "load", "load_cascade", "load_classifier", "Cascade")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("door", DOORS)
def test_every_argument_of_every_door(door):
    """What is accepted works; what is not is refused by this library, with the argument or its fault named, and by nothing below."""
    call, usual = DOORS[door]
    if door not in NOWHERE:
        call(**usual)
    faults = []
    for name in usual:
        for odd in ODD:
            if name == "cond" and isinstance(odd, int) and not isinstance(odd, bool) and door.startswith("Model"):
                continue  # a class
            try:
                call(**{**usual, name: odd})
            except (ValueError, TypeError, ud.UndriftError) as error:
                where = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
                text = str(error)
                if SOURCE not in where.parents or "\n" in text or not ("`" in text or name in text or " " in text[20:]):
                    faults.append(f"{name}={odd!r}: {type(error).__name__} at {where.name}: {text[:100]}")
            except Exception as error:
                faults.append(f"{name}={odd!r}: {type(error).__name__}: {str(error)[:100]}")
    assert not faults, "\n".join(faults)


# What follows are the single facts behind the table.


class Complex(torch.nn.Module):
    def forward(self, x, level, cond):
        return torch.complex(x, x)


def test_complex_numbers_keep_no_half():
    """Neither a network's nor samples' imaginary part is dropped in silence."""
    denoiser = ud.Denoiser(Complex(), ud.VP(), shape=(2,))
    with pytest.raises(ValueError, match="the network returned complex numbers"):
        ud.sample(denoiser, 2, steps=2)
    x = torch.randn(30, 2, dtype=torch.complex64)
    for measure in (Energy, Frechet, Manifold, Energy(x.real)):
        with pytest.raises(ValueError, match="`samples` holds complex numbers"):
            measure(x)
    with pytest.raises(ValueError, match="complex"):
        LAW(X.to(torch.complex64), 0.5)


@pytest.mark.parametrize("denoiser", [LINE, NET, LINE.using(ud.Rectified())], ids=["mixture", "network", "rescaled"])
def test_a_time_outside_the_process(denoiser):
    """Beyond its ends a process means nothing; what rounding alone puts there is the end."""
    for t in (-1.0, 1.1, math.nan, torch.tensor([0.5, 2.0])):
        with pytest.raises(ValueError, match=r"`t` must lie in \[0, 1\]"):
            denoiser(X, t)
    for end, near in ((1.0, 1 + 5e-7), (0.0, -5e-7)):
        assert torch.equal(denoiser(X, near).data, denoiser(X, end).data)


@pytest.mark.parametrize(
    "options", [{"first": 1.5}, {"first": 2**63}, {"seed": 1.5}, {"seed": None}, {"batch_size": 1.5}, {"n_or_shape": 2.0},
                {"n_or_shape": "2"}, {"n_or_shape": None}, {"first": torch.tensor([0.5, 1.5])}, {"first": torch.tensor([1])}],
    ids=str,
)  # fmt: skip
def test_numbers_of_samples_are_whole(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options)).removesuffix('_or_shape')}` must"):
        ud.sample(**{"denoiser": LAW, "n_or_shape": 2, "steps": 2, **options})


@pytest.mark.parametrize("probes", [0, 1.5, -1, "2"])
@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_a_number_of_probes_that_is_none(probes, divergence):
    """Also where the divergence is exact, and none would be drawn."""
    with pytest.raises(ValueError, match="`probes` must be a whole number of at least 1"):
        ud.log_likelihood(LAW, X, divergence=divergence, probes=probes)


WAYS = {
    "reversed": lambda a: a[::-1],
    "byte order": lambda a: a.astype(">f4"),
    "objects": lambda a: a.astype(object),
    "long": lambda a: a.astype(np.longdouble),
    "read only": lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape),
    "transposed": lambda a: np.asfortranarray(a),
}


@pytest.mark.parametrize("way", WAYS)
def test_numpy_arrays_of_any_kind(way):
    """Strides, byte orders, precisions and objects: the numbers are what counts."""
    array = X.numpy()
    seen = WAYS[way](array)
    model = plane()
    wanted = model.to_model(torch.tensor(np.ascontiguousarray(seen).astype(np.float32)))
    assert torch.equal(model.to_model(seen), wanted)
    assert model.log_likelihood(seen, steps=2).value.shape == (2,)


@pytest.mark.parametrize("values", [np.array([[2**63, 1]], np.uint64), torch.tensor([[2**63, 1]], dtype=torch.uint64),
                                    [[2**63, 2**63]], np.array([[2**63, 2**63]], object)], ids=["array", "tensor", "list", "objects"])  # fmt: skip
def test_whole_numbers_that_int64_does_not_hold(values):
    """They would wrap to negative ones."""
    with pytest.raises(ud.UndriftError, match=r"whole numbers above 2\^63 - 1"):
        plane().to_model(values)


def test_large_whole_numbers_that_int64_holds():
    values = np.array([[2**63 - 1, 1]], np.uint64)
    assert torch.equal(plane().to_model(values), plane().to_model(torch.tensor([[2**63 - 1, 1]])))


@pytest.mark.parametrize("what", ["words", "ragged", "nothing", "set", "dates"])
def test_what_are_no_numbers_is_said_truly(what):
    given = {"words": np.array([["a", "b"]]), "ragged": [[1.0], [1.0, 2.0]], "nothing": None, "set": {1.0, 2.0},
             "dates": np.array([["2020-01-01"]], "M8[D]")}[what]  # fmt: skip
    said = {"words": "values of <U1 and no numbers", "ragged": "rows of different lengths", "nothing": "`x` is None", "set": "no order",
            "dates": "datetime64"}[what]  # fmt: skip
    with pytest.raises(ud.UndriftError, match=said):
        plane().to_model(given)


BIG = torch.tensor([[0.0, 1.0], [1e39, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    "call",
    [
        lambda: plane().log_likelihood(BIG),
        lambda: plane().sample(2, start=BIG),
        lambda: plane().impute(BIG, torch.tensor([True, False])),
        lambda: plane().encode(BIG.numpy()),
        lambda: ud.sample(NET, 2, start=BIG),
        lambda: ud.sample(network(), 2, start=BIG),
        lambda: ud.log_likelihood(network(), BIG),
        lambda: ud.impute(network(), BIG, MASK),
    ],
)
def test_finite_numbers_too_large_for_float32(call):
    """They are neither NaN nor infinite; what is wrong with them is said, and which."""
    with pytest.raises((ValueError, ud.UndriftError), match=r"1 of 4 values .*too large for float32.*\[1, 0\] = 1e\+39"):
        call()


@pytest.mark.parametrize(
    "cond", [["a"] * 3, [0, 1, 0], torch.tensor([0, 1, 0]), np.array([0, 1, 0]), torch.tensor([0]), ["a"]], ids=str
)
def test_as_many_classes_as_inputs(cond):
    model = plane()
    for call in (
        lambda: model.impute(X, MASK, 1, cond, steps=2),
        lambda: model.restore(X[:, :1], FIRST, 0.5, 1, cond=cond, steps=2),
        lambda: model.log_likelihood(X, cond, steps=2),
        lambda: model.encode(X, cond, steps=2),
        lambda: model.sample(2, cond, steps=2),
    ):
        with pytest.raises(ValueError, match=rf"`cond` names {len(cond)} classes for 2 samples: give one for all, or one each"):
            call()


@pytest.mark.parametrize("cond", [{0, 1}, frozenset({"a", "b"})], ids=["set", "frozenset"])
def test_a_set_has_no_order(cond):
    for call in (
        lambda: plane().sample(2, cond, steps=2),
        lambda: ud.sample(LAW, 2, cond=cond, steps=2),
        lambda: LAW(X, 0.5, cond),
    ):
        with pytest.raises(TypeError, match=r"`cond` is a (frozen)?set, which has no order"):
            call()


def test_a_network_is_any_callable():
    """A function as well as a module; what cannot be called is refused at once, and a class for its object."""
    as_module = ud.Denoiser(Same(), ud.VP(), shape=(2,))
    assert torch.equal(ud.sample(NET, 2, steps=3), ud.sample(as_module, 2, steps=3))
    for net, message in ((3, "which cannot be called"), (torch.nn.Identity, "with its arguments")):
        with pytest.raises(TypeError, match=message):
            ud.Denoiser(net, ud.VP())


class Same(torch.nn.Module):
    def forward(self, x, level, cond):
        return x


@pytest.mark.parametrize(
    "made", [lambda t: t.numpy(), lambda t: t.tolist(), lambda t: tuple(t.tolist())], ids=["array", "list", "tuple"]
)
def test_a_grid_of_times_of_any_kind(made):
    times = ud.times.straight(LINE.process, 4)
    assert torch.equal(ud.sample(LINE, 2, steps=made(times)), ud.sample(LINE, 2, steps=times))
    assert torch.equal(ud.sample(LINE, 2, steps=torch.tensor(4)), ud.sample(LINE, 2, steps=4))


@pytest.mark.parametrize("shape", [(2,), (2, 3, 4), (2, 0), (2, 1.5)], ids=str)
def test_a_shape_of_samples_that_does_not_fit(shape):
    with pytest.raises(ValueError, match="`n_or_shape`"):
        ud.sample(LAW, shape, steps=2)


def test_a_scale_for_each_sample():
    """`Model` takes what `Mix` takes."""
    model = plane()
    both = model.draw(2, [0, 1], scale=torch.tensor([1.5, 3.0]), steps=3)
    for i, scale in enumerate((1.5, 3.0)):
        one = model.draw(2, [0, 1], scale=scale, steps=3)
        torch.testing.assert_close(both[i], one[i])


@pytest.mark.parametrize(
    "cond", [1, [1, 1], (1, 1), np.array([1, 1]), np.int64(1)], ids=["number", "list", "tuple", "array", "scalar"]
)
def test_a_class_at_a_denoiser_in_any_type(cond):
    for denoiser in (network(), LAW):
        assert torch.equal(denoiser(X, 0.5, cond).data, denoiser(X, 0.5, torch.tensor([1, 1])).data)
    made = ud.Condition(label=np.array([0, 1]), vector=np.ones((2, 3), np.float32))
    assert made.label.dtype == torch.int64
    assert made.vector.shape == (2, 3)


@pytest.mark.parametrize(
    ("cond", "error"), [("upper", TypeError), ([0], ValueError), ([0, 1, 1], ValueError), (1j, ValueError)], ids=str
)
def test_a_class_at_a_denoiser_that_is_none(cond, error):
    with pytest.raises(error, match="`cond`"):
        network()(X, 0.5, cond)


ENDS = {
    "VP(t_max='1')": (lambda: ud.VP(t_max="1"), "`t_max` must be a number"),
    "VP(t_max=inf)": (lambda: ud.VP(t_max=math.inf), "`t_max` must be a number, and finite"),
    "Adaptive(-1)": (lambda: ud.Adaptive(-1), "`tableau` is -1"),
    "Heun(3)": (lambda: ud.Heun(3), "`tableau` is 3"),
    "RePaint(0)": (lambda: ud.RePaint(0), "`sampler` is 0"),
    "AnnealedLangevin(0)": (lambda: ud.AnnealedLangevin(0), "`predictor` is 0"),
    "PredictorCorrector(None)": (lambda: ud.PredictorCorrector(None, None), "`predictor` is None"),
    "Churn(inner=Heun)": (lambda: ud.Churn(inner=ud.Heun), "`inner` is an object: write Heun"),
    "a sampler class": (lambda: plane().sample(2, sampler=ud.ABM, steps=2), "`sampler` is an object: write ABM"),
    "a guide": (lambda: plane().sample(2, 0, guide="x", steps=2), "`guide` is 'x'"),
    "an interval": (lambda: plane().sample(2, 0, interval=1, steps=2), "`interval` must be two noise levels"),
    "three ends": (lambda: plane().sample(2, 0, interval=(1, 2, 3), steps=2), "`interval` must be two noise levels"),
    "out": (lambda: ud.sample(LAW, 2, steps=2, out=3), "`out` is 3"),
    "by_distance": (lambda: by_distance("s", X, X, torch.zeros(4, 3)), "as many columns as `train`"),
    "by_distance of a row": (lambda: by_distance("s", X[:, 0], X, X), "`samples` has shape"),
    "by_distance of NaN": (lambda: by_distance("s", X * math.nan, X, X), "`samples` must be finite"),
    "median": (lambda: median(torch.empty(0)), "`values` must be"),
    "inception_score": (lambda: inception_score(torch.zeros(30)), "`logits` must be"),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_is_refused_and_how(case):
    call, message = ENDS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_process_answers_a_plain_number():
    alpha, sigma = ud.VP()(0.5)
    assert torch.equal(torch.stack([alpha, sigma]), torch.stack(ud.VP()(torch.tensor(0.5, dtype=torch.float64))))


@pytest.mark.parametrize("made", [lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.float().requires_grad_()],
                         ids=["array", "list", "graph"])  # fmt: skip
def test_measures_of_arrays_and_lists(made):
    """As float64, whatever they came as."""
    a, b = (torch.randn(40, 2, generator=torch.Generator().manual_seed(i)).double() for i in range(2))
    given, known = made(a), made(b)
    assert Energy(known)(given).value == pytest.approx(Energy(b)(a).value, rel=1e-6)
    assert Frechet(known)(given).value == pytest.approx(Frechet(b)(a).value, rel=1e-5)
    assert Manifold(known)(given)["recall"].value == Manifold(b)(a)["recall"].value
    assert by_distance("s", given, known, known).rows.tolist() == by_distance("s", a, b, b).rows.tolist()


@pytest.mark.parametrize("particles", [1, 3, 5])
def test_particles_of_any_number(particles):
    """Also where the entries of all particles are no multiple of the four numbers that the generator makes at once."""
    assert ud.smc(LAW, FIRST, X[:, :1], 0.5, MMPS(), particles, 2).x.shape == (2, particles, 2)
