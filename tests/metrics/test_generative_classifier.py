"""The generative classifier against Bayes' rule on a mixture, where both are known."""

import pytest
import torch

import undrift as ud
from undrift.error import UndriftError
from undrift.evaluation.generative_classifier import class_log_prob, classify_held_out, posterior

# Three overlapping classes, one of them of two components.
LAW = ud.GaussianMixture(
    [[1.0, 0.0], [-1.0, 0.3], [0.0, 1.2], [0.2, -1.0]], [0.5, 0.6, 0.4, 0.5], [0.2, 0.4, 0.3, 0.1], ud.Rectified(), [0, 1, 2, 2]
)
WEIGHTS = torch.tensor([0.2, 0.4, 0.4], dtype=torch.float64)
N = 200
X = LAW.sample(N, ud.Noise(range(N)).fold("test"))
TRUTH = LAW.posterior(X)


def test_exact_likelihoods_give_the_exact_posterior():
    found = class_log_prob(LAW, X[:60], 3, "likelihood", steps=32)
    torch.testing.assert_close(posterior(found, WEIGHTS.log()), TRUTH[:60], atol=2e-3, rtol=0)
    even = posterior(found)
    torch.testing.assert_close(even, torch.nn.functional.normalize(TRUTH[:60] / WEIGHTS, p=1, dim=1), atol=3e-3, rtol=0)


def test_the_bound_agrees_with_the_posterior_ever_more_as_noise_is_drawn():
    """The disagreement of the most likely class falls with the draws, to under 4 %; so does the error of the probabilities."""
    wrong, error = [], []
    for draws in (1, 8, 64):
        found = posterior(class_log_prob(LAW, X, 3, points=8, draws=draws), WEIGHTS.log())
        wrong.append((found.argmax(1) != TRUTH.argmax(1)).double().mean().item())
        error.append((found - TRUTH).abs().mean().item())
    assert wrong[0] > wrong[1] > wrong[2] and wrong[2] < 0.04, wrong
    assert error[0] > 2 * error[1] > 4 * error[2], error


def test_all_classes_see_the_same_noise():
    """Paired: the difference of two classes scatters less than with noise of their own, at least threefold in variance."""
    x = X[:1].expand(300, 2)
    a, b = (ud.Noise(range(300)).fold("pair", k) for k in (0, 1))
    one, other = class_log_prob(LAW, x, 3, noise=a), class_log_prob(LAW, x, 3, noise=b)
    assert torch.equal(one, class_log_prob(LAW, x, 3, noise=a))
    paired, unpaired = one[:, 0] - one[:, 1], one[:, 0] - other[:, 1]
    assert 3 * paired.var() < unpaired.var()


def test_a_row_does_not_depend_on_its_batch():
    noise = ud.Noise(range(20)).fold("rows")
    whole = class_log_prob(LAW, X[:20], 3, noise=noise)
    torch.testing.assert_close(class_log_prob(LAW, X[5:8], 3, noise=noise[5:8]), whole[5:8])


def test_a_run_is_asked_about_its_held_out_data(tiny_run):
    found = classify_held_out(ud.load(tiny_run), tiny_run, 40, points=4)
    assert found.probabilities.shape == (40, 10) and found.evaluations == 50
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(40).double())
    assert "of 40 held-out examples" in found.lines()[0]
    again = classify_held_out(ud.load(tiny_run), tiny_run, 40, points=4, batch_size=7)
    torch.testing.assert_close(again.probabilities, found.probabilities, atol=1e-2, rtol=0)


def test_what_cannot_be_asked(tiny_run):
    model = ud.load(tiny_run)
    with pytest.raises(UndriftError, match="-n 0: ask about at least one"):
        classify_held_out(model, tiny_run, 0)
    with pytest.raises(ValueError, match="`classes` must be at least 2"):
        class_log_prob(LAW, X, 1)
    with pytest.raises(ValueError, match='method "boundd" is unknown'):
        class_log_prob(LAW, X, 3, "boundd")
