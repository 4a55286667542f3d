"""The noise-aware classifier: trained, measured against the exact p(y | x_t), on disk, and guiding."""

import json
import math
import pickle
import time

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import undrift as ud
from undrift.data import mixture_law, toy
from undrift.data.spec import Spec
from undrift.error import ModelError, UndriftError
from undrift.evaluation.classifier_calibration import BANDS, by_level, table
from undrift.model_file import build_model
from undrift.noisy_classifier import load_classifier, save_classifier
from undrift.recipe.read import load_recipe
from undrift.tensorfile import save_tensors
from undrift.training.noisy_classifier import train_classifier
from undrift.training.session import train_run
from undrift.training.setup import parts_of

OPTIONS = {"data.name": "mixture", "network": {"kind": "mlp", "width": 8, "depth": 1}, "process": {"kind": "rectified"}}


@pytest.fixture(scope="module")
def ring():
    """A model of eight Gaussians on a circle (never trained: only its process is used), the data, and their exact law."""
    recipe, data = load_recipe("toy", OPTIONS), toy("mixture", n=4000)
    model = build_model(parts_of(recipe, 1.0), data.spec, recipe.sampling, {})
    means, std = mixture_law()
    unit = float(data.spec.scale[0])
    law = ud.GaussianMixture(torch.as_tensor(means) / unit, std / unit, None, model.denoiser.process)
    return model, recipe, data, law


@pytest.fixture(scope="module")
def trained(ring):
    model, recipe, data, _ = ring
    return train_classifier(model, recipe, data, steps=400, batch_size=256)


def test_it_comes_close_to_the_exact_posterior_at_every_level(ring, trained):
    law, classifier, noise = ring[3], trained.classifier, ud.Noise(range(500)).fold("test")
    for t in (0.02, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0):
        x = law.sample(500, noise, t)
        with torch.no_grad():
            log_p = classifier.logits(x.float(), t).log_softmax(1).double()
        exact = law.posterior(x, t)
        gap = (exact * (exact.clamp(min=1e-30).log() - log_p)).sum(1).mean()  # KL, nats
        assert gap < 0.08, (t, gap)


def test_its_guidance_reaches_the_class(ring, trained):
    """By the exact unconditional denoiser: each class in turn, against 1/8 without."""
    law, y = ring[3], torch.arange(400) % 8
    for scale, wanted in ((1.0, 0.88), (3.0, 0.98)):
        guided = ud.Tilt(law.given(None), trained.classifier, scale)
        for sampler, steps in ((ud.DPM2M(), 20), (ud.Heun(), 15), (ud.Ancestral(), 60)):
            x = ud.sample(guided, 400, sampler, steps, cond=y)
            assert (law.posterior(x.double()).argmax(1) == y).double().mean() > wanted
            assert (x.double() - law.means[y]).norm(dim=1).median() < 3 * law.variance[0].sqrt()


def test_the_table_knows_chance_and_calibration(ring, trained):
    law, (clean, *_, noisy) = ring[3], by_level(trained.classifier, toy("mixture", n=2000, seed=1))
    assert clean.accuracy > 0.98 and noisy.accuracy < 0.2
    assert abs(noisy.confidence - noisy.accuracy) < 0.05 and abs(noisy.cross_entropy - math.log(8)) < 0.1
    held_out = toy("mixture", n=2000, seed=1)
    x, labels = held_out.batch(torch.arange(2000))
    for band in by_level(trained.classifier, held_out):  # against the best that can be done in the middle of the band
        t = law.process.time(torch.tensor((band.high + band.low) / 2).double())
        seen = law.process.perturb(x.double(), t, ud.Noise(range(2000)).fold("best").normal(x.double()))
        best = (law.posterior(seen, t).argmax(1) == labels).double().mean().item()
        assert band.accuracy == pytest.approx(best, abs=0.06)
    lines = table(by_level(trained.classifier, held_out, 200), trained.classifier, held_out)
    assert len(lines) == len(BANDS) + 2 and "13.3 %" in lines[-1] and "2.078 nats" in lines[-1]


def test_the_same_seed_trains_the_same_classifier_and_leaves_torch_alone(ring):
    model, recipe, data, _ = ring
    torch.manual_seed(7)
    before = torch.get_rng_state()
    a, b = (train_classifier(model, recipe, data, steps=3).classifier.state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(("change", "message"), [
    (lambda m, r, d: (m, r, toy("checkerboard", n=100), {"steps": 1}), "no classes|not what the model"),
    (lambda m, r, d: (m, r, toy("moons", n=100), {"steps": 1}), "not what the model"),
    (lambda m, r, d: (m, r, d, {"steps": 2, "rate": 1e9}), "is nan|is inf"),
])  # fmt: skip
def test_what_cannot_be_trained(ring, change, message):
    model, recipe, data, options = change(*ring[:3])
    with pytest.raises(UndriftError, match=message):
        train_classifier(model, recipe, data, **({"steps": 60} | options))


@pytest.mark.parametrize("end", [{"steps": 0}, {"minutes": 0.0}, {"minutes": -1}, {"minutes": float("nan")}])
def test_an_end_must_be_ahead(ring, end):
    with pytest.raises(ValueError, match="at least one step"):
        train_classifier(*ring[:3], **end)


@pytest.fixture
def saved(ring, trained, tmp_path):
    save_classifier(trained, tmp_path)
    return tmp_path


def test_saving_and_loading_changes_nothing(ring, trained, saved):
    again, x = load_classifier(saved, ring[0]), torch.randn(5, 2)
    assert torch.equal(again.logits(x, 0.3), trained.classifier.logits(x, 0.3))
    assert again.process == trained.classifier.process and not any(p.requires_grad for p in again.parameters())
    assert {p.name for p in saved.iterdir()} == {"noisy_classifier.json", "noisy_classifier.safetensors"}


class Bomb:
    def __reduce__(self):
        import os

        return (os.system, ("touch OWNED",))


def rewritten(folder, **changes):
    path = folder / "noisy_classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def poisoned(folder):
    tensors = load_file(folder / "noisy_classifier.safetensors")
    tensors["raw.log_prior"][0] = float("nan")
    save_tensors(folder / "noisy_classifier.safetensors", tensors)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda f: (f / "noisy_classifier.json").unlink(), "train one with `undrift train-classifier"),
    (lambda f: (f / "noisy_classifier.safetensors").unlink(), "no noisy_classifier.safetensors"),
    (lambda f: (f / "noisy_classifier.json").write_text("{"), "is not a description of a classifier|does not describe a classifier"),
    (lambda f: (f / "noisy_classifier.json").write_text("[" * 200_000), "is not a description of a classifier|does not describe a classifier"),
    (lambda f: (f / "noisy_classifier.json").write_bytes(b"\xff\xfe"), "is not a description of a classifier|does not describe a classifier"),
    (lambda f: rewritten(f, format=9), "format 9"),
    (lambda f: rewritten(f, process={"kind": "vp"}), "another process"),
    (lambda f: rewritten(f, process={"kind": "evil"}), "is not a description of a classifier|does not describe a classifier"),
    (lambda f: rewritten(f, classes=["a", "b"]), "or classes than the model"),
    (lambda f: rewritten(f, network={"kind": "evil"}), 'kind "evil" is unknown'),
    (lambda f: rewritten(f, network={"kind": "mlp", "width": 10**9}), "absurd"),
    (lambda f: rewritten(f, network={"kind": "mlp", "width": float("nan")}), "NaN is not finite"),
    (lambda f: rewritten(f, network={"kind": "mlp", "width": 64}), "does not fit noisy_classifier.json"),
    (lambda f: rewritten(f, network=None), "is not a description of a classifier|does not describe a classifier"),
    (lambda f: rewritten(f, sigma_data=None), "is not a description of a classifier|does not describe a classifier"),
    (lambda f: rewritten(f, sigma_data=float("nan")), "NaN is not finite"),
    (lambda f: rewritten(f, sigma_data=0.5), "another process, sigma_data"),
    (lambda f: (f / "noisy_classifier.safetensors").write_bytes(pickle.dumps(Bomb())), "safetensors is damaged"),
    (poisoned, "are not finite"),
])  # fmt: skip
def test_damaged_classifiers(ring, saved, damage, message, monkeypatch):
    monkeypatch.chdir(saved)
    damage(saved)
    with pytest.raises(ModelError, match=message) as caught:
        load_classifier(saved, ring[0])
    assert "\n" not in str(caught.value) and not (saved / "OWNED").exists()


def test_pictures_have_a_network_of_their_own(tiny_run):
    model = ud.load(tiny_run)
    recipe, data = load_recipe("digits"), ud.data.digits().split(0.2, 0)[0]
    found = train_classifier(model, recipe, data, steps=2)
    assert found.parts["network"]["kind"] == "unet" and isinstance(found.classifier.net, ud.nn.UNetClassifier)
    x = model.draw(3, 4, guide=found.classifier, scale=2.0, sampler="dpm2m", steps=3)
    assert x.shape == (3, 1, 8, 8) and torch.isfinite(x).all()
    expected = ud.sample(ud.Tilt(model.denoiser.given(None), found.classifier, 2.0), 3, steps=3, cond=4)
    torch.testing.assert_close(x, expected)


def test_a_weaker_model_guides_with_its_class_and_without(tiny_run):
    strong, weak = ud.load(tiny_run), ud.load(tiny_run, weights="raw")
    mix = ud.Mix(strong.denoiser, weak.denoiser, 2.0)
    torch.testing.assert_close(
        strong.draw(3, 7, guide=weak, scale=2.0, steps=3, sampler="dpm2m"), ud.sample(mix, 3, steps=3, cond=7)
    )
    torch.testing.assert_close(strong.draw(3, guide=weak, scale=2.0, steps=3, sampler="dpm2m"), ud.sample(mix, 3, steps=3))
    with pytest.raises(UndriftError, match="needs a class"):
        strong.draw(3, guide=ud.NoisyClassifier(torch.nn.Identity(), strong.denoiser.process, [1, 1]))


def test_a_weaker_model_of_another_process_is_brought_over(tiny_run, tmp_path):
    options = {"network": {"kind": "unet", "widths": [8], "blocks": 1, "embedding": 16}, "steps": 2, "process": {"kind": "vp"},
               "batch_size": 8, "sample_every": 0, "device": "cpu"}  # fmt: skip
    train_run("digits", options, tmp_path / "weak", False, Console(quiet=True), time.perf_counter())
    strong, weak = ud.load(tiny_run), ud.load(tmp_path / "weak")
    mix = ud.Mix(strong.denoiser, weak.denoiser.using(strong.denoiser.process), 1.5)
    torch.testing.assert_close(
        strong.draw(2, 7, guide=weak, scale=1.5, steps=3, sampler="dpm2m"), ud.sample(mix, 2, steps=3, cond=7)
    )
    other = ud.load(tmp_path / "weak")
    other.spec = Spec.standardised(torch.randn(9, 2).numpy())
    with pytest.raises(UndriftError, match="other data"):
        strong.draw(2, guide=other)
