"""Charts: what is drawn where, what is written, and that the same values give the same bytes."""

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from metrics import planted
from undrift.diagnosis import picture as budget
from undrift.diagnosis.report import NAMES
from undrift.plot import axes, chart
from undrift.plot.chart import Point
from undrift.training import curves

# What protanopes and deuteranopes see of linear red, green and blue: Machado, Oliveira, Fernandes (2009), severity 1.
SIGHT = {
    "usual": np.eye(3),
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}


def linear(colour):
    """Of `#rrggbb` the linear red, green and blue."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lightness(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(rgb):
    """CIE L*a*b* under D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 0.009))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def written(draw, module=chart):
    """Every text of the figure that a call draws, where it is written, whether it is at a tick, and the figure's size."""
    from matplotlib.text import Text

    seen = []

    def keep(figure):
        image = real(figure)
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        ticks = {id(t) for a in figure.axes for side in (a.xaxis, a.yaxis) for t in side.get_ticklabels(which="both")}
        seen.extend((t.get_text(), t.get_window_extent(), id(t) in ticks) for t in texts)
        seen.append(image.size)
        return image

    real = module.drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "drawn", keep)
        draw()
    return seen[:-1], seen[-1]


LINES = {
    "one": [Point(5, 100.0, 1.0, False), Point(20, 1.0, 0.1)],
    "_two $\\frac$ $x^2$": [Point(5, 50.0, 1.0), Point(20, 0.5, 0.1)],
    "a sampler with a long name (karras)": [Point(40, 0.2, 0.1)],
}
CHARTS = {
    "lines": lambda: chart.chart(
        LINES, "steps", "Fréchet distance", (0.4, 0.6), "a floor", Point(20, 1.0, 0.1), "best", title="T"
    ),
    "bars": lambda: chart.bars({"γ = 1": [10.0, 5.0], "γ = 2": [1.0, 2.0]}, ["x", "y"], "% of samples"),
    "histogram": lambda: chart.histogram({"samples": torch.arange(9.0), "held-out": torch.arange(4.0)}, "a distance"),
}
SAID = {
    "lines": {*LINES, "steps", "Fréchet distance", "a floor", "best", "T"},
    "bars": {"γ = 1", "γ = 2", "x", "y", "% of samples"},
    "histogram": {"samples: 9 examples, mean 4.0000", "held-out: 4 examples, mean 1.5000", "a distance"},
}


@pytest.mark.parametrize("name", CHARTS)
def test_every_label_is_written_within_the_picture_and_none_over_another(name):
    texts, (width, height) = written(CHARTS[name])
    assert {text for text, *_ in texts} >= SAID[name]
    inside = [(text, box) for text, box, tick in texts if not tick or (box.x0 >= 0 and box.x1 <= width)]
    for text, box in inside:
        if text in SAID[name]:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    for (a, first), (b, second) in itertools.combinations([(t, b) for t, b in inside if t in SAID[name]], 2):
        assert not first.overlaps(second), (a, b)


@pytest.mark.parametrize("name", CHARTS)
def test_the_same_values_give_the_same_bytes(name):
    def png():
        buffer = io.BytesIO()
        CHARTS[name]().save(buffer, "PNG")
        return buffer.getvalue()

    assert png() == png()


@pytest.mark.parametrize("name", CHARTS)
def test_settings_of_the_user_are_neither_used_nor_changed(name):
    import matplotlib as mpl

    before = CHARTS[name]().tobytes()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "backend": "svg", "text.usetex": True}):
        assert CHARTS[name]().tobytes() == before
        assert (mpl.rcParams["font.size"], mpl.rcParams["axes.facecolor"], mpl.rcParams["backend"]) == (30, "red", "svg")


def test_pyplot_is_never_imported_and_matplotlib_only_by_a_chart():
    program = """
import sys
import undrift
print(*("matplotlib" in sys.modules, "jinja2" in sys.modules))
import undrift.diagnosis.picture, undrift.evaluation.page, undrift.plot.chart, undrift.plot.show, undrift.study.report
import undrift.training.curves, undrift.tuning.report
print(*("matplotlib" in sys.modules, "jinja2" in sys.modules))
undrift.plot.chart.bars({"a": [1.0]}, ["b"])
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[:3] == ["False False", "False False", "True False"]


def test_the_chart_shows_lines_where_they_belong():
    """A falling line is high on the left and low on the right; hollow points are white inside; the band is grey."""
    points = LINES["one"]
    image = np.asarray(chart.chart({"one": points}, "x", "y", (0.4, 0.6), "floor")).astype(int)
    plot = image[:500, 70:750]
    blue = (plot[:, :, 2] > 150) & (plot[:, :, 0] < 60)
    height, across = np.nonzero(blue)
    assert height[across < across.min() + 30].mean() < 60
    assert height[across > across.max() - 30].mean() > 250
    row, column = (int(v[across < across.min() + 9].mean()) for v in (height, across))
    assert plot[row, column].tolist() == [255, 255, 255]  # not sure: hollow
    row, column = (int(v[across > across.max() - 9].mean()) for v in (height, across))
    assert blue[row, column]
    grey = np.nonzero(abs(plot[:, 300].mean(1) - 214) < 6)[0]
    assert (grey > 400).sum() > 5 and (grey < 400).sum() < 3  # the band, near the bottom; lines are blurred at their edges
    assert chart.chart({"one": points[1:]}, "x", "y").size == (900, 560)  # a single point
    assert chart.chart({"one": [Point(5, -1.0, 0.1), Point(6, 0.0, 0.0)]}, "x", "y", (-0.1, 0.2)).size == (900, 560)


def axis_of(line, size=(900, 560)):
    """Of a chart of one line: places from 0 to 1 of values of y, and the numbers at its ticks."""
    with axes.canvas(size) as figure:
        axis = figure.subplots()
        chart.draw_lines(axis, {"one": line}, "x", "y")
        figure.canvas.draw()
        low, high = axis.get_ylim()

        def place(v):
            at, bottom, top = axis.transData.transform([(line[0].x, v), (line[0].x, low), (line[0].x, high)])[:, 1]
            return (at - bottom) / (top - bottom)

        ticks = [t for t in axis.get_yticks() if low <= t <= high]
        across = [t for t in axis.get_xticks() if axis.get_xlim()[0] <= t <= axis.get_xlim()[1]]
        return place, ticks, across, axis.get_xscale()


def test_axes_put_values_in_order_and_ticks_on_them():
    near, ticks, _, _ = axis_of([Point(1, 1.0, 0.5), Point(2, 2.0, 0.5)])
    assert near(1.5) - near(1.0) == pytest.approx(near(2.0) - near(1.5))  # linear: values are less than 8 errors
    assert len(ticks) >= 4
    far, ticks, _, _ = axis_of([Point(1, 0.0, 0.01), Point(2, 50.0, 0.01)])
    assert 0 < far(-0.01) < far(0.0) < far(0.01) < far(50.0) < 1
    assert far(1.0) - far(0.1) == pytest.approx(far(10.0) - far(1.0), rel=2e-2)  # logarithmic far from zero
    assert far(0.002) - far(0.0) == pytest.approx(far(0.0) - far(-0.002))
    assert {0.0, 0.1, 1.0, 10.0} <= set(ticks)
    places = [far(v) for v in ticks]
    assert places == sorted(places)
    assert min(b - a for a, b in itertools.pairwise(places)) > 0.07


def test_far_numbers_across_are_logarithmic_and_their_labels_apart():
    *_, across, scale = axis_of([Point(x, 1.0, 0.0) for x in (5, 8, 10, 19, 20, 21, 39, 50)])
    assert scale == "log" and {5, 8, 10, 39, 50} <= set(across) and len({19, 20, 21} & set(across)) == 1
    *_, across, scale = axis_of([Point(x, 1.0, 0.0) for x in range(1, 1000)])
    assert scale == "log" and {1, 10, 100} <= set(across) and len(across) < 12
    assert axis_of([Point(x, 1.0, 0.0) for x in (-1, 8)])[3] == axis_of([Point(x, 1.0, 0.0) for x in (2, 8)])[3] == "linear"


def test_no_two_of_forty_lines_are_drawn_alike_and_all_are_in_the_legend():
    alike = {(axes.COLOURS[i % len(axes.COLOURS)], axes.MARKERS[i % len(axes.MARKERS)]) for i in range(40)}
    assert len(alike) == 40
    texts, _ = written(lambda: chart.chart({f"line {i}": [Point(i, i, 0.1)] for i in range(12)}, "x", "y"))
    assert {f"line {i}" for i in range(12)} <= {text for text, *_ in texts}


@pytest.mark.parametrize("size", [(900, 560), (560, 320)])
def test_the_legend_covers_no_data_and_is_whole(size):
    with axes.canvas(size) as figure:
        axis = figure.subplots()
        chart.draw_lines(axis, LINES, "x", "y", (0.4, 0.6), "a floor")
        figure.canvas.draw()
        legend, plot = axis.get_legend().get_window_extent(), axis.get_window_extent()
    assert plot.x1 <= legend.x0 and legend.x1 <= size[0] and legend.y0 >= 0 and plot.width > 0.3 * size[0]


def test_colours_are_seen_in_light_and_dark_and_by_the_colour_blind():
    """At least 3:1 against white and a dark page (WCAG, graphics); of the first four any two differ by 15 in L*a*b*, 2 being visible."""
    for colour in axes.COLOURS:
        light = lightness(colour)
        assert 1.05 / (light + 0.05) >= 3 and (light + 0.05) / (lightness("#16181d") + 0.05) >= 3, colour
    for sight in SIGHT.values():
        seen = [lab(sight @ linear(colour)) for colour in axes.COLOURS[:4]]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


@pytest.mark.parametrize("size", [(900, 560), (759, 421), (301, 333)])
def test_a_picture_has_as_many_pixels_as_were_asked_for(size):
    assert chart.chart({"a": [Point(1, 1.0, 0.0)]}, "x", "y", size=size).size == size


def test_bars_are_as_high_as_their_values():
    image = np.asarray(chart.bars({"one": [10.0, 5.0]}, ["x", "y"], size=(300, 300)))[40:]
    colour = [int(axes.COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)]
    heights = (image == colour).all(2).sum(0)
    left, right = heights[:170].max(), heights[170:].max()
    assert left == pytest.approx(2 * right, abs=2) and right > 40


def test_a_histogram_has_its_groups_where_their_values_are():
    """Two groups far from each other: the first colour on the left alone, the second on the right; one value only does no harm."""
    image = chart.histogram({"low": torch.zeros(50), "high": torch.full((50,), 10.0)}, "x", size=(400, 300))
    pixels = np.asarray(image)[60:].astype(int)
    for colour, side in ((axes.COLOURS[0], slice(0, 200)), (axes.COLOURS[1], slice(200, 400))):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        mine = (abs(pixels - rgb) < 8).all(2)
        assert mine[:, side].sum() > 50 and mine.sum() == mine[:, side].sum()
    assert isinstance(chart.histogram({"one": torch.ones(3)}, "x"), Image.Image)


def test_curves_of_a_long_run_keep_their_ends_and_have_labels():
    """1,000 records become at most sixty points, the first and the last among them, the early ones all."""
    records = [{"step": k, "loss": 1 / k, "held_out": 2 / k if k % 100 == 0 else None} for k in range(1, 1001)]
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "chart", lambda lines, *labels: seen.append((lines, labels)))
        curves.picture(records)
    [(lines, labels)] = seen
    steps = [p.x for p in lines["training"]]
    assert len(steps) <= 60 and steps[:3] == [1, 2, 3] and steps[-1] == 1000 and [p.x for p in lines["held out"]][-1] == 1000
    assert lines["training"][-1].y == pytest.approx(1e-3) and labels == ("step", "loss")
    texts, size = written(lambda: curves.picture(records))
    assert {"training", "held out", "step", "loss"} <= {text for text, *_ in texts} and size == (900, 560)


def test_the_picture_of_an_error_budget_names_every_part_with_its_number():
    _, found = planted.diagnosed("3 steps", 60)
    texts, (width, height) = written(lambda: budget.draw(found), budget)
    parts = [NAMES[name] for name in found.repairs.parts]
    numbers = [str(v).replace("+-", "±") for v in (*found.repairs.parts.values(), found.repairs.metric)]
    wanted = {*parts, *numbers, "= as sampled", "score", "nats for each unit of log-SNR", "log10 of the noise level sigma/alpha"}
    assert wanted <= {text for text, *_ in texts}
    for text, box, _ in texts:
        if text in wanted:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    heights = [next(box.y0 for text, box, _ in texts if text == part) for part in parts]
    assert heights == sorted(heights, reverse=True)  # in their order, the first one on top
    assert budget.draw(found).tobytes() == budget.draw(found).tobytes()


def test_values_near_one_another_are_on_a_linear_axis_with_ticks():
    """Precisions from 0.7 to 1, however small their errors: a logarithmic axis had one tick."""
    from matplotlib.figure import Figure

    axis = Figure((6, 4)).subplots()
    chart.draw_lines(axis, {"a": [chart.Point(1, 0.7, 0.01), chart.Point(2, 0.98, 0.01)]}, "x", "precision")
    assert axis.get_yscale() == "linear" and len([t for t in axis.get_yticks() if 0.69 < t < 0.99]) > 3
    far = Figure((6, 4)).subplots()
    chart.draw_lines(far, {"a": [chart.Point(1, 0.1, 0.01), chart.Point(2, 20.0, 0.01)]}, "x", "distance")
    assert far.get_yscale() == "asinh"
