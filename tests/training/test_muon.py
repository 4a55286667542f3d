"""Muon: a step is an orthogonal matrix, whatever the sizes of the gradient's directions."""

import pytest
import torch

import undrift as ud
from undrift.nn import MLP, UNet
from undrift.training.muon import LENGTH, Muon, hidden, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (3, 6, 40)])
def test_a_matrix_is_turned_into_its_orthogonal_factor(shape):
    """Singular vectors as they were, values between 0.65 and 1.25, over a hundredfold range of those of the gradient."""
    m = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, v = torch.linalg.svd(m, full_matrices=False)
    scales = torch.logspace(0, -2, s.shape[-1], dtype=torch.float64)
    found = orthogonal(u * scales[..., None, :] @ v)
    inside = u.mT @ found @ v.mT  # diagonal where the singular vectors are the same
    values = inside.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.65 and values.max() < 1.25
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-3
    torch.testing.assert_close(orthogonal(7 * m), orthogonal(m), rtol=1e-3, atol=1e-3)


def test_only_matrices_between_hidden_layers():
    net = UNet(1, (8, 16), blocks=1, attention=(1,), classes=3)
    names = {n for n, p in net.named_parameters() if any(p is q for q in hidden(net))}
    assert "down.0.0.conv1.weight" in names and "down.1.0.attention.qkv.weight" in names
    assert not any(w in n for n in names for w in ("stem", "head", "conditioning", "modulation", "norm", "bias"))
    wrapped = torch.nn.Sequential(net)  # names go on to mean the same
    assert len(hidden(wrapped)) == len(names)
    plain = torch.nn.Sequential(torch.nn.Embedding(5, 4), *(torch.nn.Linear(4, 4) for _ in range(4)))
    assert [id(p) for p in hidden(plain)] == [id(plain[2].weight), id(plain[3].weight)]
    assert hidden(torch.nn.ReLU()) == [] and len(hidden(MLP((2,), width=8, depth=2))) == 4


def test_a_step_has_its_length_and_the_rest_is_adamw():
    torch.manual_seed(0)
    w, v, b = (torch.nn.Parameter(torch.randn(s)) for s in ((6, 4, 3, 3), (6, 36), (5,)))
    alone = torch.nn.Parameter(b.detach().clone())
    muon = Muon([w, v, b], [w, v], lr=0.01, weight_decay=0.1)
    adam = torch.optim.AdamW([alone], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    for _ in range(3):
        before = w.detach().clone()
        for p in (w, v, b, alone):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(len(p)))
        muon.step()
        adam.step()
    step = (w.detach() - before * (1 - 0.01 * 0.1)).flatten(1) / 0.01
    assert step.square().mean().sqrt() == pytest.approx(LENGTH, rel=0.25)
    assert torch.linalg.svdvals(step) == pytest.approx(LENGTH * 6, rel=0.4)
    assert torch.equal(b, alone)


def test_a_run_by_muon_goes_on_to_the_same_bits(tmp_path):
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    options = dict(optimizer="muon", batch_size=16, progress=False, learning_rate=3e-3, monitor_every=0)

    def net():
        torch.manual_seed(0)
        return MLP((2,), width=16, depth=2)

    whole = ud.fit(net(), x, steps=20, folder=tmp_path / "a", **options)
    ud.fit(net(), x, steps=20, folder=tmp_path / "b", callback=lambda r: r.step == 9, **options)
    again = ud.fit(net(), x, steps=20, folder=tmp_path / "b", **options)
    for name, value in whole.denoiser.state_dict().items():
        assert torch.equal(value, again.denoiser.state_dict()[name])
    with pytest.raises(ud.UndriftError, match="optimizer"):
        ud.fit(net(), x, steps=40, folder=tmp_path / "b", **options | {"optimizer": "adamw"})
    with pytest.raises(ValueError, match="muon"):
        ud.fit(net(), x, steps=4, **options | {"optimizer": "moun"})
    with pytest.raises(ud.UndriftError, match="use optimizer=adamw"):
        ud.train("toy", out=tmp_path / "c", optimizer="muon", shard=True, steps=2)
