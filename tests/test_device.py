"""Any device: every command runs on one that is not the CPU, to the same numbers, and nothing in a loop makes it wait."""

import numpy as np
import pytest
import torch

import undrift as ud
from fake_device import FAKE, Waits
from undrift import device as devices
from undrift.cli import main
from undrift.denoiser import exactly
from undrift.diagnosis.score import Examples, losses
from undrift.metrics.recognition import _key, train_judge, write_cache
from undrift.nn import compiled
from undrift.recipe.tables import SAMPLERS
from undrift.training.trainer import Trainer

SMALL = ["network.widths=[8,16]", "batch_size=32", "monitor_every=10", "quality_every=0", "sample_every=0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device") / "run"
    assert main(["train", "digits", *SMALL, "steps=30", "--out", str(folder)]) == 0
    assert main(["train-classifier", str(folder), "--steps", "3", "--device", "cpu"]) == 0
    train, held_out = ud.run.Run(folder).data()
    few, rest = (data.split(0.05, 0)[1] for data in (train, held_out))
    judge = train_judge(few, rest)
    write_cache(folder / "classifier.safetensors", judge.classifier.state_dict(), _key(train, held_out, 0))
    return folder


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(devices, "KINDS", (*devices.KINDS, "fake"))


COMMANDS = {
    "sample": "sample RUN -n 4 --steps 3 --out OUT.png --npz OUT.npz",
    "sample to numbers": "sample RUN -n 4 --steps 3 --npy OUT.npy",
    "film": "sample RUN -n 4 --steps 3 --strip OUT.png --gif OUT.gif --scale 2 --rescale 0.5 --interval 0.3 5 --clip",
    "train-classifier again": "train-classifier RUN --steps 3",
    "guided by a classifier": "sample RUN -n 4 --steps 3 --guide classifier --scale 2 --out OUT.png",
    "guided by itself": "sample RUN -n 4 --steps 3 --guide 10 --scale 2 --out OUT.png",
    "evaluate": "evaluate RUN -n 60 --steps 3 --out OUT",
    "as a classifier": "evaluate RUN -n 1 --generative-classifier",
    "frontier": "frontier RUN -n 60 --samplers dpm2m,ancestral --grids straight,fitted --evaluations 3 --out OUT.png",
    "diagnose": "diagnose RUN -n 60 --steps 3 --out OUT.png",
    "likelihood": "likelihood RUN -n 2 --divergence hutchinson --steps 2 --out OUT.png",
} | {
    f"impute by {method}": f"impute RUN held-out --mask left -n 2 --draws 1 --method {method} --steps {1 if method == 'langevin' else 3} --out OUT.png"
    for method in ("repaint", "particles", "mmps", "replace", "langevin")
} | {
    f"restore by {method}": f"restore RUN held-out --simulate --operator blur:2 --noise 0.1 -n 2 --draws 1 --method {method} --steps 3 --out OUT.png"
    for method in ("mmps", "dps", "tmpd", "pigdm", "diffpir")
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs_on_another_device(name, run, tmp_path, capsys):
    words = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")) for word in COMMANDS[name].split()]
    assert main([*words, "--device", "fake"]) == 0, capsys.readouterr().err


def test_training_runs_on_another_device(tmp_path):
    looking = ["monitor_every=3", "quality_every=4", "sample_every=4", "steps=6", "log_every=1"]
    logs = []
    for name in ("cpu", "fake"):
        assert main(["train", "digits", *SMALL, *looking, "--out", str(tmp_path / name), "--device", name]) == 0
        logs.append([r.get("loss") for r in ud.run.Run(tmp_path / name).records()])
    assert logs[0] == logs[1]


def test_samples_are_the_same_on_any_device(run):
    here, there = ud.load(run, device="cpu"), ud.load(run, device="fake")
    assert there.device == FAKE and here.device.type == "cpu"
    for cond, scale in ((None, None), (3, 2.0)):
        asked = {} if scale is None else {"scale": scale}
        a, b = (m.sample(4, cond, steps=4, seed=5, **asked) for m in (here, there))
        assert b.device.type == "cpu" and torch.equal(a, b)
    x = here.sample(2, 1, steps=4)
    for ask in (
        lambda m: m.encode(x, steps=4),
        lambda m: m.decode(m.encode(x, steps=4), steps=4),
        lambda m: m.log_likelihood(x, divergence="hutchinson", steps=4).value,
        lambda m: m.round_trip(x, steps=4),
        lambda m: m.interpolate(x[:1], x[1:], 3, steps=4),
    ):
        a, b = ask(here), ask(there)
        assert b.device.type == "cpu" and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-4)
    assert there.to("cpu").device.type == "cpu"


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_step_of_a_sampler_makes_the_device_wait(name, run):
    model, sampler = ud.load(run, device="fake"), SAMPLERS[name]
    guided, _ = model.guided(4, [0, 1, 2, 3], 2.0)
    if name == "annealed-langevin":
        sampler = ud.AnnealedLangevin(corrections=3)
    many = []
    for steps in (3, 6):
        with Waits() as waits:
            ud.sample(guided, 4, sampler, steps)
        many.append(len(waits.what))
    if name == "adaptive":  # every sample has steps of its own, which are chosen on the CPU
        assert many[0] > 3
    else:
        assert many[0] == many[1] <= 3, waits.what  # the addresses of the batch go there; whether samples are finite comes back


def test_a_training_step_makes_the_device_wait_once(tmp_path, monkeypatch):
    step, found = Trainer.step, []

    def counted(self, *given):
        with Waits() as waits:
            values = step(self, *given)
        found.append(waits.what)
        return values

    monkeypatch.setattr(Trainer, "step", counted)
    assert (
        main(["train", "digits", *SMALL, "steps=4", "monitor_every=0", "--out", str(tmp_path / "run"), "--device", "fake"]) == 0
    )
    assert [len(what) for what in found[1:]] == [1, 1, 1] and "tolist" in found[-1][0], found[-1]  # loss and norm, together


@pytest.mark.parametrize(("device", "steps"), [("fake", [0, 1, 2, 3]), ("cpu", [0, 1, 2])])
def test_the_next_batch_is_on_its_way_before_the_loss_is_read(device, steps, tmp_path, monkeypatch):
    batch, step, fetched, order = Trainer.batch, Trainer.step, [], []
    monkeypatch.setattr(Trainer, "batch", lambda self, k, *rest: fetched.append(k) or batch(self, k, *rest))

    def stepped(self, k, *rest):
        values = step(self, k, *rest)
        order.append(list(fetched))
        return values

    monkeypatch.setattr(Trainer, "step", stepped)
    monkeypatch.setattr("undrift.training.setup.check_batch", lambda trainer: None)
    words = [*SMALL, "steps=3", "monitor_every=0", "--out", str(tmp_path / "run"), "--device", device]
    assert main(["train", "digits", *words]) == 0
    assert fetched == steps and order[0] == steps[:2][: 1 + (device == "fake")]


def test_the_fake_device_fails_and_counts_as_a_gpu_does():
    x, y = torch.randn(3, 4).to(FAKE), torch.randn(3, 4)
    with pytest.raises(RuntimeError, match="two, fake:0 and cpu"):
        x + y
    assert (x * torch.tensor(2.0)).device == FAKE  # single numbers of the CPU are handed over with the call
    for waiting in (
        lambda: float(x.sum()), lambda: bool((x > 0).any()), lambda: x.cpu(), lambda: y.to(FAKE), lambda: x[x > 0], lambda: x.nonzero(),
        lambda: torch.tensor([1.0, 2.0], device=FAKE), lambda: x[torch.tensor([0, 1])],
    ):  # fmt: skip
        with Waits() as waits:
            waiting()
        assert len(waits.what) == 1, waits.what
    for free in (lambda: x.new_full((3,), 2.0), lambda: devices.onto(y, FAKE), lambda: torch.where(x > 0, x, 0.0) @ x.mT):
        with Waits() as waits:
            free()
        assert waits.what == []


def test_sixteen_bits_are_for_samples_and_not_for_likelihoods(run):
    plain, half = ud.load(run, device="cpu"), ud.load(run, device="cpu", precision="bfloat16")
    a, b = (m.draw(4, 3, steps=4, seed=1) for m in (plain, half))
    assert b.dtype == torch.float32 and 0 < (a - b).abs().max() < 0.3
    x = plain.sample(2, 1, steps=4)
    noise, y = ud.Noise(range(2)), plain.to_model(x)
    for ask in (
        lambda m: ud.encode(m.denoiser, y, steps=4),
        lambda m: ud.log_likelihood(m.denoiser, y, divergence="hutchinson", steps=4).value,
        lambda m: ud.variational_bound(m.denoiser, y, noise=noise).value,
        lambda m: losses(m.denoiser, Examples(y), noise, torch.tensor([-4.0, 0.0, 4.0], dtype=torch.float64)),
    ):
        assert torch.equal(ask(plain), ask(half))
    with exactly(half.denoiser):
        assert torch.equal(half.draw(4, 3, steps=4, seed=1), a)
    assert half.denoiser.precision == torch.bfloat16, "and then as before"
    with pytest.raises(ValueError, match="`precision` is one of auto, fast, float32, bfloat16, float16"):
        ud.load(run, precision="fp8")


@pytest.mark.parametrize("command", ["likelihood", "train-classifier"])
def test_an_option_that_would_do_nothing_is_not_there(command, run, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, str(run), "--precision", "bfloat16"])
    assert stop.value.code == 2 and "--precision" in capsys.readouterr().err


def test_automatic_precision_is_float32_on_the_cpu(run):
    assert ud.load(run, device="cpu").denoiser.precision is None
    assert devices.in_precision("auto", FAKE) is None


def test_fast_precision_is_bfloat16_where_the_processor_has_it(run, monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(devices, "_cpu_has_bfloat16", lambda has=has: has)
        assert devices.in_precision("fast", torch.device("cpu")) == (torch.bfloat16 if has else None)
        assert ud.load(run, device="cpu", precision="fast").denoiser.precision == (torch.bfloat16 if has else None)
    assert devices.in_precision("fast", FAKE) is None
    assert isinstance(devices._cpu_has_bfloat16(), bool)


@pytest.mark.parametrize("command", ["sample", "evaluate", "likelihood", "diagnose", "frontier", "train-classifier"])
def test_a_device_that_is_not_there_is_one_line(command, run, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, said in (("cuda:7", "torch sees no GPU here"), ("gpu", 'device "gpu" is unknown; use auto, cpu')):
        assert main([command, str(run), "--device", name]) == 2
        found = capsys.readouterr()
        assert said in found.err and found.err.count("\n") == 1


def test_a_network_that_cannot_be_compiled_goes_on_without(run, monkeypatch):
    def broken(*given, **named):
        raise RuntimeError("no compiler\nand pages more")

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", broken))
    wanted = ud.load(run, device="cpu").sample(2, 1, steps=3)
    model = ud.load(run, device="cpu", compile=True)
    with pytest.warns(UserWarning, match=r"cannot be compiled here \(RuntimeError: no compiler\); going on without"):
        found = model.sample(2, 1, steps=3)
    assert torch.equal(found, wanted)


def test_what_a_graph_returns_is_not_written_over(run, monkeypatch):
    """A CUDA graph writes each output into the same memory, and a sampler of several steps keeps what was predicted before."""

    def recorded(self, mode=None):
        place = {}

        def replay(*given, **named):
            found = self._call_impl(*given, **named)
            return place.setdefault(found.shape, torch.empty_like(found)).copy_(found)

        assert mode == "reduce-overhead"
        self._compiled_call_impl = replay

    monkeypatch.setattr(torch.nn.Module, "compile", recorded)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: None)
    plain, graphed = (ud.load(run, device="cpu") for _ in range(2))
    compiled.compile_when_asked(graphed.denoiser.net, "graphs")
    assert torch.equal(graphed.draw(4, 1, sampler="dpm3m", steps=6), plain.draw(4, 1, sampler="dpm3m", steps=6))


def test_graphs_are_for_a_device_that_has_them(run, tmp_path, capsys):
    assert main(["sample", "--graphs", str(run), "--device", "cpu"]) == 2
    assert "compile=graphs records CUDA graphs, and cpu has none; compile=true compiles" in capsys.readouterr().err
    assert main(["train", "digits", *SMALL, "compile=graphs", "steps=2", "--device", "cpu", "--out", str(tmp_path / "run")]) == 2
    assert "compile=graphs records CUDA graphs, and cpu has none" in capsys.readouterr().err and not (tmp_path / "run").exists()
    with pytest.raises(TypeError, match='`compile` is True, False or "graphs", got'):
        ud.load(run, compile="fast")


def test_a_judge_is_trained_where_it_is_asked():
    train, held_out = ud.data.load_split("digits")
    few, rest = (data.split(0.05, 0)[1] for data in (train, held_out))
    here, there = (train_judge(few, rest, device=device) for device in ("cpu", FAKE))
    assert here.accuracy == there.accuracy and next(there.classifier.parameters()).device == FAKE
    x = rest.batch(torch.arange(8))[0]
    assert torch.equal(here.classify(x), there.classify(x))


def test_compiled_samples_are_the_same_to_rounding(tmp_path):
    ud.fit(ud.nn.MLP((2,), width=8), torch.randn(64, 2), steps=2, folder=tmp_path / "run", progress=False)
    plain, compiled = (ud.load(tmp_path / "run", device="cpu", compile=chosen) for chosen in (False, True))
    a, b = plain.draw(4, steps=3), compiled.draw(4, steps=3)
    assert compiled.denoiser.net._compiled_call_impl is not None and np.abs((a - b).numpy()).max() < 1e-3
    # Many directions at once, which torch does not differentiate in a compiled network: there it runs as it is written.
    assert torch.equal(plain.log_likelihood(a, steps=4).value, compiled.log_likelihood(a, steps=4).value)
    assert compiled.denoiser.net._compiled_call_impl is not None, "and then as before"
