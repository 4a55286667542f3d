"""The model on disk and in use."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import undrift as ud
from conftest import undrift
from undrift.error import ModelError, UndriftError
from undrift.model_file import write_model
from undrift.tensorfile import save_tensors


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
    write_model(model, {"raw": model.denoiser.state_dict(), "ema": model.denoiser.state_dict()}, tmp_path)
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
    save_tensors(folder / "model.safetensors", {"ema.net.weight": torch.zeros(3)})


def poisoned(folder):
    tensors = load_file(folder / "model.safetensors")
    first = next(k for k in tensors if k.startswith("ema.") and k.endswith("weight"))
    tensors[first].view(-1)[0] = float("nan")
    save_tensors(folder / "model.safetensors", tensors)


def described(folder):
    return json.loads((folder / "model.json").read_text())


def zeroed_page(folder):
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[8192:12288] = bytes(4096)
    path.write_bytes(raw)


def zeroed_average(folder):
    """As another library would write it, without the seal."""
    tensors = {k: v * 0 if k.startswith("ema.") else v for k, v in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")


def linked(folder):
    (folder / "model.json").rename(folder / "elsewhere.json")
    (folder / "model.json").symlink_to("elsewhere.json")


@pytest.mark.parametrize(("damage", "message"), [
    (lambda f: (f / "model.json").unlink(), "holds no model"),
    (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
    (lambda f: (f / "model.json").write_text("{"), "does not describe a model"),
    (lambda f: (f / "model.json").write_text("[]"), "does not describe a model"),
    (lambda f: rewritten(f, format=99), "format 99"),
    (lambda f: rewritten(f, network={"kind": "unet", "cuda": 3}), "does not describe a model|network"),
    (lambda f: rewritten(f, network={"kind": "evil"}), "does not describe a model"),
    (lambda f: rewritten(f, process={"kind": "vp", "beta_min": 50.0}), "beta_min"),
    (lambda f: rewritten(f, network={"kind": "mlp", "depth": 10**9}), "absurd size"),
    (lambda f: rewritten(f, network={"kind": "unet", "widths": [60000, 60000]}), "does not fit model.json"),
    (lambda f: rewritten(f, network=None), "does not describe a model"),
    (lambda f: rewritten(f, trained=None), "does not describe a model"),
    (lambda f: (f / "model.json").write_text("[" * 200_000), "does not describe a model"),
    (lambda f: rewritten(f, target="nothing"), 'target "nothing" is unknown'),
    (lambda f: rewritten(f, spec={"shape": "x"}), "spec|shape"),
    (truncated, "safetensors is damaged"),
    (pickled, "safetensors is damaged"),
    (other_weights, "does not fit model.json"),
    (poisoned, "are not finite"),
    (zeroed_page, "safetensors is damaged .its content does not have the hash"),
    (zeroed_average, "it has lost its seal"),
    (lambda f: rewritten(f, weights=None) or zeroed_page(f), "safetensors is damaged .its content does not have the hash"),
    (lambda f: (f / "model.json").write_text(json.dumps({**described(f), "trained": {"steps": 10**400}})), "the number 1000.* is too large"),
    (lambda f: rewritten(f, trained={"seconds": None}), r"trained\.seconds: .*not None"),
    (lambda f: rewritten(f, trained={"steps": "many"}), r"trained\.steps: .*not many"),
    (lambda f: rewritten(f, trained={"seconds": float("nan")}), "NaN is not finite"),
    (lambda f: rewritten(f, sigma_data=None), "sigma_data: .*not None"),
    (lambda f: (f / "model.json").write_text(json.dumps({k: v for k, v in described(f).items() if k != "sigma_data"})), "sigma_data is missing"),
    (lambda f: rewritten(f, sigma_data=0), "sigma_data: .*greater than 0"),
    (lambda f: rewritten(f, condition={"kind": "text", "words": [1, 2], "length": 3, "examples": ["a"]}), r"condition\.text\.words\.0"),
    (lambda f: rewritten(f, condition={"kind": "text", "words": ["a"], "length": 3, "examples": []}), r"condition\.text\.examples"),
    (lambda f: rewritten(f, condition={"kind": "text", "words": ["a", "a"], "length": 3, "examples": ["a"]}), "must be distinct"),
    (lambda f: rewritten(f, condition={"kind": "text", "words": ["a"], "length": 10**9, "examples": ["a"]}), r"condition\.text\.length"),
    (lambda f: rewritten(f, condition={"kind": "evil"}), "condition"),
    (lambda f: rewritten(f, network={"kind": "unet", "widths": [8] * 256, "blocks": 256}), "absurd size"),
    (lambda f: rewritten(f, network={"kind": "unet", "widths": "12"}), "network"),
    (lambda f: rewritten(f, network={"kind": "unet", "widths": [-8, 16]}), "model.json"),
    (lambda f: rewritten(f, spec={**described(f)["spec"], "shape": [1, 10**6, 10**6]}), "absurd size"),
    (lambda f: rewritten(f, spec={**described(f)["spec"], "classes": ["a\nb"] * 10}), "classes"),
    (lambda f: rewritten(f, spec={**described(f)["spec"], "types": "object"}), "types"),
    (lambda f: rewritten(f, sampling={"steps": 10**18}), r"sampling\.steps"),
    (lambda f: rewritten(f, sampling={"scale": 1e308}), r"sampling\.scale"),
    (linked, "it is a link, and links are not followed here"),
])  # fmt: skip
def test_damaged_models(copied_run, damage, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    damage(copied_run)
    with pytest.raises(ModelError, match=message) as caught:
        ud.load(copied_run)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "OWNED").exists()


def test_any_value_of_model_json_may_be_odd(copied_run):
    """Each fact of it replaced by each of these: it loads or is refused in one line. (A number written as a text is that number.)"""

    def leaves(tree, path=()):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
        return [path, *(leaf for key, value in items for leaf in leaves(value, (*path, key)))]

    whole, loaded, said, drawn = described(copied_run), 0, [], ud.load(copied_run).draw(2, 3, steps=2)
    for path in leaves(whole)[1:]:
        for odd in (None, True, "3", "x", -1, 0.5, 1e300, 10**30, [], {}, [[1]], ["3"], {"kind": "mlp"}):
            tree = json.loads(json.dumps(whole))
            node = tree
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = odd
            (copied_run / "model.json").write_text(json.dumps(tree))
            try:
                ud.load(copied_run)
                loaded += 1
            except ModelError as error:
                said.append(str(error))
    assert loaded > 20 and len(said) > 100
    assert all("\n" not in line and str(copied_run) in line for line in said)
    (copied_run / "model.json").write_text(
        json.dumps({**whole, "network": {**whole["network"], "blocks": "1", "embedding": "32"}})
    )
    assert torch.equal(ud.load(copied_run).draw(2, 3, steps=2), drawn)


def test_no_folder(tmp_path):
    with pytest.raises(ModelError, match="no such run folder"):
        ud.load(tmp_path / "nowhere")


def test_a_page_of_zeros_anywhere_is_noticed(copied_run):
    """Each page of the file in turn, also those of the weights that are not asked for: they were sealed together."""
    path = copied_run / "model.safetensors"
    whole, expected = path.read_bytes(), ud.load(copied_run).denoiser.state_dict()
    for start in range(0, len(whole), 4096):
        if any(whole[start : start + 4096]):
            path.write_bytes(whole[:start] + bytes(len(whole[start : start + 4096])) + whole[start + 4096 :])
            with pytest.raises(ModelError):
                ud.load(copied_run)
    path.write_bytes(whole)
    assert all(torch.equal(v, expected[k]) for k, v in ud.load(copied_run).denoiser.state_dict().items())


def test_a_save_that_was_killed_between_its_two_files_leaves_a_model(copied_run, tmp_path):
    """model.safetensors is then newer than model.json; each is whole."""
    model = ud.load(copied_run)
    write_model(model, {k: {n: v + 1 for n, v in model.denoiser.state_dict().items()} for k in ("raw", "ema")}, tmp_path)
    (copied_run / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    assert ud.load(copied_run).trained["steps"] == 25


def test_a_large_picture_costs_no_memory_to_be_told_of(copied_run, capsys):
    """`info` of a model of 4,096 x 4,096 pixels: a network of convolutions fits any size."""
    rewritten(copied_run, spec={**described(copied_run)["spec"], "shape": [1, 4096, 4096]})
    code, out, _ = undrift("info", copied_run, capsys=capsys)
    assert code == 0 and "(1, 4096, 4096)" in out


@pytest.mark.parametrize(("cond", "wanted"), [
    (7, 7), ("7", 7), (np.int64(7), 7), (np.uint8(7), 7), (7.0, 7), (np.float32(7), 7), (torch.tensor(7), 7), (np.array(7), 7),
    (torch.tensor(7.0), 7), ([1, "2", np.int64(3)], None), (torch.tensor([1, 2, 3]), None), (np.array([1, 2, 3]), None),
    (np.array(["1", "2", "3"]), None), (torch.tensor([1.0, 2.0, 3.0]), None), (range(1, 4), None), ((1, 2, 3), None),
    (iter([1, 2, 3]), None), ({1: 0, 2: 0, 3: 0}.keys(), None), (torch.tensor([1, 2, 3], dtype=torch.uint8), None),
], ids=lambda c: type(c).__name__)  # fmt: skip
def test_a_class_in_any_type_that_says_it(tiny_run, cond, wanted):
    found = ud.load(tiny_run).labels(3, cond)
    assert found.dtype == torch.int64 and found.tolist() == ([1, 2, 3] if wanted is None else [wanted] * 3)


@pytest.mark.parametrize("cond", [
    True, 1.5, float("nan"), -1, 10, "", "seven", b"7", {"a": 1}, object(), [None] * 3, [[1], [2], [3]], torch.zeros(3, 1), [1, 2],
    torch.tensor([True] * 3), "9" * 5000, 10**30, [object()] * 3, iter(range(10**9)), torch.tensor([1j] * 3), np.array([{}] * 3),
], ids=lambda c: type(c).__name__)  # fmt: skip
def test_what_names_no_class_is_one_line(tiny_run, cond):
    """Also where it has no end: no more is read than there are samples."""
    with pytest.raises((UndriftError, ValueError)) as caught:
        ud.load(tiny_run).sample(3, cond)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(("device", "message"), [
    ("cuda", "torch sees no GPU here; use device=cpu or device=auto"), ("cuda:3", "torch sees"), ("mps", "no Apple GPU here"),
    ("gpu", 'device "gpu" is unknown; use auto, cpu, cuda'), ("meta", "not computed on here"), ("", "is unknown"), (None, "is unknown"),
])  # fmt: skip
def test_a_device_that_is_not_there(tiny_run, device, message):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UndriftError, match=message):
        ud.load(tiny_run, device=device)
    assert next(ud.load(tiny_run, device="auto").denoiser.parameters()).device.type in ("cpu", "cuda")
