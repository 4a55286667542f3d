"""Explicit, implicit and sliced score matching: what they are minimal at, and how they differ. All on exact scores."""

import pytest
import torch

import undrift as ud
from conftest import mixture
from undrift import target
from undrift.objective import at
from undrift.objective.score import projections
from undrift.process import expand

N = 6000
LAWS = ("rademacher", "gaussian", "sphere")


class Scaled(ud.AnyDenoiser):
    """A denoiser whose score is c times another's, plus a constant field."""

    def __init__(self, inner, c=1.0, shift=0.0):
        super().__init__()
        self.inner, self.process, self.shape, self.c, self.shift = inner, inner.process, inner.shape, c, shift

    def forward(self, x, t, cond=None):
        alpha, sigma = (expand(a, x) for a in self.process(torch.as_tensor(t)))
        noise = self.c * self.inner(x, t, cond).noise - sigma * self.shift
        return ud.Prediction((x - sigma * noise) / alpha, noise)


MODELS = [(1.0, 0.0), (0.5, 0.0), (1.5, 0.3), (-1.0, 0.0), (0.0, 0.5)]


@pytest.fixture(scope="module")
def scene():
    """A mixture, N noised samples at one time and the noise in them."""
    m, noise = mixture(), ud.Noise(range(N))
    x0, t = m.sample(N, noise), torch.tensor(0.3).double()
    eps = noise.fold("eps").normal(x0)
    return m, m.process.perturb(x0, t, eps), t, eps, noise


def zero_within(errors, difference):
    """|mean| is below 5 standard errors: a false alarm in 2 million."""
    standard_error = difference.std() / len(difference) ** 0.5
    assert difference.mean().abs() < errors * standard_error, f"{difference.mean():.4g}, standard error {standard_error:.2g}"


def test_explicit_is_denoising_plus_a_constant(scene):
    """DSM - ESM does not depend on the model: it is E|grad log p(x_t|x_0)|^2/2 - E|grad log p_t|^2/2 (Vincent 2011; 004)."""
    m, x, t, eps, noise = scene
    sigma, truth = m.process.sigma(t), ud.score_at(m, x, t)
    constant = ((eps / sigma).square().sum(1) - truth.square().sum(1)) / 2
    for c, shift in MODELS:
        model = Scaled(m, c, shift)
        denoising = (ud.score_at(model, x, t) + eps / sigma).square().sum(1) / 2
        explicit = ud.ExplicitScoreMatching(m).at(model, x, t, noise)
        zero_within(5, denoising - explicit - constant)


def test_implicit_is_explicit_plus_a_constant(scene):
    """ISM - ESM = -E|grad log p_t|^2 / 2 for every model; so its minimum is that, not zero (Hyvarinen 2005, thm. 1)."""
    m, x, t, _, noise = scene
    constant = ud.score_at(m, x, t).square().sum(1) / 2
    for c, shift in MODELS:
        model = Scaled(m, c, shift)
        implicit = ud.ImplicitScoreMatching().at(model, x, t, noise)
        zero_within(5, implicit - ud.ExplicitScoreMatching(m).at(model, x, t, noise) + constant)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("reduced", [False, True])
def test_sliced_is_unbiased_for_implicit(scene, law, reduced):
    """At the same points, the mean over projections is Hyvarinen's objective (Song et al. 2019, eq. 6-8)."""
    m, x, t, _, noise = scene
    model = Scaled(m, 0.8, 0.2)
    implicit = ud.ImplicitScoreMatching().at(model, x, t, noise)
    zero_within(5, ud.SlicedScoreMatching(3, law, reduced).at(model, x, t, noise) - implicit)


@pytest.mark.parametrize("law", LAWS)
def test_variance_reduced_sliced_has_less_variance(scene, law):
    """Variance over projections at fixed points and the true score; more projections have less.

    Not for normal projections: their length varies, and near the true score -v'Hv and (v's)^2/2 then cancel in part, so that the
    plain form has a little less (6.4 against 5.3 here). The library's default is Rademacher.
    """
    m, x, t, _, noise = scene
    exact = ud.ImplicitScoreMatching().at(m, x, t, noise)
    spread = {
        (k, r): (ud.SlicedScoreMatching(k, law, r).at(m, x, t, noise) - exact).square().mean()
        for k in (1, 4)
        for r in (False, True)
    }
    assert spread[4, False] < spread[1, False] / 3 and spread[4, True] < spread[1, True] / 3
    if law == "gaussian":
        assert spread[1, True] > 10 * (ud.SlicedScoreMatching(1).at(m, x, t, noise) - exact).square().mean()
    else:
        assert spread[1, True] < spread[1, False] / 3 and spread[4, True] < spread[4, False] / 3


@pytest.mark.parametrize(
    "objective",
    [
        lambda m: ud.ExplicitScoreMatching(m),
        lambda m: ud.ImplicitScoreMatching(),
        lambda m: ud.ImplicitScoreMatching(exact_up_to=0, probes=2),
        lambda m: ud.SlicedScoreMatching(2, "gaussian", False),
        lambda m: ud.SlicedScoreMatching(2, "sphere"),
    ],
)
def test_smallest_at_the_true_score(scene, objective):
    """For scores c s every objective is a parabola in c with its minimum at c = 1."""
    m, x, t, _, noise = scene
    low, middle, high = (objective(m).at(Scaled(m, c), x, t, noise).mean() for c in (0.5, 1.0, 1.5))
    vertex = 1 + 0.25 * (low - high) / (low - 2 * middle + high)
    assert vertex.item() == pytest.approx(1.0, abs=0.06)


def test_sign_of_the_trace(scene):
    """000 eq. 3 prints |s|^2/2 - tr: that is smallest at -s, ours at +s."""
    m, x, t, _, noise = scene
    ours, printed = {}, {}
    for c in (-1.0, 0.0, 1.0):
        model = Scaled(m, c)
        ours[c] = ud.ImplicitScoreMatching().at(model, x, t, noise).mean()
        printed[c] = (ud.score_at(model, x, t).square().sum(1) - ud.ImplicitScoreMatching().at(model, x, t, noise)).mean()
    assert min(ours, key=ours.get) == 1.0 and min(printed, key=printed.get) == -1.0


def test_all_predictions_are_one_loss():
    """O12: eps-, x_0-, score- and v-losses of one model through their weights, to rounding (001 eq. 5.1-5.2, 000 eq. 13)."""
    process = ud.DDPM(50, 1e-3, 0.2)
    denoiser = ud.Denoiser(ud.nn.MLP((3,), 16, 1).double(), process, target.noise)
    torch.nn.init.normal_(denoiser.net.last.weight)
    x0, noise = torch.randn(64, 3, dtype=torch.float64), ud.Noise(range(64))
    t = (1 + torch.arange(64) % 50).double() / 50
    eps = noise.normal(x0)
    (alpha, sigma), x = process(t), process.perturb(x0, t, eps)
    with torch.no_grad():
        simple = ud.DenoisingScoreMatching().at(denoiser, x0, t, eps)
        data, predicted = denoiser(x, t)
        score = -predicted / sigma[:, None]
        losses = {
            "eps": (predicted - eps).square().mean(1),
            "x_0": (alpha / sigma) ** 2 * (data - x0).square().mean(1),
            "score": sigma**2 * (score + eps / sigma[:, None]).square().mean(1),
            "v": alpha**2 * ((alpha[:, None] * (predicted - eps)) - sigma[:, None] * (data - x0)).square().mean(1),
        }
    for loss in losses.values():
        torch.testing.assert_close(loss, simple, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 3), (2, 9)])
def test_stochastic_trace_in_any_shape(shape):
    """Many probes give the exact trace; a scalar-covariance Gaussian's is -d / variance exactly, whatever the signs."""
    m = ud.GaussianMixture(torch.zeros(1, *shape), 0.5)
    noise, t = ud.Noise(range(4)), torch.tensor(0.4).double()
    x = noise.normal((4, *shape)).double()
    exact = ud.ImplicitScoreMatching(exact_up_to=100).at(m, x, t, noise)
    torch.testing.assert_close(ud.ImplicitScoreMatching(exact_up_to=1).at(m, x, t, noise), exact)
    variance = m.process.alpha(t) ** 2 / 4 + m.process.sigma(t) ** 2
    direct = -x[0].numel() / variance + (x / variance).square().flatten(1).sum(1) / 2
    torch.testing.assert_close(exact, direct)


@pytest.mark.parametrize("law", LAWS)
def test_projections_have_unit_covariance(law):
    v = projections(law, torch.empty(40_000, 3).double(), ud.Noise(range(40_000)))
    torch.testing.assert_close(v.mT @ v / len(v), torch.eye(3).double(), rtol=0, atol=0.05)
    torch.testing.assert_close(v.mean(0), torch.zeros(3).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "objective",
    [
        ud.ImplicitScoreMatching(weight="sigma2"),
        ud.SlicedScoreMatching(2, weight="sigma2"),
        ud.SlicedScoreMatching(2, "gaussian", False, weight="sigma2"),
        ud.ExplicitScoreMatching(ud.GaussianMixture([[0.8, 0.0], [-0.8, 0.0]], 0.3), weight="sigma2"),
    ],
)
def test_a_network_learns_the_score(objective):
    """Each trains a small network (through second derivatives) to a small part of the error it starts with."""
    torch.manual_seed(0)
    m = ud.GaussianMixture([[0.8, 0.0], [-0.8, 0.0]], 0.3, process=ud.VP(t_min=0.05))
    denoiser = ud.Denoiser(ud.nn.MLP((2,), 48, 1), m.process, target.noise)
    optimizer = torch.optim.Adam(denoiser.parameters(), 5e-3)

    def error():
        noise = ud.Noise(range(2000)).fold("test")
        with torch.no_grad():
            explicit = ud.ExplicitScoreMatching(m, weight="sigma2")
            return explicit(denoiser, m.sample(2000, noise).float(), noise).mean().item()

    before = error()
    for step in range(250):
        noise = ud.Noise(range(256)).fold("train", step)
        loss = objective(denoiser, m.sample(256, noise).float(), noise).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error() < before / 8, (before, error())


def test_one_level_and_a_ladder():
    """`at` gives denoising at one sigma (Vincent 2011) or over a ladder with equal chances, under any process."""
    u = (torch.arange(12).double() + 0.5) / 12
    for process in (ud.VE(), ud.VP(), ud.Rectified(), ud.Karras()):
        t = at(0.1)(process, u)
        torch.testing.assert_close(process.sigma(t) / process.alpha(t), torch.full_like(u, 0.1))
        t = at(1.0, 0.5, 0.1)(process, u)
        torch.testing.assert_close(
            process.sigma(t) / process.alpha(t), torch.tensor([1.0, 0.5, 0.1]).double().repeat_interleave(4)
        )
    x0, noise = torch.randn(32, 2).double(), ud.Noise(range(32))
    denoiser = ud.Denoiser(ud.nn.MLP((2,), 8, 1).double(), ud.VE(), target.score)
    loss = ud.DenoisingScoreMatching(weight="sigma2", times=at(0.1))(denoiser, x0, noise)
    eps = noise.fold("eps").normal(x0)
    score = denoiser.output(x0 + 0.1 * eps, ud.VE().time(torch.tensor(0.1).double().log() * -2))
    torch.testing.assert_close(loss, 0.01 * (score + eps / 0.1).square().mean(1))


def test_the_smld_ladder():
    """Uniform times on `SMLD` are its levels, each with equal chances, none the clean one."""
    process = ud.SMLD(10)
    t, _ = ud.DenoisingScoreMatching().draw_times(ud.Denoiser(ud.nn.MLP((2,)), process), ud.Noise(range(5000)))
    levels, counts = (t * 10).round().unique(return_counts=True)
    assert levels.tolist() == list(range(1, 11)) and counts.min() > 400


def test_of_a_sample_alone_and_in_a_batch():
    m, noise = mixture(), ud.Noise(range(16))
    x0 = m.sample(16, noise)
    for objective in (
        ud.ImplicitScoreMatching(),
        ud.SlicedScoreMatching(2, times="low_discrepancy"),
        ud.ExplicitScoreMatching(m),
    ):
        whole = objective(m, x0, noise)
        parts = [objective(m, x0[i : i + 1], noise[i : i + 1]) for i in range(16)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)


def test_weights_are_those_of_denoising():
    """ESM with a named weight = DSM's with the same name, up to the constant: here for a model that is the data's own noise."""
    process, x0, noise = ud.VP(t_min=1e-2), torch.zeros(64, 2).double(), ud.Noise(range(64))
    exact = ud.GaussianMixture([[0.0, 0.0]], 0.0, process=process)  # its score is -eps / sigma itself
    denoiser = ud.Denoiser(ud.nn.MLP((2,), 8, 1).double(), process)
    for weight in ("sigma2", "likelihood", "bound", "min_snr"):
        explicit = ud.ExplicitScoreMatching(exact, weight=weight)(denoiser, x0, noise)
        torch.testing.assert_close(
            explicit, ud.DenoisingScoreMatching(weight=weight)(denoiser, x0, noise)
        )  # 1/2 sum = mean, d = 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ud.SlicedScoreMatching(0), "`probes` must be a whole number of at least 1"),
        (lambda: ud.SlicedScoreMatching(1, "uniform"), "`law` is one of rademacher"),
        (lambda: ud.ImplicitScoreMatching(weight="square"), "is not one of simple"),
        (lambda: ud.ImplicitScoreMatching(times="importance"), "is not one of uniform"),
        (lambda: at(), "positive noise levels"),
        (lambda: at(0.1, -1.0), "positive noise levels"),
        (lambda: at(1e4)(ud.VE(), torch.tensor([0.5]).double()), "never has the noise level"),
    ],
)
def test_illegal(make, message):
    with pytest.raises(ValueError, match=message):
        make()
