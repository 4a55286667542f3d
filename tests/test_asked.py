"""Guidance and sampling as values: every method of a model takes them, or the same in words, to the same bits."""

from pathlib import Path

import pytest
import torch

import undrift as ud

MODEL = ud.load(Path(__file__).parent / "earlier" / "second" / "digits")
X = MODEL.sample(3, [1, 2, 3], steps=2)
MASK = torch.arange(64).reshape(1, 8, 8) % 2 == 0
HALF = (0.3, 5.0)
CALLS = {
    "sample": lambda **k: MODEL.sample(3, **k),
    "draw": lambda **k: MODEL.draw(3, **k),
    "impute": lambda **k: MODEL.impute(X, MASK, 2, **k),
    "restore": lambda **k: MODEL.restore(X.float().mean((2, 3), keepdim=True).expand(3, 1, 4, 4), "downsample:2", 0.5, 2, **k),
}
FLOWS = {
    "log_likelihood": lambda **k: MODEL.log_likelihood(X, dequantize=0, steps=3, divergence="hutchinson", **k).value,
    "encode": lambda **k: MODEL.encode(X, steps=3, **k),
    "decode": lambda **k: MODEL.decode(torch.ones(3, 1, 8, 8), steps=3, **k),
    "round_trip": lambda **k: MODEL.round_trip(X, steps=3, **k),
    "interpolate": lambda **k: MODEL.interpolate(X, X.flip(0), 3, steps=3, **k),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_and_words_draw_the_same_bits(name):
    words = dict(cond=7, scale=2.0, interval=HALF, sampler="ancestral", steps=3, seed=5)
    by_words = CALLS[name](**words)
    by_values = CALLS[name](guidance=ud.Guidance(7, scale=2.0, interval=HALF), sampling=ud.Sampling("ancestral", 3, seed=5))
    assert torch.equal(by_words, by_values)
    assert not torch.equal(by_words, CALLS[name](**words | {"scale": 1.0}))
    assert not torch.equal(by_words, CALLS[name](**words | {"seed": 6}))


@pytest.mark.parametrize("name", FLOWS)
def test_the_flows_take_guidance_too(name):
    by_words = FLOWS[name](cond=7, scale=2.0, interval=HALF)
    assert torch.equal(by_words, FLOWS[name](guidance=ud.Guidance(7, scale=2.0, interval=HALF)))
    assert not torch.equal(by_words, FLOWS[name](cond=7))


@pytest.mark.parametrize("name", [*CALLS, *FLOWS])
def test_both_at_once_is_an_error(name):
    with pytest.raises(ValueError, match="`scale` is given by itself and `guidance` too"):
        (CALLS | FLOWS)[name](scale=2.0, guidance=ud.Guidance(7))
    with pytest.raises(ValueError, match="`cond` is given by itself and `guidance` too"):
        (CALLS | FLOWS)[name](cond=7, guidance=ud.Guidance(7))
    with pytest.raises(TypeError, match=r"give an undrift\.Guidance"):
        (CALLS | FLOWS)[name](guidance=2.0)


@pytest.mark.parametrize("name", FLOWS)
def test_the_flows_answer_unknown_words_too(name):
    x = torch.ones(3, 1, 8, 8) if name == "decode" else X
    call = (lambda **k: MODEL.interpolate(x, x, **k)) if name == "interpolate" else (lambda **k: getattr(MODEL, name)(x, **k))
    with pytest.raises(TypeError, match='`stps` is no argument here — did you mean "steps"'):
        call(stps=3)
    with pytest.raises(TypeError, match='`guidance_scale` is no argument here — did you mean "scale"'):
        call(guidance_scale=3)


def test_words_that_mean_nothing_are_answered_with_the_nearest():
    with pytest.raises(TypeError, match='`stepps` is no argument here — did you mean "steps"'):
        MODEL.sample(2, stepps=3)
    with pytest.raises(TypeError, match='`guidance_scale` is no argument here — did you mean "scale"'):
        MODEL.sample(2, guidance_scale=3)
    some, known = torch.zeros(2, *MODEL.spec.shape), torch.ones(MODEL.spec.shape, dtype=torch.bool)
    for method in ("repaint", "particles"):
        with pytest.raises(TypeError, match="`drws` is no argument here"):
            MODEL.impute(some, known, drws=3, method=method)
    with pytest.raises(TypeError, match='`batchsize` is no argument here — did you mean "batch_size"'):
        MODEL.draw(2, batchsize=3)


def test_what_they_say_of_themselves():
    assert repr(ud.Guidance(7, scale=2.0)) == "Guidance(cond=7, scale=2.0)"
    assert repr(ud.Guidance(torch.arange(3))) == "Guidance(cond=a tensor of int64 and shape (3,))"
    assert repr(ud.Sampling("abm", steps=10)) == "Sampling(sampler='abm', steps=10)"
    assert repr(MODEL).startswith("Model: digits of shape 1 x 8 x 8, 10 classes; 4,009 parameters") and "\n" not in repr(MODEL)
    assert "<th>network</th>" in MODEL._repr_html_()


def test_more_than_fits_into_memory_is_refused_before_any_work(tiny_run):
    model = ud.load(tiny_run)
    some, known = torch.zeros(2, *model.spec.shape), torch.ones(model.spec.shape, dtype=torch.bool)
    for call in (
        lambda: model.sample(10**13),
        lambda: model.draw(10**13),
        lambda: model.impute(some, known, draws=10**13),
        lambda: model.restore(torch.zeros(1, 64), "project:1", 0.1, draws=10**12),
        lambda: ud.sample(model.denoiser, 10**13),
    ):
        with pytest.raises(ud.UndriftError, match=r"GiB of memory, and .* are free; ask for fewer"):
            call()
