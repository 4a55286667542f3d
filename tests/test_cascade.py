"""Cascades: what the second stage is told, in training and in sampling, and that the chain has the right law."""

import json
import shutil
import time

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import undrift as ud
from undrift.cli import main
from undrift.data import Spec, load_data
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.error import DataError, ModelError, RecipeError, UndriftError
from undrift.process import as_time, expand
from undrift.recipe.read import load_recipe, make_recipe
from undrift.training.session import train_run
from undrift.training.setup import plan, prepare
from undrift.upscale import augmented, enlarging, shrink

QUIET = Console(quiet=True)
TINY = {
    "network": {"kind": "unet", "widths": [8], "blocks": 1, "embedding": 16}, "steps": 6, "batch_size": 16, "sample_every": 0,
    "checkpoint_every": 100, "device": "cpu",
}  # fmt: skip


def awake(model):
    """Weights that make every input matter: a fresh network puts out zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.denoiser.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of both stages, six steps old."""
    folder = tmp_path_factory.mktemp("cascade")
    train_run("digits", {**TINY, "data.downsample": 2}, folder / "low", False, QUIET, time.perf_counter())
    train_run("upscale", TINY, folder / "high", False, QUIET, time.perf_counter())
    return folder


@pytest.fixture
def cascade(runs):
    return ud.Cascade(awake(ud.load(runs / "low")), awake(ud.load(runs / "high")), 0.25)


# What is told in training


def test_small_pictures_are_averages_with_noise_of_the_level_told():
    """Each statistic lies within 5 standard errors: a false alarm in 2e-6."""
    x0 = torch.linspace(-1, 1, 2000 * 16).reshape(2000, 1, 4, 4)
    label = torch.arange(2000) % 3
    told = enlarging(x0, 2, 0.5, ud.Noise(range(2000)), label)
    small = x0.reshape(2000, 1, 2, 2, 2, 2).mean((3, 5))
    torch.testing.assert_close(shrink(x0, 2), small)
    level = told.vector[:, 0]
    assert told.vector.shape == (2000, 1) and told.label is label
    assert level.min() >= 0 and level.max() <= 0.5
    assert abs(level.mean() - 0.25) < 5 * 0.5 / 12**0.5 / 2000**0.5
    assert abs(level.square().mean() - 0.25 / 3) < 5 * 0.25 * (4 / 45 / 2000) ** 0.5  # even over the whole of it
    eps = (told.image - small) / level[:, None, None, None]
    assert abs(eps.mean()) < 5 / 8000**0.5 and abs(eps.var() - 1) < 5 * (2 / 8000) ** 0.5
    for column in eps.abs().flatten(1).mT:  # the level says nothing of the noise
        assert abs(torch.corrcoef(torch.stack([level, column]))[0, 1]) < 5 / 2000**0.5
    alone = enlarging(x0[7:8], 2, 0.5, ud.Noise([7]), label[7:8])
    assert torch.equal(alone.image[0], told.image[7]) and torch.equal(alone.vector[0], told.vector[7])


def test_level_zero_adds_nothing():
    small = torch.randn(3, 1, 2, 2)
    told = augmented(small, torch.tensor([0.0, 0.5, 0.0]), ud.Noise(range(3)))
    assert torch.equal(told.image[::2], small[::2]) and not torch.equal(told.image[1], small[1])
    assert told.label is None and told.vector[:, 0].tolist() == [0.0, 0.5, 0.0]


def test_a_training_step_tells_the_network_of_its_own_pictures(tmp_path):
    recipe = make_recipe(load_recipe("upscale").model_dump(mode="json"), {**TINY, "batch_size": 400, "label_dropout": 0.25})
    trainer, *_ = prepare(recipe, tmp_path / "run")
    seen, objective = [], trainer.objective

    def spy(denoiser, x0, noise, cond):
        seen.append((x0, cond))
        return objective(denoiser, x0, noise, cond)

    trainer.objective = spy
    trainer.step(0, 1e-3)
    trainer.step(1, 1e-3)
    trainer.lock.close()
    (x0, told), (_, later) = seen
    known = ~told.vector.isnan()[:, 0]
    assert torch.equal(known, ~told.image.isnan().flatten(1).any(1)) and torch.equal(known, told.label >= 0)
    assert 0.65 < known.double().mean() < 0.85  # 4.6 standard deviations
    eps = (told.image - shrink(x0, 2))[known] / told.vector[known][..., None, None]
    assert abs(eps.var() - 1) < 0.1  # over 5 standard errors
    rows = trainer.order.rows(0, 400)
    assert torch.equal(told.label[known], torch.from_numpy(trainer.data.labels)[rows][known])
    both = known & ~later.vector.isnan()[:, 0]
    assert (told.vector != later.vector)[both].double().mean() > 0.9  # drawn anew in every step


def test_a_run_interrupted_and_taken_up_again_is_the_same_bit_for_bit(runs, tmp_path):
    recipe, _ = plan("upscale", TINY, tmp_path / "halves", False)
    trainer, *_ = prepare(recipe, tmp_path / "halves")
    for report in trainer.run():
        if report.step == 3:
            break
    trainer.save()
    trainer.lock.close()
    train_run("upscale", TINY, tmp_path / "halves", False, QUIET, time.perf_counter())
    for name in ("model.safetensors", "state/step-00000006.safetensors"):
        a, b = load_file(runs / "high" / name), load_file(tmp_path / "halves" / name)
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_low_resolution_digits_are_averages_of_the_digits():
    large, small = load_data("digits"), load_data("digits", downsample=2)
    assert small.spec.shape == (1, 4, 4) and not small.spec.integer and small.spec.classes == large.spec.classes
    rows = torch.arange(50)
    torch.testing.assert_close(small.batch(rows)[0], shrink(large.batch(rows)[0], 2))
    assert torch.equal(small.batch(rows)[1], large.batch(rows)[1])
    assert load_data("digits", downsample=4).raw()[3, 0, 1, 0] == large.raw()[3, 0, 4:, :4].float().mean()
    with pytest.raises(DataError, match="downsample=3; give 1, 2 or 4"):
        load_data("digits", downsample=3)


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("toy", {"condition.kind": "upscale"}, r"needs pictures .* have shape \(2,\)"),
        ("digits", {"condition.kind": "upscale", "condition.factor": 3}, r"multiples of factor=3; digits have shape \(1, 8, 8\)"),
        ("captions", {"condition.kind": "upscale", "data.n": 5}, "and captions$"),
        ("digits", {"condition.kind": "upscale", "network.kind": "mlp"}, "condition.kind=upscale is told to pictures"),
        ("digits", {"condition.kind": "upscal"}, r'condition.kind "upscal" is unknown . did you mean "upscale"'),
        ("upscale", {"condition.augmnt": 1}, 'unknown key "condition.augmnt".*condition.augment'),
    ],
)
def test_recipes_that_cannot_be(tmp_path, recipe, overrides, message):
    with pytest.raises(RecipeError, match=message) as caught:
        train_run(recipe, overrides, tmp_path / "run", False, QUIET, time.perf_counter())
    assert "\n" not in str(caught.value)


# The chain


def test_what_the_second_stage_is_told_decides(cascade):
    noise = ud.Noise(range(4))
    small = torch.rand(4, 1, 4, 4) * 2 - 1
    told = augmented(small, torch.full((4,), 0.25), noise, torch.arange(4))
    x, t = noise.normal((4, 1, 8, 8)), 0.5
    usual = cascade.high.denoiser(x, t, told).data
    for other in (
        augmented(small.flip(0), torch.full((4,), 0.25), noise, torch.arange(4)),
        ud.Condition(image=told.image, vector=told.vector + 0.2, label=told.label),
        ud.Condition(image=told.image, vector=told.vector, label=told.label + 1),
    ):
        assert (cascade.high.denoiser(x, t, other).data - usual).abs().amax((1, 2, 3)).min() > 1e-3


def test_samples(cascade):
    x = cascade.sample(5, [3, 1, 4, 1, 5], seed=2)
    assert x.shape == (5, 1, 8, 8) and x.dtype == torch.uint8 and cascade.spec == cascade.high.spec
    assert torch.equal(cascade.sample(5, ["3", "1", "4", "1", "5"], seed=2, augment=0.25), x)
    for other in ({"seed": 3}, {"augment": 0.0}, {"augment": 0.5}, {"low": {"steps": 2}}, {"high": {"steps": 2}}):
        assert not torch.equal(cascade.sample(5, [3, 1, 4, 1, 5], **{"seed": 2, **other}), x)
    assert not torch.equal(cascade.sample(5, seed=2), x)


def test_a_part_of_a_set_is_told_the_same(cascade, monkeypatch):
    """Up to 1e-4: networks round differently for other batch sizes."""
    asked, draw = [], cascade.high.sample

    def spy(n, told, **options):
        asked.append((told, draw(n, told, **options).int()))
        return asked[-1][1]

    monkeypatch.setattr(cascade.high, "sample", spy)
    cascade.sample(5, [3, 1, 4, 1, 5], seed=2)
    cascade.sample(2, [4, 1], seed=2, first=2, batch_size=1)
    (whole, x), (part, y) = asked
    torch.testing.assert_close(whole.image[2:4], part.image, atol=1e-4, rtol=0)
    assert torch.equal(whole.label[2:4], part.label) and (x[2:4] - y).abs().max() <= 1
    assert whole.vector.flatten().tolist() == [0.25] * 5
    small = cascade.low.spec.to_model(cascade.low.sample(5, [3, 1, 4, 1, 5], seed=2))
    eps = (whole.image - small) / 0.25
    assert 0.5 < eps.std() < 1.5 and (eps[0] - eps[1]).abs().min() > 0  # 80 numbers: over 6 standard errors


def test_saved_and_loaded(cascade, tmp_path):
    cascade.save(tmp_path / "both")
    again = ud.load_cascade(tmp_path / "both")
    assert again.augment == 0.25
    assert torch.equal(again.sample(4, 7, seed=1), cascade.sample(4, 7, seed=1))
    names = {p.name for p in (tmp_path / "both").rglob("*") if p.is_file()}
    assert names == {"cascade.json", "model.json", "model.safetensors"}
    with pytest.raises(ModelError, match=r"holds a cascade of two models; .* undrift.load_cascade"):
        ud.load(tmp_path / "both")


def test_errors_of_the_chain(cascade, runs):
    low, high = cascade.low, cascade.high
    for stages, message in (
        ((low, low), "must be trained to enlarge"),
        ((high, high), r"enlarges pictures of shape \(1, 4, 4\), but the first draws \(1, 8, 8\)"),
        ((low, high, 0.6), "augment=0.6 is not in 0..0.5"),
        ((low, high, float("nan")), "augment=nan"),
    ):
        with pytest.raises(UndriftError, match=message):
            ud.Cascade(*stages)
    with pytest.raises(UndriftError, match=r"augment=-0\.1 is not in"):
        cascade.sample(1, augment=-0.1)
    with pytest.raises(UndriftError, match='class "ten" is unknown'):
        cascade.sample(1, "ten")
    with pytest.raises(UndriftError, match="given none; put it behind another"):
        high.sample(2, 3)


@pytest.mark.parametrize("damage", ["missing", "not json", "format", "number", "augment", "high", "swapped", "factor"])
def test_damaged_folders(cascade, tmp_path, damage):
    folder = tmp_path / "both"
    cascade.save(folder)
    where = folder / "cascade.json"
    texts = {
        "not json": "{", "format": '{"format": 2, "augment": 0}', "number": '{"format": 1, "augment": [1]}',
        "augment": '{"format": 1, "augment": 9}',
    }  # fmt: skip
    if damage == "missing":
        where.unlink()
    elif damage in texts:
        where.write_text(texts[damage])
    elif damage == "high":
        shutil.rmtree(folder / "high")
    elif damage == "swapped":
        shutil.copytree(folder / "low", folder / "high", dirs_exist_ok=True)
    else:
        description = json.loads((folder / "high" / "model.json").read_text())
        description["condition"]["factor"] = "x"
        (folder / "high" / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError) as caught:
        ud.load_cascade(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("command", [["sample", "RUN"], ["evaluate", "RUN"], ["evaluate", "RUN", "--generative-classifier"]])
def test_the_command_line_says_that_the_second_stage_is_no_model_of_its_own(runs, capsys, command):
    assert main([word.replace("RUN", str(runs / "high")) for word in command]) == 2
    said = capsys.readouterr().err
    assert "enlarges small pictures" in said and said.count("\n") == 1


def test_info_says_what_the_second_stage_reads(runs, capsys):
    assert main(["info", str(runs / "high")]) == 0
    assert "the picture 2 times smaller, with noise of up to 0.5, and the class" in capsys.readouterr().out


def test_the_command_line_puts_two_runs_together(runs, tmp_path, capsys):
    low, high, out = str(runs / "low"), str(runs / "high"), tmp_path / "both"
    assert main(["cascade", low, high, "--out", str(out), "--augment", "0.2", "--seed", "1"]) == 0
    assert "100 samples of (1, 8, 8), augment 0.2" in capsys.readouterr().out
    assert (out / "samples" / "grid.png").is_file() and ud.load_cascade(out).augment == 0.2
    numbers = tmp_path / "x.npz"
    assert main(["sample", str(out), "-n", "3", "--class", "7", "--seed", "2", "--npz", str(numbers)]) == 0
    assert "3 samples of (1, 8, 8), augment 0.2" in capsys.readouterr().out
    with np.load(numbers) as found:
        assert (found["x"] == ud.load_cascade(out).sample(3, 7, seed=2).numpy()).all() and (found["labels"] == 7).all()
    for words, message in ((["--steps", "3"], "choose the rest for each in Python"), (["-n", "0"], "at least one"),
                           (["--class", "x"], "is unknown")):  # fmt: skip
        assert main(["sample", str(out), *words]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    for words, message in (
        ([low, low, "--out", str(tmp_path / "new")], "must be trained to enlarge"),
        ([low, high, "--out", str(runs / "low")], "not empty and holds no cascade"),
        ([low, high, "--out", str(tmp_path / "new"), "--augment", "3"], "augment=3 is not in 0..0.5"),
    ):
        assert main(["cascade", *words]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert not (tmp_path / "new").exists()


# An exact law: x ~ N(0, S), shown as y = A x + s eps

SHAPE = (1, 2, 4)
A = torch.zeros(2, 8, dtype=torch.float64)
for _column in range(8):
    A[(_column % 4) // 2, _column] = 0.25
_place = torch.arange(8, dtype=torch.float64)
S = 0.8 ** (_place[:, None] - _place).abs() * (0.4 + 0.1 * _place)[:, None].sqrt() * (0.4 + 0.1 * _place).sqrt()


def posterior(s):
    """Gain K and covariance P of x given y, for levels `(B,)`."""
    noisy = A @ S @ A.mT + s.double()[:, None, None] ** 2 * torch.eye(2, dtype=torch.float64)
    gain = S @ A.mT @ torch.linalg.inv(noisy)
    return gain, S - gain @ A @ S


class Enlarge(AnyDenoiser):
    """The exact denoiser of x given y: the Wiener filter of N(K y, P)."""

    def __init__(self, process):
        super().__init__()
        self.process, self.shape = process, SHAPE

    def forward(self, x, t, cond=None):
        alpha, sigma = (expand(v, x.flatten(1)).double() for v in self.process(as_time(t, x)))
        gain, cov = posterior(cond.vector[:, 0])
        mean = (gain @ cond.image.flatten(1).double()[..., None])[..., 0]
        noisy = alpha[..., None] ** 2 * cov + sigma[..., None] ** 2 * torch.eye(8, dtype=torch.float64)
        gap = torch.linalg.solve(noisy, x.flatten(1).double() - alpha * mean)
        data = mean + alpha * (cov @ gap[..., None])[..., 0]
        return Prediction(data.view_as(x).to(x), (sigma * gap).view_as(x).to(x))


def exact(error=1.0):
    """Both stages of the exact law; `error`: how much too large the covariance of the first is. Data units differ on purpose."""
    process = ud.Rectified()
    law = ud.GaussianMixture(torch.zeros(1, 1, 1, 2), (error * A @ S @ A.mT)[None], process=process)
    sampling = ud.model.SamplingOptions(sampler="heun", steps=24)
    low = ud.Model(law, Spec((1, 1, 2), None, None, False, 3.0, 2.0), {}, sampling)
    parts = {"condition": {"kind": "upscale", "factor": 2, "augment": 2.0}}
    high = ud.Model(Enlarge(process), Spec(SHAPE, None, None, False, 3.0, 2.0), parts, sampling)
    return ud.Cascade(low, high)


def units(x):
    return ((x.double() - 3) / 2).flatten(1)


N = 6000


@pytest.mark.parametrize("level", [0.0, 0.4, 1.5])
def test_exact_stages_give_the_exact_law_at_every_level(level):
    """Every entry of the covariance within 5.5 standard errors of the sampled one (36 entries: a false alarm in 1e-6)."""
    cascade = exact()
    x = units(cascade.sample(N, augment=level))
    spread = ((S.diagonal()[:, None] * S.diagonal() + S**2) / N).sqrt()
    assert ((torch.cov(x.mT) - S).abs() / spread).max() < 5.5
    assert (x.mean(0).abs() / (S.diagonal() / N).sqrt()).max() < 5.5
    z = units(cascade.low.sample(N, seed=0))
    gain, _ = posterior(torch.tensor([level]))
    together = (x - x.mean(0)).mT @ (z - z.mean(0)) / N  # E[x z'] = K E[z z']
    law = gain[0] @ A @ S @ A.mT
    size = ((S.diagonal()[:, None] * (A @ S @ A.mT).diagonal() + law**2) / N).sqrt()
    assert ((together - law).abs() / size).max() < 5.5
    if level == 0:
        torch.testing.assert_close(x @ A.mT, z, atol=2e-3, rtol=0)


def test_augmentation_hides_the_errors_of_the_first_stage():
    """A first stage with twice the variance: what comes out is what theory says, nearer to the data the higher the level.

    Each entry within 5.5 standard errors (36 entries, three levels: a false alarm in 4e-6).
    """
    cascade, wrong = exact(2.0), []
    for level in (0.0, 0.5, 1.5):
        (gain,), (cov,) = posterior(torch.tensor([level]))
        law = gain @ (2 * A @ S @ A.mT + level**2 * torch.eye(2, dtype=torch.float64)) @ gain.mT + cov
        x = units(cascade.sample(N, augment=level))
        found = torch.cov(x.mT)
        assert ((found - law).abs() / ((law.diagonal()[:, None] * law.diagonal() + law**2) / N).sqrt()).max() < 5.5
        wrong.append(((found - S).norm() / S.norm()).item())
    assert wrong[0] > 0.8 and wrong[1] < 0.6 * wrong[0] and wrong[2] < 0.3 * wrong[1]
