"""Likelihood and latents of a model in data units, and `undrift likelihood`."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

import undrift as ud
from undrift.bound import variational_bound
from undrift.cli import main
from undrift.data import Spec
from undrift.model import Model

SPEC = Spec((2,), 0, 16, True, (8.0, 6.0), (8.0, 4.0), ("a", "b"))
LAW = ud.GaussianMixture([[0.3, 0.1], [-0.4, -0.2]], 0.3, [0.3, 0.7], ud.Rectified())


class Exact(ud.AnyDenoiser):
    """A mixture that looks like a trained model: it has a parameter."""

    def __init__(self, law):
        super().__init__()
        self.law, self.process, self.shape = law, law.process, law.shape
        self.parameter = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, t, cond=None):
        return self.law(x, t, cond)


def model(spec=SPEC):
    return Model(Exact(LAW), spec, {})


def cell(x):
    """log P of integers x (B, 2) under the mixture, exactly: products of intervals."""
    y, half = SPEC.to_model(x).double(), torch.tensor([1 / 16, 1 / 8], dtype=torch.float64)
    total = 0
    for weight, mean in zip((0.3, 0.7), LAW.means, strict=True):
        normal = torch.distributions.Normal(mean, 0.3)
        total = total + weight * (normal.cdf(y + half) - normal.cdf(y - half)).prod(1)
    return total.log()


X = torch.tensor([[8, 6], [10, 6], [5, 5], [9, 8], [4, 7], [3, 3]], dtype=torch.uint8)


def test_probability_of_integers_in_data_units():
    """Channels with scales of their own; nats and bits/dim; conditional by Bayes."""
    found = model().log_likelihood(X, dequantize=60, steps=10)
    assert (found.value - cell(X)).abs().max() < 0.2 and (found.standard_error < 0.1).all()
    assert ((found.value - cell(X)).abs() < 5 * found.standard_error + 2e-3).all()
    nats, bits = (model().log_likelihood(X, dequantize=3, steps=4, unit=unit) for unit in ("nats", "bits/dim"))
    torch.testing.assert_close(bits.value, -nats.value / (2 * math.log(2)))
    torch.testing.assert_close(bits.standard_error, nats.standard_error / (2 * math.log(2)))
    point = model().log_likelihood(X, dequantize=0, steps=32)
    torch.testing.assert_close(point.value, LAW.log_prob(SPEC.to_model(X)) - math.log(32), atol=1e-3, rtol=0)
    y = torch.tensor([0, 1, 0, 1, 1, 0])
    given = model().log_likelihood(X, ["a", "b", "a", "b", "b", "a"], dequantize=0, steps=32)
    torch.testing.assert_close(given.value, LAW.log_prob(SPEC.to_model(X), None, y) - math.log(32), atol=1e-3, rtol=0)
    by_bayes = ud.log_likelihood(ud.Mix(LAW, LAW.given(None), 2.0), SPEC.to_model(X), cond=y, steps=8).value - math.log(32)
    guided = model().log_likelihood(X, y.tolist(), scale=2.0, dequantize=0, steps=8)
    torch.testing.assert_close(guided.value, by_bayes)
    torch.testing.assert_close(model().log_likelihood(X, y.tolist(), w=1.0, dequantize=0, steps=8).value, guided.value)


def test_the_bound_lies_below_the_likelihood():
    """-bound <= log p on average for the exact denoiser, and near it in continuous time (T4 of the house: equality)."""
    x = LAW.sample(200, ud.Noise(range(200)))
    flow = ud.log_likelihood(LAW, x, steps=24).value
    few, many = (-variational_bound(LAW, x, steps=s, draws=4).value for s in (10, None))
    error = (flow - many).std() / 200**0.5
    assert few.mean() < many.mean() < flow.mean() + 4 * error
    assert flow.mean() - many.mean() < 0.15


def test_float_data_have_a_density_in_their_units():
    spec = Spec((2,), None, None, False, (1.0, -1.0), (2.0, 0.5))
    x = torch.tensor([[1.2, -0.9], [0.3, -1.1]])
    found = model(spec).log_likelihood(x, steps=32)
    y = (x - torch.tensor([1.0, -1.0])) / torch.tensor([2.0, 0.5])  # and log |det dy/dx| = log 1/(2 0.5) = 0
    torch.testing.assert_close(found.value, LAW.log_prob(y), atol=1e-3, rtol=0)
    with pytest.raises(ud.UndriftError, match="nothing to dequantise"):
        model(spec).log_likelihood(x, dequantize=1)


def test_latents_in_data_units():
    z = model().encode(X, rtol=1e-6)
    assert torch.equal(model().decode(z, rtol=1e-6), X) and z.shape == (6, 2)
    assert (model().round_trip(X, rtol=1e-6) < 1e-3).all()
    path = model().interpolate(X[:2], X[2:4], 4, steps=20)
    assert path.shape == (2, 4, 2) and path.dtype == torch.uint8
    assert torch.equal(path[:, 0], X[:2]) and torch.equal(path[:, -1], X[2:4])
    path = model().interpolate(X[:2], X[2:4], 4, cond="a", cond_b="b", steps=20)
    assert torch.equal(path[:, 0], X[:2]) and torch.equal(path[:, -1], X[2:4])
    with pytest.raises(ud.UndriftError, match="class of a as well"):
        model().interpolate(X[:2], X[2:4], cond_b="b")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 5), r"data of shape \(B, 2\), but got \(3, 5\)"),
        (torch.zeros(2), r"but got \(2,\)"),
        (torch.tensor([[0.0, 17.0]]), r"1 of 2 values are outside 0..16, the first is x\[0, 1\] = 17"),
        (torch.tensor([[-1.0, 3.0]]), r"1 of 2 values are outside 0..16, the first is x\[0, 0\] = -1"),
        (torch.tensor([[0.0, math.nan]]), r"NaN or infinite, the first is x\[0, 1\]"),
        (torch.tensor([[0.5, 1.0]]), r"not whole numbers, the first is x\[0, 0\] = 0.5"),
    ],
)
@pytest.mark.parametrize("ask", ["log_likelihood", "encode", "round_trip"])
def test_data_that_are_not_the_models(ask, x, message):
    with pytest.raises(ud.UndriftError, match=message):
        getattr(model(), ask)(x)


def test_questions_that_make_no_sense():
    with pytest.raises(ValueError, match="`probes` must be"):
        model().log_likelihood(X, divergence="hutchinson", probes=0)
    with pytest.raises(ValueError, match="`unit` is one of nats, bits/dim, got"):
        model().log_likelihood(X, unit="bit")
    with pytest.raises(ud.UndriftError, match='class "c" is unknown'):
        model().log_likelihood(X, "c")
    with pytest.raises(ud.UndriftError, match="needs a class"):
        model().log_likelihood(X, scale=2.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "digits", "steps=40", "network.widths=[8]", "network.attention=[]", "--out", str(folder)]) == 0
    return folder


def test_undrift_likelihood(run, capsys, tmp_path):
    capsys.readouterr()
    small = ["likelihood", str(run), "-n", "6", "--steps", "4"]
    assert main(small) == 0
    out = capsys.readouterr().out
    for words in ("train ", "held-out", "a random 6 of 359", "flow, bits/dim", "bound, bits/dim", "less likely than"):
        assert words in out
    assert Image.open(run / "likelihood.png").size == (720, 360)
    assert main(small) == 0 and capsys.readouterr().out.split("seconds")[1][:40] == out.split("seconds")[1][:40]  # same numbers
    np.save(tmp_path / "mine.npy", np.full((3, 8, 8), 7, np.uint8))
    png = tmp_path / "new" / "h.png"
    extra = ["--unit", "nats", "--no-bound", "--divergence", "exact", "--dequantize", "2", "--out", str(png)]
    assert main(["likelihood", str(run), str(tmp_path / "mine.npy"), "--steps", "2", *extra]) == 0
    out = capsys.readouterr().out
    assert "mine.npy" in out and "all 3" in out and "higher is better" in out and "bound" not in out and png.is_file()
    assert main([*small, "--given-class", "--no-bound"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--probes", "0"], "`probes` must be a whole number of at least 1, got 0"),
        (["-n", "0"], "-n 0: ask about at least one example"),
        (["--steps", "0"], "`steps` must be"),
        (["--dequantize", "-1"], "`dequantize` must be"),
        (["nothing.npy"], "nothing.npy"),
        (["--out", f"{__file__}/h.png"], "cannot be written"),
    ],
)
def test_undrift_likelihood_says_no_in_one_line(run, capsys, options, message):
    capsys.readouterr()
    assert main(["likelihood", str(run), *options]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_undrift_likelihood_of_other_data(run, capsys, tmp_path):
    for name, x in (("wide", np.zeros((2, 9, 9), np.uint8)), ("bright", np.full((2, 8, 8), 17, np.uint8))):
        np.save(tmp_path / f"{name}.npy", x)
        assert main(["likelihood", str(run), str(tmp_path / f"{name}.npy")]) == 2
    err = capsys.readouterr().err
    assert "the data are (1, 8, 8) or (N, 1, 8, 8)" in err and "outside 0" in err
    with pytest.raises(SystemExit) as stop:
        main(["likelihood", str(run), "--unit", "bit"])
    assert stop.value.code == 2
