"""Learning from a denoiser instead of from noise."""

import pytest
import torch

import undrift as ud
from conftest import mixture
from undrift import target
from undrift.guidance import WhereTold
from undrift.process import expand

TARGETS = {"data": target.data, "noise": target.noise, "score": target.score, "v": target.v, "velocity": target.velocity}
VP = ud.VP(t_min=1e-3)


class Answers(ud.Denoiser):
    """A denoiser whose network puts out what an exact one would in this target, and a constant besides."""

    def __init__(self, law, wanted, off=0.0):
        super().__init__(torch.nn.Identity(), law.process, wanted)
        self.law, self.off = law, off

    def output(self, x, t, cond=None):
        (a, b), (data, noise) = self.target(self.process, t), self.law(x, t, cond)
        return expand(a, x) * data + expand(b, x) * noise + self.off


class RowByRow(torch.nn.Module):
    """One trained number for each row of the batch, so that each sample has a gradient of its own."""

    def __init__(self, n):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(n, 1, dtype=torch.float64))

    def forward(self, x, level, cond):
        return 0.3 * x + self.shift


@pytest.mark.parametrize("name", TARGETS)
def test_zero_where_the_student_is_its_teacher_and_the_square_of_the_error_elsewhere(name):
    law = mixture(VP)
    guided = ud.Mix(law, ud.GaussianMixture([[0.0, 0.0]], 2.0, process=VP), scale=1.5)
    x0, noise = torch.randn(32, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), ud.Noise(range(32))
    loss = ud.Distillation(teacher=guided, times="low_discrepancy")
    assert loss(Answers(guided, TARGETS[name]), x0, noise).max() < 1e-18
    off = loss(Answers(guided, TARGETS[name], 0.25), x0, noise)
    torch.testing.assert_close(off, torch.full((32,), 0.0625, dtype=torch.float64))
    assert loss(Answers(law, TARGETS[name]), x0, noise).mean() > 1e-4  # unguided is another answer


def test_its_gradient_is_that_of_score_matching_without_the_noise_if_the_teacher_is_exact():
    """Vincent's identity: x_0 and eps may be replaced by their means given x_t. False alarm 6e-5 (four standard errors)."""
    n, law = 40_000, mixture(VP)
    noise = ud.Noise(range(n)).fold("gradient")
    x0, gradient = law.sample(n, noise.fold("data")), {}
    for name, objective in (("noise", ud.DenoisingScoreMatching()), ("teacher", ud.Distillation(teacher=law))):
        net = RowByRow(n)
        objective(ud.Denoiser(net, VP, target.v), x0, noise).sum().backward()
        gradient[name] = net.shift.grad[:, 0]
    difference = gradient["noise"] - gradient["teacher"]
    assert difference.mean().abs() < 4 * difference.std() / n**0.5
    assert gradient["teacher"].var() < 0.5 * gradient["noise"].var()


def test_a_student_becomes_the_guided_denoiser():
    """A perceptron that learns a guided mixture: its samples are where the guided ones are, which plain ones are not."""
    torch.manual_seed(0)
    law = ud.GaussianMixture([[1.0], [-1.0]], 0.6, weights=[0.4, 0.6], process=VP)
    guided = WhereTold(ud.Mix(law, law.given(None), scale=3.0), law)
    net = ud.nn.MLP((1,), width=64, depth=2, classes=2).double()
    student = ud.Denoiser(net, VP, target.v, shape=(1,))
    objective, optimizer = ud.Distillation(teacher=guided), torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(400):
        noise = ud.Noise(range(256)).fold(step)
        x0 = law.sample(256, noise.fold("x"))
        cond = torch.randint(-1, 2, (256,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        objective(student, x0, noise, cond).mean().backward()
        optimizer.step()
    with torch.no_grad():
        drawn = {
            name: ud.sample(d, (500, 1), steps=20, cond=0).double()
            for name, d in (("student", student), ("teacher", guided), ("law", law))
        }
        free = ud.sample(student, (500, 1), steps=20).double()
    assert (drawn["student"] - drawn["teacher"]).square().mean().sqrt() < 0.1  # sample by sample, from the same noise
    assert (drawn["law"] - drawn["teacher"]).square().mean().sqrt() > 0.4
    assert (
        abs((free > 0).double().mean() - 0.4) < 0.1
    )  # unasked it is the law: 40 % on the right; 4.5 standard errors, false alarm 7e-6


def test_only_those_that_are_told_are_guided():
    law = ud.GaussianMixture([[1.0], [-1.0]], 0.6, weights=[0.4, 0.6])
    guided = ud.Mix(law, law.given(None), scale=3.0)
    x, t, cond = (
        torch.linspace(-2, 2, 6, dtype=torch.float64)[:, None],
        torch.linspace(0.1, 0.9, 6),
        torch.tensor([0, -1, 1, -1, -1, 0]),
    )
    for times in (t.double(), torch.tensor(0.4, dtype=torch.float64)):
        found = WhereTold(guided, law)(x, times, cond)
        for row in range(6):
            at = times if times.ndim == 0 else times[row : row + 1]
            want = (law if cond[row] < 0 else guided)(x[row : row + 1], at, cond[row : row + 1])
            torch.testing.assert_close(found.data[row : row + 1], want.data)
            torch.testing.assert_close(found.noise[row : row + 1], want.noise)
    assert torch.equal(WhereTold(guided, law)(x, t.double()).data, law(x, t.double()).data)


def test_a_teacher_of_another_process_is_refused():
    x0, noise = torch.zeros(4, 2, dtype=torch.float64), ud.Noise(range(4))
    student = Answers(mixture(ud.Rectified(t_min=1e-3, t_max=0.999)), target.v)
    with pytest.raises(ValueError, match=r"the teacher sees VP.* the student Rectified.*using"):
        ud.Distillation(teacher=mixture(VP))(student, x0, noise)
    seen = ud.Distillation(teacher=mixture(VP).using(student.process))
    assert seen(student, x0, noise).max() < 1e-18  # one law, whatever process it is seen through
    with pytest.raises(ValueError, match="WhereTold"):
        WhereTold(mixture(VP), mixture(ud.Karras()))
