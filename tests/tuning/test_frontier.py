"""The frontier: the rule that recommends, the race on exact laws, and what becomes of a recommendation."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from rich.console import Console

import undrift as ud
from conftest import mixture
from undrift.error import UndriftError
from undrift.metrics.criterion import Criterion
from undrift.metrics.estimate import Estimate
from undrift.model_file import load, save_sampling
from undrift.recipe.recipe import SamplingOptions
from undrift.recipe.tables import GRIDS, SAMPLERS
from undrift.tuning import report
from undrift.tuning.frontier import Frontier, frontier, sampling_of
from undrift.tuning.setting import Setting, possible
from undrift.tuning.successive_halving import Row, best, race, recommend


def row(sampler, evaluations, value, wiggle=0.0, n=1000, shared=0.0):
    """A made-up row: `wiggle` is its own noise, `shared` that which all settings have, standard errors both."""
    own = torch.linspace(-1, 1, 20).double()[torch.randperm(20, generator=torch.Generator().manual_seed(len(sampler)))]
    common = torch.linspace(-1, 1, 20).double()
    unit = (19 / 20 * common.square().sum()).sqrt()
    replicates = value + (wiggle * own + shared * common) / unit
    return Row(Setting(sampler, "karras", evaluations, evaluations), n, Estimate(value, tuple(replicates.tolist())), {}, 1.0)


def test_made_up_rows_have_the_error_bars_they_say():
    assert row("a", 5, 1.0, wiggle=0.3).quality.standard_error == pytest.approx(0.3)
    gap = row("a", 5, 1.0, shared=0.3).quality.minus(row("bb", 5, 0.9, shared=0.3).quality)
    assert gap.standard_error == pytest.approx(0, abs=1e-12)


def test_the_cheapest_within_the_error_bars_of_the_best():
    a, b, c = row("a", 20, 1.00), row("bb", 10, 1.05, wiggle=0.04), row("ccc", 5, 1.5, wiggle=0.04)
    assert best([a, b, c]) is a
    assert recommend([a, b, c]) is b  # 1.25 standard errors away; c is 12
    assert recommend([a, row("bb", 10, 1.09, wiggle=0.04), c]) is a  # 2.25
    assert recommend([c, b, a]) is b  # in any order


def test_error_bars_are_those_of_the_difference():
    """Wide bars that both share say nothing: 0.1 worse for sure is worse."""
    a, b = row("a", 20, 1.0, shared=0.5), row("bb", 10, 1.1, shared=0.5)
    assert recommend([a, b]) is a
    assert recommend([row("a", 20, 1.0, wiggle=0.5), row("bb", 10, 1.1, wiggle=0.5)]).setting.evaluations == 10


def test_ties_and_single_rows():
    one = row("a", 20, 1.0)
    assert best([one]) is recommend([one]) is one
    alone = Row(Setting("a", "karras", 3, 3), 1000, Estimate(1.0), {}, 1.0)  # no error bar at all
    assert recommend([alone]) is alone
    same, cheap = row("a", 20, 1.0), row("a", 8, 1.0)
    assert recommend([same, cheap]) is best([same, cheap]) is cheap
    near, nearer = row("a", 8, 1.02, wiggle=0.1), row("bb", 8, 1.01, wiggle=0.1)
    assert recommend([near, nearer, row("ccc", 20, 1.0)]) is nearer  # of equal cost the better


def test_what_the_model_uses_wins_a_tie_and_it_is_said():
    """The figures of a report: 1.5 +- 4.7 against 2.7 +- 5.1 is no reason to change anything at equal cost."""
    a, b = row("a", 10, 1.5, wiggle=4.7), row("bb", 10, 2.7, wiggle=5.1)
    assert recommend([a, b]) is a and recommend([a, b], b.setting) is b
    found = Frontier((a, b), made_up(), present=b.setting)
    assert found.best is a and found.recommended is b
    said = report.words(found)[-1]
    assert ": 2.7 +- 5.1, what the model uses now: the best, a on karras with 10 (1.5 +- 4.7; the difference is 1.2 +- " in said
    assert said.endswith("), is within the error of it")
    assert report.words(Frontier((a, b), made_up(), present=a.setting))[-1].endswith(
        "the best of all, and what the model uses now"
    )
    cheap = row("ccc", 5, 3.0, wiggle=5.0)
    assert recommend([a, b, cheap], b.setting) is cheap  # fewer evaluations are a reason
    clear = row("a", 10, 1.0, wiggle=0.01)
    assert recommend([clear, row("bb", 10, 1.5, wiggle=0.01)], Setting("bb", "karras", 10, 10)) is clear
    assert recommend([a, b], Setting("dddd", "karras", 10, 10)) is a  # that could not be measured


def test_no_round_has_fewer_samples_than_the_figure_takes():
    """A figure of 192 samples at least: the first rounds of 1,000 and of 400 draw as many, and none fewer."""
    for n, wanted in ((1000, {192, 250, 1000}), (400, {192, 400}), (200, {192, 200})):
        drawn = {}

        def draw(setting, first, count, drawn=drawn):
            drawn[setting] = first + count
            level = {"dpm2m": 1.0, "heun": 1.2}.get(setting.sampler, 9.0) + (setting.grid == "uniform") * 20
            return level + 0.1 * torch.sin(torch.arange(first, first + count).double() + setting.evaluations)

        names = ["dpm2m", "heun", "ddim", "ddpm", "reverse-diffusion"]
        settings = [Setting(s, g, e, e) for s in names for g in ("karras", "uniform") for e in (5, 10, 20)]
        race(draw, replace(made_up(), least=192), settings, n, [5, 10, 20])
        assert set(drawn.values()) == wanted


def test_rows_that_were_dropped_early_are_not_recommended():
    a, early = row("a", 20, 1.0), row("bb", 5, 0.5, n=250)
    assert best([a, early]) is recommend([a, early]) is a


def test_a_setting_that_is_less_recognised_is_not_recommended():
    """Whatever its distance: guided samples may come nearer to the data by being blurred."""
    good, blurred = row("a", 20, 1.0), row("bb", 5, 0.9)
    good, blurred = replace(good, also={"recognised": 0.999}), replace(blurred, also={"recognised": 0.97})
    assert recommend([good, blurred]) is good
    assert recommend([good, replace(blurred, also={"recognised": 0.998})]).setting.evaluations == 5


def test_every_sampler_knows_what_it_can_do_with_17_evaluations():
    for name, sampler in SAMPLERS.items():
        if (steps := sampler.steps_within(17)) > 0:
            assert sampler.evaluations(steps) <= 17 < sampler.evaluations(steps + 1), name


class Endless(ud.DPM2M):
    """A sampler that cannot say what it costs."""

    def evaluations(self, steps):
        return None


def refusing(process, n):
    raise ValueError("this process has no such grid")


def test_settings_are_those_that_exist_once_each(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "endless", Endless())
    monkeypatch.setitem(GRIDS, "refusing", refusing)
    samplers = ["dpm2m", "ddpm", "ancestral", "endless", "annealed-langevin"]
    found, notes = possible(ud.VP(), samplers, {name: GRIDS[name] for name in ("karras", "refusing", "uniform")}, [1, 6, 6])
    assert {(s.sampler, s.grid, s.steps) for s in found} == {
        ("dpm2m", "karras", 1), ("dpm2m", "karras", 6), ("dpm2m", "uniform", 6),  # one step is the same on every grid
        ("ddpm", "karras", 1), ("ddpm", "karras", 6), ("ddpm", "uniform", 6),  # and "ancestral" is "ddpm"
    }  # fmt: skip
    assert all(s.evaluations == s.steps for s in found)
    assert notes == [
        "refusing with 1 steps is left out: this process has no such grid",
        "refusing with 6 steps is left out: this process has no such grid",
        "endless is left out: it takes as many evaluations as it needs",
        "annealed-langevin is left out: it needs at least 101 evaluations",
    ]


def test_the_error_of_an_exact_law_falls_with_evaluations_and_with_the_order():
    """Energy distance to exact draws and distance to the exact end of the flow, 1,000 samples each.

    At 5 evaluations the error is tens of standard errors; at 40 it is inside the floor's (5 of them: one false alarm in a million).
    """
    law = mixture(ud.Rectified())
    found = frontier(law, 1000, samplers=["ddim", "dpm2m"], grids=["uniform"], evaluations=[5, 10, 40])
    rows = {(r.setting.sampler, r.setting.evaluations): r for r in found.rows}
    for sampler in ("ddim", "dpm2m"):
        errors = [rows[sampler, e].also["rms"] for e in (5, 10, 40)]
        assert errors[0] > 1.5 * errors[1] > 3 * errors[2]
        assert rows[sampler, 5].quality.value > rows[sampler, 10].quality.value
    for evaluations in (5, 10, 40):
        assert rows["dpm2m", evaluations].also["rms"] < 0.7 * rows["ddim", evaluations].also["rms"]
    assert rows["dpm2m", 5].quality.value < rows["ddim", 5].quality.value
    end = rows["dpm2m", 40]
    assert end.also["rms"] < 0.01
    floor = found.criterion.floor
    assert abs(floor.value) < 5 * floor.standard_error
    assert end.n == 1000
    assert end.quality.value < 5 * end.quality.standard_error
    assert found.recommended.setting.sampler == "dpm2m"
    assert found.recommended.setting.evaluations < 40


def test_the_distance_to_the_flow_is_for_samplers_without_noise():
    found = frontier(mixture(), 50, samplers=["ddim", "ddpm"], grids=["uniform"], evaluations=[4])
    assert {r.setting.sampler: list(r.also) for r in found.rows} == {"ddim": ["rms"], "ddpm": []}


def made_up(quality=lambda y: Estimate(y.mean().item(), tuple((y.mean() + y[:20] - y[:20].mean()).tolist()))):
    return Criterion("a figure", Estimate(0.0, (0.0, 0.1)), "50 real ones", quality, lambda y, deterministic: {})


def test_the_race_draws_each_sample_once_and_only_for_those_in_it():
    """Ten pairs of which six go on; what is hopeless at 250 samples goes no further; the present setting stays to the end."""
    drawn = {}

    def draw(setting, first, count):
        assert drawn.setdefault(setting, 0) == first
        drawn[setting] = first + count
        level = {"dpm2m": 1.0, "heun": 1.01}.get(setting.sampler, 9.0) + (setting.grid == "uniform") * 20
        return level + 0.1 * torch.sin(torch.arange(first, first + count).double() + setting.evaluations)

    names = ["dpm2m", "heun", "ddim", "ddpm", "reverse-diffusion"]
    settings = [Setting(s, g, e, e) for s in names for g in ("karras", "uniform") for e in (5, 10, 20)]
    present = Setting("euler-maruyama", "karras", 7, 7)
    rows, notes = race(draw, made_up(), settings, 1000, [5, 10, 20], present)
    assert notes == []
    by = {r.setting: r.n for r in rows}
    assert by == drawn
    assert by[Setting("dpm2m", "karras", 10, 10)] == by[Setting("heun", "karras", 5, 5)] == by[present] == 1000
    assert by[Setting("ddim", "karras", 20, 20)] == 250  # beaten in the second round
    assert by[Setting("ddpm", "uniform", 10, 10)] == 125  # in the first
    assert Setting("ddpm", "uniform", 20, 20) not in by
    assert [r.setting.evaluations for r in rows] == sorted(r.setting.evaluations for r in rows)


def test_of_many_pairs_in_the_first_round_the_noisy_ones_do_not_win_by_chance():
    """Six steady settings and four that are as good but noisy, one of which is ahead: it may go on, the others may not."""
    noise = 0.03 * torch.randn(10, 2000, generator=torch.Generator().manual_seed(0))
    names = ["dpm2m", "heun", "ddim", "ddpm", "reverse-diffusion"]
    settings = [Setting(s, g, e, e) for g in ("karras", "uniform") for s in names for e in (5, 10)]
    noisy = [Setting(s, "uniform", e, e) for s in names[:4] for e in (5, 10)]

    def draw(setting, first, count):
        common = torch.sin(torch.arange(first, first + count).double())
        place = names.index(setting.sampler)
        own = noise[place, first : first + count] - noise[place, :100].mean() - 0.0002 if setting in noisy else 0.0
        return 1 + common + own - (0.0002 if setting == Setting("dpm2m", "uniform", 5, 5) else 0)

    def mean(y):
        groups = y.double().view(20, -1).mean(1)
        return Estimate(y.double().mean().item(), tuple(((groups.sum() - groups) / 19).tolist()))

    rows, _ = race(draw, made_up(mean), settings, 800, [5, 10])
    onward = {(r.setting.sampler, r.setting.grid) for r in rows if r.n > 100}
    assert len(onward) == 6
    assert onward & {(s.sampler, s.grid) for s in noisy} == {("dpm2m", "uniform")}


def test_a_setting_that_cannot_be_drawn_gets_a_note():
    def draw(setting, first, count):
        if setting.sampler == "heun":
            raise ValueError("not on this process")
        if setting.sampler == "ddim":
            raise RuntimeError("DDIM made 3 of 50 samples that are not finite; try more")
        return torch.sin(torch.arange(first, first + count).double())

    settings = [Setting(s, "karras", 5, 5) for s in ("dpm2m", "heun", "ddim")]
    rows, notes = race(draw, made_up(), settings, 60, [5])
    assert [r.setting.sampler for r in rows] == ["dpm2m"]
    assert notes[0] == "heun is left out: not on this process"
    assert "ddim" in notes[1]
    with pytest.raises(UndriftError, match="no setting can be drawn: heun"):
        race(draw, made_up(), settings[1:], 60, [5])

    def broken(setting, first, count):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        race(broken, made_up(), settings, 60, [5])


def test_images_with_classes_are_judged_by_features_and_recognition(judged_copy):
    """The tiny model is hardly trained, so real digits are far better than what it makes."""
    model = load(judged_copy)
    options = {"folder": judged_copy, "samplers": ["dpm2m", "ddim"], "grids": ["karras"], "evaluations": [4, 8], "scale": 1.5}
    found = frontier(model, 60, **options)
    criterion = found.criterion
    assert criterion.name.startswith("kernel distance (KID) x 1000 to training data in the features of a classifier (right on ")
    assert criterion.name.endswith("; no Fréchet distance: 60 samples are too few for 128 dimensions; 192 are the least")
    assert criterion.least < 100
    assert found.scale == 1.5
    assert found.criterion.real == "60 held-out examples"
    assert {(r.setting.sampler, r.setting.evaluations) for r in found.rows} >= {("dpm2m", 4), ("ddim", 8), ("abm", 10)}
    assert all(0 <= r.also["recognised"] <= 1 and r.n == 60 for r in found.rows)
    assert found.best.quality.value > found.criterion.floor.value + 5 * found.criterion.floor.standard_error
    again = frontier(model, 60, **options)
    assert [r.quality for r in again.rows] == [r.quality for r in found.rows]  # same seed, same figures


def test_of_enough_samples_images_are_judged_by_frechet_distance(judged_copy):
    found = frontier(load(judged_copy), 192, folder=judged_copy, samplers=["dpm2m"], grids=["karras"], evaluations=[2])
    criterion = found.criterion
    assert (
        criterion.name.startswith("Fréchet distance to training data in the features of a classifier") and criterion.least == 192
    )
    assert criterion.real == "192 held-out examples" and abs(criterion.floor.value) < 3 * criterion.floor.standard_error
    assert found.best.quality.value > 10 and len(found.best.quality.reference) == len(criterion.floor.reference) == 20


def test_a_fitted_grid_that_comes_out_as_it_was_is_still_what_the_model_uses(judged_copy):
    """Fitted twice with the same numbers of steps it is the same grid; with others it is another one, and nothing is in use."""
    model, options = load(judged_copy), {"folder": judged_copy, "samplers": ["dpm2m"], "grids": ["fitted"]}
    first = frontier(model, 50, evaluations=[3], **options)
    model.sampling = SamplingOptions(sampler="dpm2m", steps=3, grid="fitted", fitted=first.fitted)
    again = frontier(model, 50, evaluations=[3], **options)
    assert again.present == again.recommended.setting and again.fitted == first.fitted
    assert frontier(model, 50, evaluations=[4], **options).present is None


def test_vectors_are_judged_by_energy_distance(tmp_path):
    from undrift.training.session import train_run

    overrides = {
        "data.n": 600, "data.name": "moons", "network.width": 32, "network.depth": 2, "steps": 150, "batch_size": 128,
        "sample_every": 0, "device": "cpu",
    }  # fmt: skip
    train_run("toy", overrides, tmp_path, False, Console(quiet=True), __import__("time").perf_counter())
    found = frontier(load(tmp_path), 200, folder=tmp_path, samplers=["dpm2m"], grids=["karras"], evaluations=[2, 12])
    rows = {r.setting.evaluations: r.quality.value for r in found.rows}
    assert found.criterion.name == "energy distance to training data"
    assert found.criterion.real == "120 held-out examples"  # fewer than asked for: all there are
    assert rows[2] > 3 * abs(rows[12])
    assert found.recommended.setting.evaluations > 2


def test_a_recommendation_changes_model_json_and_only_how_it_samples(copied_run):
    before, weights = json.loads((copied_run / "model.json").read_text()), (copied_run / "model.safetensors").read_bytes()
    save_sampling(copied_run, SamplingOptions(sampler="heun", steps=3, scale=2.5, grid="uniform"))
    after = json.loads((copied_run / "model.json").read_text())
    assert after.pop("sampling") == {"sampler": "heun", "steps": 3, "scale": 2.5, "grid": "uniform", "fitted": None}
    before.pop("sampling")
    assert after == before
    assert list(after) == list(before)
    assert (copied_run / "model.safetensors").read_bytes() == weights
    assert not list(copied_run.glob(".*.tmp"))
    model = load(copied_run)
    assert torch.equal(model.draw(3, 1), model.draw(3, 1, sampler="heun", steps=3, grid="uniform", scale=2.5))


def test_what_is_recommended_is_what_is_saved():
    rows = (row("heun", 7, 1.0), row("ddim", 20, 3.0))
    found = Frontier(rows, made_up(), scale=3.0)

    class Fake:
        sampling = SamplingOptions(sampler="dpm2m", steps=20, scale=1.5, grid="log_snr")

    assert sampling_of(Fake, found) == SamplingOptions(sampler="heun", steps=7, scale=3.0, grid="karras")
    assert sampling_of(Fake, Frontier(rows, made_up())).scale == 1.5  # without classes there is nothing to say about it


def test_a_run_that_goes_on_keeps_the_recommendation(copied_run):
    from undrift.training.session import train_run

    def train_on(**overrides):
        train_run("digits", overrides, copied_run, False, Console(quiet=True), __import__("time").perf_counter())
        return load(copied_run).sampling

    chosen = SamplingOptions(sampler="heun", steps=3, scale=2.5, grid="uniform")
    save_sampling(copied_run, chosen)
    assert train_on(steps=27) == chosen
    assert load(copied_run).trained["steps"] == 27
    own = train_on(steps=28, **{"sampling.steps": 10})  # what the command says goes, also where it is what the recipe says
    assert own == SamplingOptions(sampler="heun", steps=10, scale=2.5, grid="uniform")


def test_a_table_a_sentence_and_data():
    rows = (row("ddim", 5, 3.0, wiggle=0.2, n=250), row("dpm2m", 8, 1.01, wiggle=0.05), row("heun", 19, 1.0, wiggle=0.001))
    found = Frontier(rows, made_up())
    lines = report.table(replace(found, present=Setting("heun", "karras", 19, 19)))
    assert lines[0].split() == ["evaluations", "sampler", "grid", "steps", "samples", "metric", "ms/sample"]
    assert [line.split()[-1] for line in lines[1:]] == ["4.0", "recommended", "now"]
    assert "best, now" in lines[3]
    assert "1.010 +- 0.050" in lines[2]
    assert "heun on karras with 19 (1.0000 +- 0.0010" in report.words(found)[-1]
    assert report.words(found)[-1].startswith(
        "recommended: dpm2m on the karras grid, 8 steps, 8 evaluations: 1.010 +- 0.050, within"
    )
    data = json.loads(json.dumps(report.as_json(found)))
    assert data["recommended"] == {"sampler": "dpm2m", "grid": "karras", "steps": 8, "evaluations": 8}
    assert [r["value"] for r in data["rows"]] == [3.0, 1.01, 1.0]
    assert data["rows"][1]["standard_error"] == pytest.approx(0.05)
    copies = Frontier((row("ddim", 5, -1.0, wiggle=0.01),), made_up())
    assert "copies?" in report.words(copies)[1]
    assert "copies?" not in report.words(found)[1]


def test_the_picture_of_many_samplers():
    rows = tuple(row("s" * (k + 1), e, (k + 1) * 10 / e, wiggle=0.1) for k in range(20) for e in (5, 10))
    image = report.picture(Frontier(rows, made_up()))
    assert isinstance(image, Image.Image)
