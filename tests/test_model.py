"""The model on disk and in use."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

import undrift as ud
from undrift.error import ModelError, OutputError, UndriftError
from undrift.model import save, write_atomically


def test_load_gives_back_what_was_trained(tiny_run):
    model = ud.load(tiny_run)
    assert model.spec.classes == tuple("0123456789")
    assert model.trained["steps"] == 25
    stored = load_file(tiny_run / "model.safetensors")
    for name, value in model.denoiser.state_dict().items():
        assert torch.equal(value, stored[f"ema.{name}"])
    raw = ud.load(tiny_run, weights="raw").denoiser.state_dict()
    assert any(not torch.equal(value, stored[f"ema.{name}"]) for name, value in raw.items())


def test_saving_and_loading_changes_no_sample(tiny_run, tmp_path):
    model = ud.load(tiny_run)
    save(model, {"raw": model.denoiser.state_dict(), "ema": model.denoiser.state_dict()}, tmp_path)
    assert torch.equal(ud.load(tmp_path).draw(4, 3, seed=5), model.draw(4, 3, seed=5))


def test_samples_are_data(tiny_run):
    x = ud.load(tiny_run).sample(5, cond=7, scale=2.0, steps=3, seed=1)
    assert x.shape == (5, 1, 8, 8)
    assert x.dtype == torch.uint8
    assert int(x.max()) <= 16


def test_a_class_by_name_by_number_one_or_many(tiny_run):
    model = ud.load(tiny_run)
    by_name, by_number = model.draw(3, "7", seed=2), model.draw(3, 7, seed=2)
    assert torch.equal(by_name, by_number)
    mixed = model.draw(3, [7, "1", 0], seed=2)
    torch.testing.assert_close(mixed[:1], by_name[:1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(mixed[1:], by_name[1:])


def test_guidance_conventions(tiny_run):
    model = ud.load(tiny_run)
    assert torch.equal(model.draw(3, 4, scale=2.5, steps=4), model.draw(3, 4, w=1.5, steps=4))
    assert torch.equal(model.draw(3, 4, steps=4), model.draw(3, 4, scale=model.sampling.scale, steps=4))
    torch.testing.assert_close(model.draw(3, 4, scale=0, steps=4), model.draw(3, steps=4), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="not both"):
        model.draw(3, 4, scale=2.0, w=1.0)


def test_sample_i_does_not_depend_on_the_batch(tiny_run):
    """Addresses are equal bit for bit; convolutions round differently for other batch sizes, by about 1e-6."""
    model = ud.load(tiny_run)
    whole = model.draw(9, 3, sampler="ancestral", steps=6, batch_size=9)
    parts = model.draw(9, 3, sampler="ancestral", steps=6, batch_size=4)
    alone = model.draw(1, 3, sampler="ancestral", steps=6, first=5)
    torch.testing.assert_close(parts, whole, atol=1e-3, rtol=0)
    torch.testing.assert_close(alone, whole[5:6], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("call", "message"), [
    (lambda m: m.sample(2, "seven"), 'class "seven"'),
    (lambda m: m.sample(2, 10), "10"),
    (lambda m: m.sample(2, sampler="dpm"), 'sampler "dpm" is unknown'),
    (lambda m: m.sample(2, grid="karas"), 'grid "karas" is unknown — did you mean "karras"'),
    (lambda m: m.sample(2, scale=2.0), "needs a class"),
])  # fmt: skip
def test_what_cannot_be_asked(tiny_run, call, message):
    with pytest.raises(UndriftError, match=message):
        call(ud.load(tiny_run))
    with pytest.raises(ValueError, match="names 3 classes for 2 samples"):
        ud.load(tiny_run).sample(2, [1, 2, 3])


def test_a_model_that_was_always_told_its_class_is_not_asked_without(tiny_run):
    """Trained with label_dropout=0 it has no unconditional side: what needs one is refused, what does not is as ever."""
    model, x = ud.load(tiny_run), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    assert model.trained["label_dropout"] == 0.12
    before = model.draw(2, 4, scale=1, steps=2)
    model.trained["label_dropout"] = 0.0
    assert torch.equal(model.draw(2, 4, scale=1, steps=2), before)
    assert torch.equal(model.draw(2, 4, scale=2, steps=2, guide=ud.load(tiny_run)), before)
    classifier = ud.NoisyClassifier(torch.nn.Identity(), model.denoiser.process, [1.0] * 10)
    for call in (
        lambda: model.draw(2, 4, scale=2.0),
        lambda: model.draw(2, 4, w=-1),
        lambda: model.draw(2),
        lambda: model.draw(2, 4, scale=1.0, guide=classifier),
        lambda: model.impute(x, x == 0),
        lambda: model.log_likelihood(x),
        lambda: model.restore(torch.zeros(1, 4, 4), "downsample:2", 1.0),
    ):
        with pytest.raises(UndriftError, match="never trained without what it is told"):
            call()


class Bomb:
    def __reduce__(self):
        import os

        return (os.system, ("touch OWNED",))


def rewritten(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"ema.net": Bomb()}))


def other_weights(folder):
    save_file({"ema.net.weight": torch.zeros(3)}, folder / "model.safetensors")


def poisoned(folder):
    tensors = load_file(folder / "model.safetensors")
    first = next(k for k in tensors if k.startswith("ema.") and k.endswith("weight"))
    tensors[first].view(-1)[0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(("damage", "message"), [
    (lambda f: (f / "model.json").unlink(), "holds no model"),
    (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
    (lambda f: (f / "model.json").write_text("{"), "not a readable model description"),
    (lambda f: (f / "model.json").write_text("[]"), "not a readable model description"),
    (lambda f: rewritten(f, format=99), "format 99"),
    (lambda f: rewritten(f, network={"kind": "unet", "cuda": 3}), "does not describe a model|network"),
    (lambda f: rewritten(f, network={"kind": "evil"}), "does not describe a model"),
    (lambda f: rewritten(f, process={"kind": "vp", "beta_min": 50.0}), "beta_min"),
    (lambda f: rewritten(f, network={"kind": "mlp", "depth": 10**9}), "absurd size"),
    (lambda f: rewritten(f, network={"kind": "unet", "widths": [60000, 60000]}), "does not fit model.json"),
    (lambda f: rewritten(f, network=None), "does not describe a model"),
    (lambda f: rewritten(f, trained=None), "does not describe a model"),
    (lambda f: (f / "model.json").write_text("[" * 200_000), "not a readable model description"),
    (lambda f: rewritten(f, target="nothing"), 'target "nothing" is unknown'),
    (lambda f: rewritten(f, spec={"shape": "x"}), "spec|shape"),
    (truncated, "not a readable safetensors file"),
    (pickled, "not a readable safetensors file"),
    (other_weights, "does not fit model.json"),
    (poisoned, "are not finite"),
])  # fmt: skip
def test_damaged_models(copied_run, damage, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    damage(copied_run)
    with pytest.raises(ModelError, match=message) as caught:
        ud.load(copied_run)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "OWNED").exists()


def test_no_folder(tmp_path):
    with pytest.raises(ModelError, match="no such run folder"):
        ud.load(tmp_path / "nowhere")


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fails(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="cannot be written: No space left"):
        write_atomically(path, fails)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
