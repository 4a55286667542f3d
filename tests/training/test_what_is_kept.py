"""What a training keeps of a network and an optimiser of one's own, and goes on with; and what it leaves alone."""

import json
import shutil

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

import undrift as ud
from undrift.error import ModelError, OutputError, RecipeError, UndriftError
from undrift.training import fit as fitting

X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
QUICK = dict(batch_size=16, monitor_every=0, quality_every=0, sample_every=0, snapshots=0, device="cpu", progress=False, seed=3)


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, level, cond=None):
        return self.layers(torch.cat([x, level[:, None]], 1))


class Counting(Net):
    """With a flag and a counter, as layers have that look at their first batch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x, level, cond=None):
        if self.training:
            self.ready.fill_(True)
            self.seen += 1
        return super().forward(x, level)


def with_buffer(value):
    net = Net()
    net.register_buffer("odd", value)
    return net


def weights(model):
    return {k: v.clone() for k, v in model.denoiser.state_dict().items()}


def same(a, b):
    return all(torch.equal(v, weights(b)[k]) for k, v in weights(a).items())


def test_flags_and_counters_are_those_of_the_network(tmp_path):
    net = Counting()
    model = ud.fit(net, X, steps=5, folder=tmp_path / "run", **QUICK)
    again = ud.load(tmp_path / "run", net=Counting())
    for found in (model, again):
        assert bool(found.denoiser.net.ready) and found.denoiser.net.seen == net.seen >= 5


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.ones(3, dtype=torch.complex64), "complex64"),
        (torch.ones(3).to(torch.uint16), "uint16"),
        (torch.ones(3, 3).to_sparse(), "keeps odd"),
        (torch.zeros(1).expand(5), r"expand"),
    ],
)
def test_a_buffer_that_could_not_be_kept_is_said_before_the_training(value, said):
    with pytest.raises(ValueError, match=said):
        ud.fit(with_buffer(value), X, steps=10**6, **QUICK)


class Slowing(torch.optim.Optimizer):
    """Counts its steps in its group, as optimisers without a schedule do."""

    def __init__(self, parameters):
        super().__init__(parameters, dict(lr=0.05, k=0, d=torch.tensor(1.0)))

    def step(self):
        for group in self.param_groups:
            group["k"] += 1
            group["d"].mul_(0.99)
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-group["lr"] * float(group["d"]) / group["k"])


def test_an_optimiser_goes_on_with_the_numbers_of_its_groups(tmp_path):
    whole = ud.fit(Net(), X, steps=20, optimizer=Slowing, **QUICK)
    ud.fit(Net(), X, steps=20, optimizer=Slowing, folder=tmp_path / "run", callback=lambda report: report.step == 8, **QUICK)
    assert same(ud.fit(Net(), X, steps=20, optimizer=Slowing, folder=tmp_path / "run", **QUICK), whole)


def test_a_model_that_was_loaded_in_half_precision_is_trained_in_that_of_the_settings(tmp_path):
    ud.fit(Net(), X, steps=2, folder=tmp_path / "run", **QUICK)
    whole, half = (ud.load(tmp_path / "run", net=Net(), device="cpu", precision=kind) for kind in ("float32", "bfloat16"))
    assert same(*(ud.fit(model, X, steps=3, **(QUICK | {"precision": "float32"})) for model in (whole, half)))
    assert half.denoiser.precision == torch.bfloat16, "and the model that was given stays as it is"


def test_an_optimiser_without_parameters_trains_nothing():
    with pytest.raises(ValueError, match="has no parameters, so nothing would be trained"):
        ud.fit(Net(), X, steps=5, optimizer=lambda p: torch.optim.SGD([{"params": []}], lr=0.1), **QUICK)


def test_a_part_in_evaluation_mode_stays_so():
    net = Net()
    net.layers.insert(2, nn.BatchNorm1d(16))
    net.layers[2].eval()
    ud.fit(net, X, steps=6, **(QUICK | {"monitor_every": 3}))
    assert torch.equal(net.layers[2].running_mean, torch.zeros(16)) and net.layers[0].training
    net = Net()
    net.layers.insert(2, nn.BatchNorm1d(16))
    ud.fit(net.eval(), X, steps=6, **QUICK)  # all of it: forgotten, as after a look
    assert not torch.equal(net.layers[2].running_mean, torch.zeros(16))


def test_a_loader_is_read_as_it_gives_its_examples():
    data, half = TensorDataset(X), SubsetRandomSampler(range(100))
    assert len(fitting.dataset_of(DataLoader(data, 8, shuffle=True), None, None, "data")) == 200
    assert len(fitting.dataset_of(DataLoader(data, 8, sampler=half), None, None, "data")) == 100
    scaled = DataLoader(data, 8, collate_fn=lambda items: torch.stack([x for (x,) in items]) * 1000)
    assert torch.equal(fitting.dataset_of(scaled, None, None, "data").raw(torch.arange(200)), X * 1000)
    pairs = DataLoader(TensorDataset(X, torch.arange(200) % 2), 8, sampler=half)
    found = fitting.dataset_of(pairs, None, None, "data")
    assert len(found) == 100 and found.spec.classes == ("0", "1")


def test_a_session_that_was_killed_before_its_first_state_leaves_nothing_to_another_network(tmp_path):
    looking = QUICK | {"monitor_every": 5}
    fresh = ud.fit(Net(17), X, steps=5, folder=tmp_path / "fresh", **looking)
    ud.fit(Net(), X, steps=5, folder=tmp_path / "run", **looking)
    shutil.rmtree(tmp_path / "run" / "state")
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    again = ud.fit(Net(17), X, steps=5, folder=tmp_path / "run", **looking)
    logs = [[json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()] for run in ("fresh", "run")]
    assert [r.get("held_out_raw") for r in logs[0]] == [r.get("held_out_raw") for r in logs[1]]
    assert same(fresh, again)


def test_what_was_trained_between_the_look_and_the_lock_is_seen(tmp_path, monkeypatch):
    ud.fit(Net(), X, steps=5, folder=tmp_path / "run", **QUICK)
    hold, done = fitting.hold, []

    def late(place):
        if not done:
            done.append(True)
            shutil.rmtree(tmp_path / "run")
            ud.fit(Net(), X, steps=5, folder=tmp_path / "run", **(QUICK | {"batch_size": 8}))
        return hold(place)

    monkeypatch.setattr(fitting, "hold", late)
    with pytest.raises(RecipeError, match="batch_size=8, not 16"):
        ud.fit(Net(), X, steps=9, folder=tmp_path / "run", **QUICK)


def test_a_link_is_no_place_for_states(tmp_path):
    ud.fit(Net(), X, steps=4, folder=tmp_path / "a", **QUICK)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "state")
    (tmp_path / "b" / "state").symlink_to(tmp_path / "a" / "state")
    with pytest.raises(OutputError, match="is a link"):
        ud.fit(Net(), X, steps=9, folder=tmp_path / "b", **QUICK)
    assert len([*(tmp_path / "a" / "state").iterdir()]) == 1


def test_saving_leaves_files_of_others_alone(tmp_path):
    model = ud.fit(Net(), X, steps=2, **QUICK)
    (tmp_path / "model.json").write_text('{"learner": "mine"}')
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="holds no model; name another folder"):
        ud.save(model, tmp_path)
    assert (tmp_path / "model.safetensors").read_text() == "mine"


def test_weights_of_another_model_are_found_out(tmp_path):
    a, b = ud.fit(Net(), X, steps=2, **QUICK), ud.fit(Net(), 100 * X, steps=2, process=ud.Rectified(), **QUICK)
    ud.save(a, tmp_path / "a")
    ud.save(b, tmp_path / "b")
    ud.save(a, tmp_path / "a")  # over itself
    shutil.copy(tmp_path / "b" / "model.safetensors", tmp_path / "a")  # as a kill between the two files leaves it
    with pytest.raises(ModelError, match="they are of different models"):
        ud.load(tmp_path / "a", net=Net())


def test_start_over_keeps_the_old_run_aside(tmp_path, capsys):
    ud.fit(Net(), X, steps=4, folder=tmp_path / "run", **QUICK)
    ud.fit(Net(), X, steps=4, folder=tmp_path / "run", **QUICK)
    assert "is trained to its end (4 steps); to go on give more steps or minutes" in capsys.readouterr().err
    ud.fit(Net(), 2 * X, steps=3, folder=tmp_path / "run", fresh=True, **QUICK)
    assert ud.load(tmp_path / "run", net=Net()).trained["steps"] == 3
    for wrong in (
        dict(optimizer=lambda p: torch.optim.SGD([{"params": []}], lr=0.1)),
        dict(objective=lambda *given: torch.zeros(3)),
    ):
        with pytest.raises(ValueError, match=r"`optimizer`|`objective`"):
            ud.fit(Net(), X, steps=3, folder=tmp_path / "run", fresh=True, **wrong, **QUICK)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run.1"}, "a mistake moves nothing"
    assert ud.load(tmp_path / "run", net=Net()).trained["steps"] == 3
    assert ud.load(tmp_path / "run.1", net=Net()).trained["steps"] == 4


@pytest.mark.parametrize("command", ["evaluate", "frontier", "diagnose", "ema"])
def test_commands_that_need_a_recipe_say_that_there_is_none(command, tmp_path, capsys):
    from undrift.cli import main

    ud.fit(ud.nn.MLP((2,), width=8), X, steps=2, folder=tmp_path / "run", **QUICK)
    assert main([command, str(tmp_path / "run")]) == 2
    assert "was trained by undrift.fit and has no recipe" in capsys.readouterr().err


@pytest.mark.parametrize("call", ["save", "load", "train"])
def test_a_name_that_no_file_can_have(call):
    model = ud.fit(Net(), X, steps=1, **QUICK)
    ask = {"save": lambda name: ud.save(model, name), "load": ud.load, "train": lambda name: ud.train("toy", steps=1, out=name)}
    for name in ("x" * 300, "a\0b"):
        with pytest.raises((ValueError, UndriftError), match=r"long|NUL"):
            ask[call](name)


def test_other_words_are_answered_with_ours():
    for call, said in (
        (lambda: ud.fit(Net(), X, steps=1, lr=1e-3), '`lr` is no argument of fit — did you mean "learning_rate"'),
        (lambda: ud.fit(Net(), X, epochs=3), "the length of a training is steps=... or minutes=..."),
        (lambda: ud.sample(Net(), 4, num_inference_steps=5), 'did you mean "steps"'),
        (lambda: ud.train("toy", "steps=10"), "give a dict"),
        (lambda: ud.nn.UNet((1, 8, 8)), "the number of channels alone"),
        (lambda: ud.load("runs/none", Net()), "goes in by name: load\\(folder, net=Net\\(\\)\\)"),
    ):
        with pytest.raises(TypeError, match=said):
            call()
