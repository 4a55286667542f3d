"""How far long work is: time left from the recent rate, lines of 80 columns, in a terminal and without one."""

import io
import re

import pytest
import torch
from rich.console import Console

import undrift as ud
from undrift import progress
from undrift.cli import main
from undrift.progress import Bar, Pace, clock, duration
from undrift.training import hooks, monitor
from undrift.training.hooks import preview
from undrift.training.session import Session


def test_the_time_left_is_that_of_the_recent_rate():
    """Starting up and a slow first step count for nothing; a rate that changes is followed within a minute."""
    pace = Pace()
    pace.at(0.0, 100.0)  # after 100 s of reading data
    assert pace.left() is None
    pace.at(0.01, 150.0)  # the first step compiles
    for k in range(2, 50):
        pace.at(k / 100, 150.0 + k - 1)
    assert pace.left() == pytest.approx(51)
    for k in range(100):
        pace.at(0.49 + k / 1000, 198.0 + 2 * (k + 1))
    assert pace.left() == pytest.approx((1 - 0.589) * 2000, rel=0.02)
    pace.at(0.0, 500.0)  # other work
    assert pace.left() is None


def test_a_pace_that_stands_still_says_nothing():
    pace = Pace()
    for now in (0.0, 1.0, 2.0, 3.0):
        pace.at(0.5, now)
    assert pace.left() is None


@pytest.mark.parametrize(("seconds", "words", "digits"), [
    (0.2, "1 s", "0:00"), (61, "61 s", "1:01"), (300, "5 min", "5:00"), (7800, "2 h 10 min", "2:10:00"), (762_270, "8.8 days", "211:44:30"),
])  # fmt: skip
def test_times_in_words_and_as_a_clock(seconds, words, digits):
    assert duration(seconds) == words and clock(seconds) == digits


def test_every_line_of_a_training_fits_80_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    words = "train toy data.n=200 network.width=8 monitor_every=10 quality_every=0 sample_every=0 warmup=5 steps=60 batch_size=16"
    assert main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("training ") and "%" in line]
    assert len(lines) > 20 and max(map(len, lines)) <= 80
    assert re.fullmatch(r"training +\d+ %  \d+:\d\d left  step \d+  loss [\d.]+  held out [\d.]+.*", lines[-2]), lines[-2]


def test_a_bar_fits_80_columns_with_all_that_is_said():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with Bar("training", console) as bar:
        for k in range(6):
            bar.show(k / 200_000, "step 123456  loss 0.001234  held out 0.001234 (converged)")
    drawn = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", out.getvalue())]
    assert any("left" in line for line in drawn) and max(map(len, drawn)) <= 80, drawn


def test_sampling_says_how_far_it_is_without_a_terminal(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(progress, "SHORT", 1e-9)
    assert main(["sample", str(tiny_run), "-n", "600", "--steps", "4", "--out", str(tmp_path / "s.png")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sampling")]
    shares = [int(re.search(r"(\d+) %", line)[1]) for line in lines]
    assert shares == sorted(shares) and shares[-1] == 100 and 42 in shares and "left" in lines[-2]  # of three batches


def test_short_work_says_nothing(tiny_run, tmp_path, capsys):
    assert main(["sample", str(tiny_run), "-n", "4", "--steps", "2", "--out", str(tmp_path / "s.png")]) == 0
    assert capsys.readouterr().err == ""


def test_what_counts_itself_has_a_time_left():
    out = io.StringIO()
    with Bar("measuring", Console(file=out, width=200)) as bar:
        bar._drawn = -1e9
        for k in (0, 64, 128, 192):
            bar.tell(f"held-out: {k} of 1,256 examples")
            bar._drawn = -1e9
    assert re.search(r"15 %  \d:\d\d left  held-out: 192 of 1,256 examples", out.getvalue()), out.getvalue()


def test_a_long_training_says_how_long_before_it_is_long(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ud.training.session, "SOON", 0.05)
    words = "train toy data.n=200 network.width=8 monitor_every=0 quality_every=0 sample_every=0 batch_size=16"
    facts, shown = Session.facts, iter(range(10**9))
    monkeypatch.setattr(Session, "facts", lambda self, report: (next(shown) > 300 and self.stop()) or facts(self, report))
    assert main([*words.split(), "steps=100000000", "--out", str(tmp_path / "run")]) == 130
    out = capsys.readouterr().out
    found = re.search(
        r"100,000,000 steps will take about ([\d.]+ (days|h)).* here \((\d+) ms each\); minutes=60 in place of steps", out
    )
    assert found, out
    assert 0 <= int(found[3]) < 200  # of a network of eight units: no look and no start-up is counted


def test_all_of_one_class_is_ten_unless_a_number_is_asked_for(tiny_run, tmp_path, capsys):
    for label, count in (("7", 10), ("7,3", 20), ("all", 100), ("none", 64)):
        assert main(["sample", str(tiny_run), "--class", label, "--steps", "1", "--out", str(tmp_path / "s.png")]) == 0
        assert capsys.readouterr().out.startswith(f"{count} samples with")


def test_work_that_cannot_be_counted_has_no_percentage():
    out = io.StringIO()
    with Bar("judging", Console(file=out, width=200)) as bar:
        bar._drawn = -1e9
        bar.tell("training what judges")
    assert out.getvalue() == "judging training what judges\n"


def test_the_first_picture_comes_by_the_clock_and_then_ever_later(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "FIRST_PICTURE", 0.2)
    words = "train digits network.widths=[8,16] monitor_every=0 quality_every=0 batch_size=8 minutes=0.05"
    assert main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    steps = sorted(int(path.stem.removeprefix("step-")) for path in (tmp_path / "run" / "samples").glob("step-*.png"))
    assert 2 <= len(steps) <= 7  # after 0.2, 0.4, 0.8, 1.6 seconds, and at the end


def test_a_preview_of_a_slow_network_is_small(tiny_run):
    model = ud.load(tiny_run, device="cpu")
    whole, small = preview(model), preview(model, each=0.05, seconds=5.0)
    assert small.size[1] < whole.size[1] and small.size[0] <= whole.size[0]


def test_a_slow_network_is_looked_at_sooner_and_with_fewer_questions(tmp_path, monkeypatch):
    """As slow as a limit of nothing makes it; a run that goes on keeps the number that it began with."""
    words = [
        "train",
        "toy",
        "data.n=400",
        "network.width=8",
        "monitor_every=32",
        "quality_every=0",
        "sample_every=0",
        "batch_size=16",
        "warmup=2",
    ]
    monkeypatch.setattr(monitor, "LONG", 0.0)
    assert main([*words, "steps=40", "--out", str(tmp_path / "run")]) == 0
    looks = [r for r in ud.run.Run(tmp_path / "run").records() if "held_out" in r]
    assert [r["step"] for r in looks] == [0, 2, 4, 8, 16, 32, 40] and {r["examples"] for r in looks} == {32}
    monkeypatch.setattr(monitor, "LONG", 100.0)
    assert main([*words, "steps=64", "--out", str(tmp_path / "run")]) == 0
    looks = [r for r in ud.run.Run(tmp_path / "run").records() if "held_out" in r]
    assert looks[-1]["step"] == 64 and {r["examples"] for r in looks} == {32}


def test_the_levels_of_a_look_do_not_ask_the_network(tmp_path):
    calls = []

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def forward(self, x, level, cond=None):
            calls.append(None if self.training and torch.is_grad_enabled() else len(x))
            return self.layer(x)

    ud.fit(Net(), torch.randn(64, 2), steps=1, batch_size=8, held_out=0.5, sample_every=0, quality_every=0, progress=False)
    step = len(calls) - 1 - calls[::-1].index(None)  # a first try of the network is one in training, too
    before = [n for n in calls[:step] if n is not None]
    assert 3 * 32 <= sum(before) < 4 * 32, before  # raw, averaged, trained on; and a few to see that it works and how fast
