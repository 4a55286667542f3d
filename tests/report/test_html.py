"""Pages: whatever is put in is escaped, nothing is asked from outside, and the same values give the same bytes."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image

from undrift.data import Dataset, Spec
from undrift.evaluation.judgement import Judgement
from undrift.evaluation.page import page
from undrift.metrics.balance import Balance
from undrift.metrics.estimate import Estimate
from undrift.metrics.memorization import Memory
from undrift.metrics.registry import METRICS
from undrift.metrics.result import MetricResult, Recognised, Share
from undrift.report.html import render
from undrift.study import Finding, Result, report

HOSTILE = (
    "<script>alert('x')</script><img src=http://evil.example/a.png onerror=alert(1)>\" onload=\"alert(2) {{ 7 * 7 }} & $x^2$"
)
VOID = {"meta", "img", "br", "!doctype"}


class Reader(HTMLParser):
    """Tags and attributes of a page, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.words = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def alone(text):
    """What a page shows; it holds no script, no handler and no address but those of the pictures inside."""
    read = Reader(text)
    assert not {"script", "link", "iframe", "object", "base", "svg"} & {*read.tags}
    for tag, name, value in read.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "href") or value.startswith("data:image/png;base64,"), (tag, value)
    assert not re.search(r"url\(|@import", text)
    return "".join(read.words)


def judged(name="runs/a"):
    """A made-up judgement of 30 pictures of two classes, everything in it called `name`."""
    y = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    estimates = [Estimate(v, tuple(v + 0.01 * k for k in range(-3, 4))) for v in (0.5, 0.3)]
    return Judgement(
        run=name, drawn=name, n=30, measured=30, spaces={name: ("kernel", "precision", "frechet")},
        metrics={"kernel": MetricResult(METRICS["kernel"], *estimates), "precision": MetricResult(METRICS["precision"], *estimates, 30)},
        missing={"frechet": name, "balances": name},
        memories=[Memory(name, -torch.rand(30), -torch.rand(20), torch.arange(30) % 5, 0.5)],
        recognised=Recognised(Share(20, 30), {name: Share(10, 15), "b": Share(10, 15)}, Share(90, 100)),
        balances={name: Balance((name, "b"), (10, 20), (0.5, 0.5))}, columns=[], warnings=[name], likelihood=[name, "second line"],
        samples=y, asked=torch.arange(30) % 2, seconds=1.0,
    )  # fmt: skip


def data(name="digits"):
    spec = Spec.bounded((1, 4, 4), 0, 16, integer=True)
    return Dataset(
        np.arange(80, dtype=np.uint8).reshape(5, 1, 4, 4) % 17, np.arange(5) % 2, replace(spec, classes=("a", "b")), name
    )


def result(text):
    found = (Finding(text, text, text, text, "differs", text), Finding("says", "where", "wanted", "ours", "holds"))
    image = Image.new("RGB", (120, 120), "red")
    return Result("001-fig3", found, [[text, "c"], ["1", text]], 1.0, 1.0, text, (text,), "k", image)


PAGES = {
    "evaluation": lambda text: page([judged(text), judged(text + "2")], data(text)),
    "study": lambda text: report.html_page([result(text)]),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_name_is_shown_as_it_is_and_does_nothing(name):
    shown = alone(PAGES[name](HOSTILE))
    assert shown.count(HOSTILE) >= 8
    assert Reader(PAGES[name](HOSTILE)).tags == Reader(PAGES[name]("harmless")).tags


@pytest.mark.parametrize("name", PAGES)
def test_the_same_values_give_the_same_page(name):
    torch.manual_seed(0)
    first = PAGES[name]("a")
    torch.manual_seed(0)
    assert PAGES[name]("a") == first


def test_the_page_of_runs_says_all_that_was_found():
    shown = alone(page([judged("one"), judged("two")], data("digits of mine")))
    for said in (
        "How good are the samples of one, two?", "Side by side", "two less one", "Careful: one.", "not measured", "is better; sees",
        "Remembered or made?", "Classes, drawn without asking for one", "second line", "training data digits of mine, 5 examples",
        "66.7 %", "Same noise, same classes",
    ):  # fmt: skip
        assert said in shown, said
    assert "Side by side" not in alone(page([judged("one")], data()))


def test_intervals_stand_where_their_values_are():
    """The samples' value, 0.5, lies to the right of that of held-out data, 0.3, and each within its interval."""
    found = page([judged()], data())
    marks = re.findall(
        r'<i class="(\w+)" style="left: ([\d.]+)%; width: ([\d.]+)%"></i><b class="\w+" style="left: ([\d.]+)%">', found
    )
    own, floor = ([float(v) for v in numbers] for _, *numbers in marks[:2])
    assert [m[0] for m in marks[:2]] == ["own", "other"]
    for low, wide, at in (own, floor):
        assert 0 <= low < at < low + wide <= 100
    assert own[2] > floor[2] and min(own[0], floor[0]) == 0


def test_a_page_with_a_value_that_nobody_gave_is_an_error():
    from jinja2 import UndefinedError

    given = {"overview": [["a"]], "models": [], "claims": [], "studies": [], "out_of_reach": []}
    assert "<p>1.</p>" in render("study.html", counted="1", **given)
    with pytest.raises(UndefinedError, match="counted"):
        render("study.html", **given)


def test_templates_are_read_from_the_package():
    templates = resources.files("undrift.report") / "templates"
    assert {"base.html", "macros.html", "evaluation.html", "study.html"} == {entry.name for entry in templates.iterdir()}
    for entry in templates.iterdir():
        assert not re.search(r"\|\s*safe|autoescape|https?:|<script", entry.read_text("utf-8")), entry.name


def test_light_and_dark_and_small_screens():
    """Text is at least 4.5:1 against its page in both, as WCAG asks."""
    style = (resources.files("undrift.report") / "templates" / "base.html").read_text("utf-8")
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", part)) for part in style.split("@media")[:2])

    def lightness(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
        value = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722] + 0.05

    for colours in (light, dark):
        for ink, ground in (("ink", "page"), ("faint", "page"), ("bad", "page"), ("odd", "page"), ("ink", "note")):
            a, b = sorted((lightness(colours[ink]), lightness(colours[ground])))
            assert b / a >= 4.5, (ink, ground, colours)
    assert "width=device-width" in style
