"""Training from Python: networks of anybody's, any kind of data, the same bits after a pause, and one clear error for what cannot be."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import undrift as ud
from undrift.recipe.recipe import Recipe
from undrift.training.settings import Settings

QUICK = dict(
    device="cpu",
    progress=False,
    batch_size=32,
    monitor_examples=16,
    quality_every=0,
    snapshots=0,
    sample_every=0,
    monitor_every=0,
)


class Net(nn.Module):
    """A network that is not of undrift."""

    def __init__(self, size=2, width=16, classes=0):
        super().__init__()
        self.classes = classes
        self.layers = nn.Sequential(nn.Linear(size + 1 + classes, width), nn.SiLU(), nn.Linear(width, size))

    def forward(self, x, level, cond=None):
        told = [x.flatten(1), level[:, None]]
        if self.classes:
            told.append(nn.functional.one_hot(cond + 1, self.classes + 1)[:, 1:].to(x))
        return self.layers(torch.cat(told, 1)).reshape(x.shape)


def made(seed=0, **options):
    torch.manual_seed(seed)
    return Net(**options)


def points(n=256, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=generator) * torch.tensor([0.2, 1.0]) + torch.tensor([3.0, -1.0])


def same(a, b):
    states = a.denoiser.state_dict(), b.denoiser.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_the_defaults_are_the_recipes():
    for field in fields(Settings):
        if field.name not in ("recipe",):
            assert Recipe.model_fields[field.name].default == field.default, field.name


def test_fifteen_lines(tmp_path):
    """What the docs show: train, sample, get a likelihood, save, load, and go on to the same bits as without a pause."""
    x = points()
    whole = ud.fit(made(), x, steps=60, **QUICK)
    ud.fit(made(), x, steps=60, folder=tmp_path / "run", callback=lambda report: report.step == 25, **QUICK)
    assert "step-00000025" in str(*(tmp_path / "run" / "state").iterdir())
    model = ud.fit(made(seed=9), x, steps=60, folder=tmp_path / "run", **QUICK)  # other weights to begin with: they do not count
    assert same(model, whole)
    assert model.sample(8).shape == (8, 2)
    assert torch.isfinite(model.log_likelihood(x[:4]).value).all()
    ud.save(model, tmp_path / "saved")
    for folder in ("saved", "run"):
        again = ud.load(tmp_path / folder, net=made(seed=5))
        assert torch.equal(again.sample(8), model.sample(8))
    assert same(ud.fit(made(), x, steps=60, folder=tmp_path / "run", **QUICK), whole)  # at its end: nothing is trained


def test_it_learns_the_law():
    """The energy distance to fresh data is that of other fresh data: a fixed seed, and far below what an untrained network has."""
    x = points(2000)
    model = ud.fit(made(width=64), x, steps=600, learning_rate=3e-3, **(QUICK | {"batch_size": 128}))
    y = model.sample(1000, steps=20)
    assert (y.mean(0) - x.mean(0)).abs().max() < 0.15
    assert (y.std(0) / x.std(0) - 1).abs().max() < 0.15


@pytest.mark.parametrize("kind", ["tensor", "array", "pairs", "loader", "dataset", "of ours", "list"])
def test_every_kind_of_data_is_the_same_training(kind):
    x, labels = points(64), torch.arange(64) % 2
    made_of = {
        "tensor": (x, labels),
        "array": (x.numpy(), labels.numpy()),
        "pairs": (list(zip(x, labels.tolist(), strict=True)), None),
        "loader": (DataLoader(TensorDataset(x, labels), batch_size=8), None),
        "dataset": (TensorDataset(x, labels), None),
        "of ours": (ud.data.Dataset.of_numbers(x.numpy(), labels.numpy(), "mine", ("0", "1")), None),
        "list": (list(x), labels.tolist()),
    }
    data, given = made_of[kind]
    model = ud.fit(made(classes=2), data, given, steps=4, **QUICK)
    assert same(model, ud.fit(made(classes=2), x, labels, steps=4, **QUICK))
    assert model.spec.classes == ("0", "1") and model.sample(3, cond=1).shape == (3, 2)


def test_names_of_classes():
    model = ud.fit(made(classes=2), points(40), ["cat", "dog"] * 20, steps=2, **QUICK)
    assert model.spec.classes == ("cat", "dog") and model.sample(2, cond="dog").shape == (2, 2)


def test_bytes_are_pictures_and_keep_their_axes():
    x = torch.randint(0, 256, (40, 3, 4, 4), dtype=torch.uint8)
    model = ud.fit(made(size=48), x, steps=2, **QUICK)
    y = model.sample(2, steps=2)
    assert y.dtype == torch.uint8 and y.shape == (2, 3, 4, 4)


def test_a_denoiser_brings_its_process_and_target():
    denoiser = ud.Denoiser(made(), ud.Rectified(), ud.target.velocity)
    model = ud.fit(denoiser, points(), steps=3, **QUICK)
    assert model.denoiser.process == ud.Rectified() and model.parts["target"] == "velocity"
    with pytest.raises(ValueError, match="the denoiser has its own"):
        ud.fit(denoiser, points(), steps=3, process=ud.VP(), **QUICK)


def test_going_on_from_a_model():
    x = points()
    first = ud.fit(made(), x, steps=5, **QUICK)
    more = ud.fit(first, x, steps=5, **QUICK)
    assert more.spec == first.spec and not same(first, more)


def test_a_network_of_ours_loads_without_being_handed_in(tmp_path):
    net = ud.nn.MLP((2,), width=16, depth=1)
    model = ud.fit(net, points(), steps=3, folder=tmp_path / "run", **QUICK)
    assert torch.equal(ud.load(tmp_path / "run").sample(4), model.sample(4))
    assert json.loads((tmp_path / "run" / "model.json").read_text())["network"]["kind"] == "mlp"


def test_a_process_and_a_target_of_ones_own(tmp_path):
    process = ud.LinearSDE(lambda t: -0.5 * (0.1 + 19.9 * t), lambda t: (0.1 + 19.9 * t).sqrt())
    target = lambda process, t: (-process.sigma(t), process.alpha(t))  # noqa: E731
    model = ud.fit(made(), points(), steps=3, process=process, target=target, folder=tmp_path / "run", **QUICK)
    with pytest.raises(ud.UndriftError, match="process is a class of your own, LinearSDE"):
        ud.load(tmp_path / "run", net=made())
    with pytest.raises(ud.UndriftError, match="target is a function of your own"):
        ud.load(tmp_path / "run", net=made(), process=process)
    again = ud.load(tmp_path / "run", net=made(), process=process, target=target)
    assert torch.equal(again.sample(3, steps=4), model.sample(3, steps=4))


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9), lambda p: torch.optim.RMSprop(p, lr=1e-3)])
def test_an_optimiser_of_ones_own_resumes_to_the_same_bits(make, tmp_path):
    whole = ud.fit(made(), points(), steps=20, optimizer=make, **QUICK)
    ud.fit(made(), points(), steps=20, optimizer=make, folder=tmp_path, callback=lambda r: r.step == 8, **QUICK)
    assert same(ud.fit(made(), points(), steps=20, optimizer=make, folder=tmp_path, **QUICK), whole)


def test_a_network_with_an_unused_part_resumes(tmp_path):
    class Lazy(Net):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(3, 3)

    torch.manual_seed(0)
    ud.fit(Lazy(), points(), steps=9, folder=tmp_path, callback=lambda r: r.step == 4, **QUICK)
    assert ud.fit(Lazy(), points(), steps=9, folder=tmp_path, **QUICK).trained["steps"] == 9


def test_a_schedule_and_a_loss_of_ones_own():
    rates, losses = [], ud.DenoisingScoreMatching()
    calls = []

    def loss(denoiser, x0, noise, cond=None):
        calls.append(len(x0))
        return 2 * losses(denoiser, x0, noise, cond)

    ud.fit(
        made(), points(), steps=4, objective=loss, schedule=lambda step, fraction: 1 / (1 + step),
        callback=lambda report: rates.append(report.learning_rate), learning_rate=0.01, **QUICK,
    )  # fmt: skip
    assert rates == pytest.approx([0.01, 0.005, 0.01 / 3, 0.0025]) and calls[1:] == [32] * 4


def test_a_loop_of_ones_own(tmp_path):
    """A bandit in the loop: it sees each step, and stops when it likes; what was trained is saved."""
    training = ud.Training(made(), points(), Settings(steps=50, device="cpu", batch_size=32, monitor_every=5), folder=tmp_path)
    for report in training:
        if report.step == 12:
            break
    training.close()
    assert training.trainer.progress.step == 12 and (tmp_path / "state" / "step-00000012.safetensors").is_file()
    assert [r["step"] for r in training.records if "held_out" in r] == [0, 5, 10]
    assert training.model.sample(2).shape == (2, 2)


def test_a_logger_gets_every_record(tmp_path):
    records = []
    ud.fit(made(), points(), steps=20, logger=records.append, folder=tmp_path, log_every=5, **(QUICK | {"monitor_every": 10}))
    assert records == [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {r["step"] for r in records if "loss" in r} == {5, 10, 15, 20}


def test_another_run_in_the_folder(tmp_path):
    ud.fit(made(), points(), steps=3, folder=tmp_path / "run", **QUICK)
    with pytest.raises(ud.UndriftError, match="batch_size=32, not 16: that would be another run; name another folder"):
        ud.fit(made(), points(), steps=3, folder=tmp_path / "run", **(QUICK | {"batch_size": 16}))
    with pytest.raises(ud.UndriftError, match="was trained on other data"):
        ud.fit(made(), points(seed=1), steps=3, folder=tmp_path / "run", **QUICK)
    with pytest.raises(ud.UndriftError, match="another process"):
        ud.fit(made(), points(), steps=3, process=ud.Rectified(), folder=tmp_path / "run", **QUICK)
    with pytest.raises(ud.UndriftError, match="is not empty and holds no run"):
        ud.fit(made(), points(), steps=3, folder=tmp_path, **QUICK)
    with pytest.raises(ud.UndriftError, match="holds a run, which keeps its own weights"):
        ud.save(ud.load(tmp_path / "run", net=made()), tmp_path / "run")
    with pytest.raises(ud.UndriftError, match=r"weights are not those of this Net: layers.0.weight is \(16, 3\) in the file"):
        ud.load(tmp_path / "run", net=made(width=8))


class Returns(Net):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x, level, cond=None):
        return self.change(super().forward(x, level, cond))


BAD = {
    "a shape that would broadcast": (lambda: ud.fit(Returns(lambda y: y[:, :1]), points(), steps=2), "returned shape"),
    "a scalar": (lambda: ud.fit(Returns(lambda y: y.mean()), points(), steps=2), "returned shape"),
    "twice the channels": (lambda: ud.fit(Returns(lambda y: torch.cat([y, y], 1)), points(), steps=2), "returns 4 channels for 2"),
    "NaN from the network": (lambda: ud.fit(Returns(lambda y: y / 0), points(), steps=2), "returns NaN or infinities"),
    "a signature": (lambda: ud.fit(nn.Linear(2, 2), points(), steps=2), r"cannot be asked as net\(x, level, cond\)"),
    "no weights": (lambda: ud.fit(nn.Identity(), points(), steps=2), "no parameters"),
    "labels of another length": (lambda: ud.fit(made(), points(10), [0] * 9, steps=2), r"one for each of 10 examples"),
    "labels that are no numbers": (lambda: ud.fit(made(), points(4), [0.5] * 4, steps=2), "whole numbers"),
    "NaN in the data": (lambda: ud.fit(made(), points().log(), steps=2), r"NaN or infinite"),
    "one value": (lambda: ud.fit(made(), torch.ones(9, 2), steps=2), "all values of the data are the same"),
    "no axis": (lambda: ud.fit(made(), torch.ones(9), steps=2), "first axis counts examples"),
    "no examples": (lambda: ud.fit(made(), [], steps=2), "no examples"),
    "texts": (lambda: ud.fit(made(), ["a", "b"], steps=2), "not numbers"),
    "masked": (
        lambda: ud.fit(made(), np.ma.masked_less(points().numpy(), 0), steps=2),
        r"`data` is a masked array, [\d,]+ of whose values are hidden",
    ),
    "ragged": (lambda: ud.fit(made(), [torch.ones(2), torch.ones(3)], steps=2), "not numbers of one shape"),
    "noise that does not grow": (lambda: ud.fit(made(), points(), steps=2, process=Backwards()), "grow"),
    "no end": (lambda: ud.fit(made(), points()), "needs an end"),
    "no steps": (lambda: ud.fit(made(), points(), steps=0), "`steps` must be a whole number"),
    "a rate": (lambda: ud.fit(made(), points(), steps=2, learning_rate=-1), "`learning_rate` must lie in"),
    "a target": (lambda: ud.fit(made(), points(), steps=2, target="eps"), "`target` is one of"),
    "a precision": (lambda: ud.fit(made(), points(), steps=2, precision="half"), "`precision` is one of"),
    "a share": (lambda: ud.fit(made(), points(), steps=2, held_out=1.5), r"must lie in \(0, 1\)"),
    "a loss with its mean": (
        lambda: ud.fit(made(), points(), steps=2, objective=lambda d, x0, noise, cond: x0.mean()),
        "one loss for each example",
    ),
}  # fmt: skip


class Backwards(ud.Process):
    def alpha(self, t):
        return t

    def sigma(self, t):
        return 1 - t


@pytest.mark.parametrize("what", BAD)
def test_one_clear_error_before_anything_is_trained(what):
    call, message = BAD[what]
    with pytest.raises(ValueError, match=message) as found:
        call()
    assert "\n" not in str(found.value)


def test_forgotten_noise_is_noticed():
    """In a loop of one's own: one address for all samples, or the same addresses at every step."""
    denoiser, loss, x = ud.Denoiser(made(), ud.VP()), ud.DenoisingScoreMatching(), points()
    optimizer = torch.optim.SGD(denoiser.parameters(), lr=0.01)
    with pytest.raises(ValueError, match="samples of this batch have the same noise"):
        loss(denoiser, x, ud.Noise([0] * len(x)))

    def step(k, noise):
        optimizer.zero_grad()
        loss(denoiser, x[k * 32 : k * 32 + 32], noise).mean().backward()
        optimizer.step()

    step(0, ud.Noise(range(32)))
    with pytest.raises(ValueError, match="the same noise as the one before"):
        step(1, ud.Noise(range(32)))
    for k in range(3):  # and what is right passes
        step(k, ud.Noise(range(32)).fold("train", k))
    with torch.no_grad():
        loss(denoiser, x, ud.Noise([0] * len(x)))


def test_arrays_and_labels_keep_their_digits(tmp_path):
    x = np.arange(200, dtype=np.float64)[:, None] + 1.7e9
    model = ud.fit(made(size=1), x, steps=2, **QUICK)
    assert model.spec.types == "float64" and model.sample(2, steps=2).dtype == torch.float64


def test_train_is_the_command_in_one_call(tmp_path):
    quiet = dict(console=__import__("rich.console", fromlist=["Console"]).Console(quiet=True), out=tmp_path / "run", device="cpu")
    model = ud.train("toy", {"network.width": 8}, steps=6, **quiet)
    assert model.trained["steps"] == 6 and model.trained["recipe"] == "toy" and model.sample(3).shape == (3, 2)
    assert torch.equal(ud.train("toy", {"network.width": 8}, steps=6, **quiet).sample(2), model.sample(2))
    with pytest.raises(ud.UndriftError, match=r'unknown key "stepps" — did you mean "steps"'):
        ud.train("toy", stepps=3, **quiet)


SCRIPT = """
import os, sys, torch, undrift as ud
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from training.test_fit import QUICK, made, points
model = ud.fit(made(), points(), steps=12, folder=sys.argv[1], **QUICK)
weights = float(model.denoiser.state_dict()["net.layers.0.weight"].double().sum())
Path(sys.argv[1] + "." + os.environ["RANK"]).write_text(f"{model.trained['steps']} {weights}")
"""


def test_two_processes_train_what_one_trains(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    here = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [str(tmp_path / "script.py"), str(tmp_path / "run"), here]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    whole = ud.fit(made(), points(), steps=12, **QUICK)
    wanted = float(whole.denoiser.state_dict()["net.layers.0.weight"].double().sum())
    found = [(tmp_path / f"run.{rank}").read_text().split() for rank in range(2)]
    assert found[0] == found[1] and found[0][0] == "12"
    assert float(found[0][1]) == pytest.approx(wanted, abs=1e-4)


class Noisy(Net):
    """Draws from torch's own generator in ways that no module shows."""

    def forward(self, x, level, cond=None):
        return nn.functional.dropout(super().forward(x, level, cond), 0.3, self.training)


@pytest.mark.parametrize("make", [Noisy, lambda: Returns(nn.Dropout1d(0.3)), lambda: Returns(nn.AlphaDropout(0.3))])
def test_what_a_network_draws_is_the_same_after_a_pause_and_torchs_generator_is_left_alone(make, tmp_path):
    def fresh(then):
        torch.manual_seed(0)
        net = make()
        torch.manual_seed(then)  # where torch's own generator stands does not count
        return net

    whole = ud.fit(fresh(1), points(), steps=12, **QUICK)
    net = fresh(2)
    before = torch.get_rng_state()
    ud.fit(net, points(), steps=12, folder=tmp_path, callback=lambda r: r.step == 5, **QUICK)
    assert torch.equal(before, torch.get_rng_state())
    assert same(ud.fit(fresh(3), points(), steps=12, folder=tmp_path, **QUICK), whole)


def test_an_optimiser_of_a_part_trains_that_part_and_resumes(tmp_path):
    norms = []
    make = lambda p: torch.optim.Adam(p[:2], lr=0.01)  # noqa: E731
    whole = ud.fit(made(), points(), steps=12, optimizer=make, callback=lambda r: norms.append(r.grad_norm), **QUICK)
    assert torch.equal(whole.denoiser.state_dict()["net.layers.2.weight"], made().layers[2].weight)
    assert max(norms[6:]) < 5 * min(norms[:6])  # gradients of the other layers do not pile up
    ud.fit(made(), points(), steps=12, optimizer=make, folder=tmp_path, callback=lambda r: r.step == 5, **QUICK)
    assert same(ud.fit(made(), points(), steps=12, optimizer=make, folder=tmp_path, **QUICK), whole)


def test_half_precision_weights_and_amsgrad_resume(tmp_path):
    amsgrad = lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True)  # noqa: E731
    for name, options, cast in (("half", {}, torch.bfloat16), ("ams", {"optimizer": amsgrad}, torch.float32)):
        whole = ud.fit(made().to(cast), points(), steps=10, **options, **QUICK)
        folder = tmp_path / name
        ud.fit(made().to(cast), points(), steps=10, folder=folder, callback=lambda r: r.step == 4, **options, **QUICK)
        assert same(ud.fit(made().to(cast), points(), steps=10, folder=folder, **options, **QUICK), whole)


def test_another_optimiser_loss_or_schedule_is_another_run(tmp_path):
    sgd = lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)  # noqa: E731
    stop = lambda r: r.step == 3  # noqa: E731
    ud.fit(made(), points(), steps=9, optimizer=sgd, folder=tmp_path / "a", callback=stop, **QUICK)
    with pytest.raises(ud.UndriftError, match=r"is of the optimiser SGD, not RMSprop; no other can be used; name another folder"):
        ud.fit(made(), points(), steps=9, optimizer=lambda p: torch.optim.RMSprop(p), folder=tmp_path / "a", **QUICK)
    ud.fit(made(), points(), steps=9, folder=tmp_path / "b", callback=stop, **QUICK)
    with pytest.raises(ud.UndriftError, match="was trained with objective=DenoisingScoreMatching, not SlicedScoreMatching"):
        ud.fit(made(), points(), steps=9, folder=tmp_path / "b", objective=ud.SlicedScoreMatching(), **QUICK)
    with pytest.raises(ud.UndriftError, match="seed=0, not 1"):
        ud.fit(made(), points(), steps=9, folder=tmp_path / "b", **QUICK, seed=1)


def test_a_loop_that_was_left_goes_on(tmp_path):
    training = ud.Training(made(), points(), Settings(steps=9, device="cpu", batch_size=32, monitor_every=0), folder=tmp_path)
    assert repr(training).startswith("Training: step 0 of 9 steps")
    for report in training:
        if report.step == 3:
            break
    assert [report.step for report in training] == [4, 5, 6, 7, 8, 9]
    training.close()


def test_a_logger_that_fails_loses_no_step(tmp_path):
    def fails(record):
        if record["step"] == 5:
            raise RuntimeError("a disk of mine is full")

    with pytest.raises(RuntimeError, match="a disk of mine"):
        ud.fit(made(), points(), steps=9, folder=tmp_path, log_every=5, logger=fails, **QUICK)
    assert (tmp_path / "state" / "step-00000005.safetensors").is_file()
    assert same(
        ud.fit(made(), points(), steps=9, folder=tmp_path, log_every=5, **QUICK), ud.fit(made(), points(), steps=9, **QUICK)
    )


def test_what_is_given_stays_as_it_is(tmp_path):
    first = ud.fit(made(), points(), steps=3, **QUICK)
    ud.fit(first, points(), steps=3, **QUICK)
    assert not first.denoiser.training and not any(p.requires_grad for p in first.denoiser.parameters())
    ud.fit(ud.nn.MLP((2,), width=8, depth=1), points(), steps=2, folder=tmp_path / "ours", **QUICK)
    before = torch.get_rng_state()
    ud.load(tmp_path / "ours")
    assert torch.equal(before, torch.get_rng_state())
    net = made().train()
    with pytest.raises(ZeroDivisionError):
        ud.fit(net, points(), steps=2, objective=lambda *_: 1 / 0, **QUICK)
    assert net.training
    with torch.no_grad():  # gradients are on where they are needed
        assert same(ud.fit(made(), points(), steps=3, **QUICK), first)


def test_a_process_that_the_file_knows_is_not_replaced(tmp_path):
    ud.fit(made(), points(), steps=2, folder=tmp_path, **QUICK)
    with pytest.raises(ud.UndriftError, match="was trained with the process vp"):
        ud.load(tmp_path, net=made(), process=ud.Rectified())
    with pytest.raises(ud.UndriftError, match="was trained with the target karras"):
        ud.load(tmp_path, net=made(), target=ud.target.noise)
    assert ud.load(tmp_path, net=made(), process=ud.VP()).denoiser.process == ud.VP()
    with pytest.raises(TypeError, match="write Net"):
        ud.load(tmp_path, net=Net)


class Counts(Net):
    """Keeps a mean of what it saw, and adds it."""

    def __init__(self, persistent):
        super().__init__()
        self.register_buffer("seen", torch.zeros(2), persistent=persistent)
        self.register_buffer("fixed", torch.ones(2), persistent=False)

    def forward(self, x, level, cond=None):
        if self.training:
            self.seen.lerp_(x.detach().mean(0), 0.1)
        return super().forward(x, level, cond) + self.seen * self.fixed


def test_a_network_that_draws_or_counts_only_in_training_goes_on_to_the_same_bits(tmp_path):
    """The check itself leaves no trace in what is counted."""
    net = Counts(True)
    ud.fit(net, points(), steps=6, folder=tmp_path / "whole", **QUICK)
    first = Counts(True)
    ud.fit(first, points(), steps=3, folder=tmp_path / "parts", **QUICK)
    again = ud.fit(Counts(True), points(), steps=6, folder=tmp_path / "parts", **QUICK)
    whole = ud.load(tmp_path / "whole", net=Counts(True))
    assert torch.equal(again.denoiser.net.seen, whole.denoiser.net.seen)
    assert again.denoiser.net.seen.abs().max() > 0


MORE = {
    "a closure": (lambda: ud.fit(made(), points(), steps=2, optimizer=torch.optim.LBFGS), ValueError, "step needs no closure"),
    "strange parameters": (
        lambda: ud.fit(made(), points(), steps=2, optimizer=lambda p: torch.optim.SGD(made().parameters(), 0.1)),
        ValueError, "are not the network's",
    ),
    "old weight_norm": (
        lambda: ud.fit(Returns(nn.utils.weight_norm(nn.Linear(2, 2))), points(), steps=2), ValueError, "cannot be copied",
    ),
    "draws in evaluation": (
        lambda: ud.fit(Returns(lambda y: y + torch.randn_like(y)), points(), steps=2), ValueError, "something else each time",
    ),
    "dropout in evaluation": (
        lambda: ud.fit(Returns(lambda y: nn.functional.dropout(y, 0.5)), points(), steps=2), ValueError, "self.training",
    ),
    "a buffer that no file keeps": (lambda: ud.fit(Counts(False), points(), steps=2), ValueError, "changes its buffer seen"),
    "detached": (lambda: ud.fit(Returns(lambda y: y.detach()), points(), steps=2), ValueError, "does not depend on its parameters"),
    "no message": (lambda: ud.fit(Returns(lambda y: [][0 if y is None else 1]), points(), steps=2), ValueError, "cannot be asked"),
    "an empty message": (lambda: ud.fit(Returns(lambda y: exec("raise RuntimeError('')")), points(), steps=2), ValueError, "RuntimeError"),
    "meta": (lambda: ud.fit(made().to("meta"), points(), steps=2), ValueError, "meta device"),
    "a huge batch": (lambda: ud.fit(made(), points(), steps=2, batch_size=10**12), ValueError, "`batch_size` must be a whole number"),
    "a rate below zero": (lambda: ud.fit(made(), points(), steps=2, schedule=lambda s, f: -1.0), ValueError, "is not negative"),
    "a set of classes": (lambda: ud.fit(made(), points(4), [0, 1, 0, 1], steps=2, classes={"a", "b"}), TypeError, "in a list"),
    "a class twice": (lambda: ud.fit(made(), points(4), [0, 1, 0, 1], steps=2, classes=["a", "a"]), ValueError, "one name twice"),
    "a name of two lines": (lambda: ud.fit(made(), points(), steps=2, name="a\nb"), ValueError, "one line"),
    "held out as a text": (lambda: ud.fit(made(), points(), steps=2, held_out="x"), TypeError, "share of the data"),
    "held out in other units": (
        lambda: ud.fit(made(), points(), steps=2, held_out=torch.zeros(9, 2, dtype=torch.uint8)), ValueError, "same units",
    ),
    "a label out of reach": (lambda: ud.fit(made(), points(4), [0, 1, 2, 10**6], steps=2), ValueError, "a label is 1,000,000"),
    "a denoiser of other data": (
        lambda: ud.fit(ud.Denoiser(made(), ud.VP(), shape=(3,)), points(), steps=2), ValueError, "samples of shape",
    ),
    "a folder with a NUL": (lambda: ud.fit(made(), points(), steps=2, folder="a\0b"), ud.UndriftError, "no name of a file can have"),
    "a long folder": (lambda: ud.fit(made(), points(), steps=2, folder="a" * 300), ud.UndriftError, "no file can have so long a name"),
}  # fmt: skip


@pytest.mark.parametrize("what", MORE)
def test_one_clear_error_for_odd_things(what):
    call, kind, message = MORE[what]
    with pytest.raises(kind, match=message) as found:
        call()
    assert "\n" not in str(found.value)


def test_rows_in_lists_are_examples_and_bools_are_labels():
    x = points(40)
    assert same(ud.fit(made(), x.tolist(), steps=2, **QUICK), ud.fit(made(), x, steps=2, **QUICK))
    model = ud.fit(made(classes=2), x, x[:, 0] > 3, steps=2, **QUICK)
    assert model.spec.classes == ("0", "1")


def test_a_training_without_a_folder_names_none_when_it_diverges():
    with pytest.raises(ud.UndriftError, match="Train again with a lower rate") as found:
        ud.fit(made(), points(), steps=30, learning_rate=1e30, warmup=0, clip=1e30, **QUICK)
    assert "folder" not in str(found.value) and "/tmp" not in str(found.value)


def test_a_model_is_not_saved_among_other_files(tmp_path):
    model = ud.fit(made(), points(), steps=2, **QUICK)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ud.UndriftError, match="is not empty and holds no model"):
        ud.save(model, tmp_path)
    ud.save(model, tmp_path / "new")
    ud.save(model, tmp_path / "new")  # and again
