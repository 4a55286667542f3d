"""What an error budget says: a table, what to change, a picture, and all of it as data."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from undrift.evaluate.budget.budget import Budget
from undrift.evaluate.budget.measure import SURE, Nats, Number
from undrift.evaluate.budget.score import Bin
from undrift.evaluate.chart import COLOURS, Axis, Point, chart

NAMES = {
    "discretisation": "discretisation", "prior": "prior", "guidance": "guidance", "score": "score", "ema": "averaging (EMA)",
    "finite sample": "finite sample",
}  # fmt: skip
MOST = 0.7  # share of the nats that makes a few neighbouring bins "the noise levels where it errs"
SKEW, RESIDUAL = 0.1, 0.3  # from which a field is said to be no score


def table(found: Budget) -> list[str]:
    """The parts, then the noise levels, as lines of text."""
    rows, r = [["part", "of the figure", "nats (a bound)", ""]], found.repairs
    nats = {"prior": _text(found.prior.nats), "score": _text(found.score.nats)}
    for name in ("discretisation", "prior", "guidance", "score", "finite sample"):
        part = r.parts.get(name)
        missing = "none" if name == "guidance" else "not measured"
        rows.append([NAMES[name], missing if part is None else str(part), nats.get(name, ""), _mark(name, found)])
    rows.append(["= as sampled", str(r.figure), "", ""])
    if r.ema is not None:
        rows.append([NAMES["ema"], str(r.ema), "", _mark("ema", found) or "(not in the sum)"])
    return [*_aligned(rows, (0, 3)), "", *_levels(found)]


def _mark(name: str, found: Budget) -> str:
    if name == found.culprit:
        return "<- costs most"
    if name in found.faults or name in found.hidden:
        return "worsens it"
    part = found.parts.get(name)
    if part is None or not (part.sure or _better(part)):
        return ""
    return "sure, but too small to matter" if part.sure else "improves it"


def _text(nats: Nats) -> str:
    """Both ends, or one; a divergence is not negative, whatever chance makes of its estimate."""
    ends = [Number(max(0.0, end.value), end.error) for end in (nats.at_least, nats.at_most)]
    return str(ends[0]) if nats.known else f"{ends[0]} to {ends[1]}"


def _better(part: Number) -> bool:
    return Number(-part.value, part.error).sure


def _levels(found: Budget) -> list[str]:
    rows = [["sigma/alpha", "nats", "asymmetry", "Fokker-Planck residual"]]
    for b in found.score.bins:
        residual = "" if b.residual is None else f"{b.residual:.3f}"
        rows.append([_range(b), _text(b.nats), f"{b.asymmetry:.3f}", residual])
    return _aligned(rows, ())


def _aligned(rows: list[list[str]], left: tuple[int, ...]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def _range(b: Bin) -> str:
    return " to ".join(_level(v) for v in b.levels)


def _level(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def words(found: Budget) -> list[str]:
    """What the figures are, which part costs most, and what to change."""
    ruler, r = found.task.yardstick, found.repairs
    floor = Number(ruler.floor.value, ruler.floor.standard_error)
    lines = [
        f"figure: {ruler.name}; lower is better, +- is one standard error; {found.n:,} samples at each stage",
        f"floor: {floor}, which is what {ruler.real} get",
    ]
    faults, hidden = found.faults, found.hidden
    if not found.culprit:
        lines.append(f"nothing costs more than chance explains: {_blind(found)}")
    elif faults:
        name, part = next(iter(faults.items()))
        lines.append(f"{NAMES[name]} costs most: {part} of {r.figure}; {_advice(name, found)}")
    for name, part in list(faults.items())[1:]:
        lines.append(f"also {NAMES[name]}, {part}: {_advice(name, found)}")
    for name, nats in hidden.items():
        start = "also " if faults else ""
        costs = "costs most" if name == found.culprit else "costs"
        lines.append(
            f"{start}{NAMES[name]} {costs}: {nats} nats, which the figure of {found.n:,} samples does not show: {_advice(name, found)}"
        )
    helped = [name for name, part in r.parts.items() if name == "guidance" and _better(part)]
    lines += [f"guidance at scale {found.way.scale:g} brings samples nearer to the data: keep it" for _ in helped]
    return lines + _remarks(found)


def _blind(found: Budget) -> str:
    """How much could have gone unseen."""
    most = max(v.error for k, v in found.repairs.parts.items() if k != "finite sample")
    return f"a part of less than {SURE * most:.2g} would not be seen with {found.n:,} samples (-n asks for more)"


def _advice(name: str, found: Budget) -> str:
    way = found.way
    if name == "discretisation":
        return f"take more steps ({found.repairs.steps} in place of {way.steps}), or see `undrift frontier` for a better sampler and grid"
    if name == "prior":
        return (
            "noised data are not yet what sampling starts from: let the process go on to more noise (a larger t_max, sigma_max or "
            "beta_max), centre the data, and train again"
        )
    if name == "guidance":
        return f"guidance at scale {way.scale:g} draws samples away from the data: take a scale nearer to 1, or guide in an interval only"
    if name == "ema":
        return "the other weights are better: sample with them (--weights), or shorten or lengthen ema_halflife"
    return _of_score(found)


def _of_score(found: Budget) -> str:
    """Which noise levels, and so what to change."""
    memorised = found.score.memorised
    if memorised is not None and memorised.sure and memorised.value > found.score.nats.at_least.value:
        return f"held-out examples are denoised worse than training ones, by {memorised} nats: more data, or a shorter training"
    few = worst(found.score.bins)
    if few is None:
        return "the denoiser errs at most noise levels: a larger network, or a longer training"
    low, high = few[-1].levels[0], few[0].levels[1]
    return (
        f"the denoiser errs at sigma/alpha {_level(low)} to {_level(high)} above all: train more there (objective.times, "
        "objective.weight); if that does not help, a larger network"
    )


def worst(bins: tuple[Bin, ...], widest: int = 3) -> tuple[Bin, ...] | None:
    """The fewest neighbouring bins, three at most, that hold most of the nats; None if it takes more."""
    values = [max(0.0, b.nats.at_least.value) for b in bins]
    if not any(values):
        values = [max(0.0, b.nats.at_most.value) for b in bins]
    for width in range(1, widest + 1):
        best = max(range(len(bins) - width + 1), key=lambda i: sum(values[i : i + width]))
        if sum(values[best : best + width]) >= MOST * sum(values) > 0:
            return bins[best : best + width]
    return None


def _remarks(found: Budget) -> list[str]:
    lines = []
    if found.repairs.moved is not None:
        lines.append(f"twice the steps move each sample by {found.repairs.moved:.2g} (root mean square, model space)")
    p, gap = found.prior.p_value, found.prior.nats
    lines.append(
        f"prior: noised data against pure noise, two-sample test p = {p:.3f}; at most {max(0.0, gap.at_most.value):.2g} nats"
    )
    bins = found.score.bins
    if skewed := _where(bins, [b.asymmetry > SKEW for b in bins]):
        lines.append(f"not a gradient field at sigma/alpha {skewed}: its Jacobian is asymmetric there")
    if odd := _where(bins, [b.residual is not None and b.residual > RESIDUAL for b in bins]):
        lines.append(f"not the scores of one law at sigma/alpha {odd}: they miss the Fokker-Planck equation")
    if not found.score.nats.known:
        lines.append(
            "score in nats: at least what a denoiser without training does better, at most what is above the loss of memorising"
        )
    return lines + list(found.notes)


def _where(bins: tuple[Bin, ...], flags: list[bool]) -> str:
    """The noise levels that are flagged, neighbours joined, from data to noise."""
    runs: list[list[float]] = []
    for b, flag, before in zip(reversed(bins), reversed(flags), [False, *reversed(flags)], strict=False):
        if flag and before:
            runs[-1][1] = b.levels[1]
        elif flag:
            runs.append(list(b.levels))
    return ", ".join(f"{_level(low)} to {_level(high)}" for low, high in runs)


def picture(found: Budget) -> Image.Image:
    """Above the parts of the figure, below the nats of each noise level."""
    top = _bars(found)
    bins = found.score.bins
    centres = [-(b.low + b.high) / 2 / math.log(100) for b in bins]  # log10 sigma/alpha

    def line(end: str) -> list[Point]:
        ends: list[Number] = [getattr(b.nats, end) for b in bins]
        return [
            Point(round(x, 2), e.value / (b.high - b.low), e.error / (b.high - b.low))
            for x, e, b in zip(centres, ends, bins, strict=True)
        ]

    known = found.score.nats.known
    shown = {"score": line("at_least")} if known else {"score, at least": line("at_least"), "score, at most": line("at_most")}
    below = chart(shown, "log10 of the noise level sigma/alpha", "nats for each unit of log-SNR", size=(900, 380))
    image = Image.new("RGB", (900, top.height + below.height), "white")
    image.paste(top, (0, 0))
    image.paste(below, (0, top.height))
    return image


def _bars(found: Budget, zoom: int = 2) -> Image.Image:
    """A horizontal bar for every part of the figure, with its standard error."""
    parts = {NAMES[k]: v for k, v in found.repairs.parts.items()} | {"= as sampled": found.repairs.figure}
    if found.repairs.ema is not None:
        parts[NAMES["ema"]] = found.repairs.ema
    height = 60 + 30 * len(parts)
    image = Image.new("RGB", (900 * zoom, height * zoom), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13 * zoom)
    errors = [0.0 if math.isinf(v.error) or math.isnan(v.error) else v.error for v in parts.values()]
    across = Axis([0.0, *(v.value + s * e for v, e in zip(parts.values(), errors, strict=True) for s in (-1, 1))])
    left, right = 160 * zoom, 680 * zoom
    faults = {NAMES[k] for k in found.faults}

    def place(value: float) -> float:
        return left + (right - left) * across(value)

    for i, ((name, part), error) in enumerate(zip(parts.items(), errors, strict=True)):
        y = (24 + 30 * i) * zoom
        whole = name in ("= as sampled", NAMES["finite sample"])
        colour = COLOURS[7] if whole else COLOURS[1] if name in faults else COLOURS[0]
        near, far = sorted((place(0), place(part.value)))
        pen.rectangle((near, y - 9 * zoom, far, y + 9 * zoom), fill=colour)
        pen.line((place(part.value - error), y, place(part.value + error), y), fill="black", width=zoom)
        pen.text((left - 10 * zoom, y), name, fill="black", font=font, anchor="rm")
        pen.text((right + 20 * zoom, y), str(part), fill="black", font=font, anchor="lm")
    pen.line((place(0), 8 * zoom, place(0), (height - 40) * zoom), fill="black", width=zoom)
    label = found.task.yardstick.name.split(" in the features")[0]
    pen.text(((left + right) / 2, (height - 20) * zoom), label, fill="black", font=font, anchor="mm")
    return image.resize((900, height), Image.Resampling.LANCZOS)


def as_json(found: Budget) -> dict[str, Any]:
    """All of it, for `diagnose.json`."""
    ruler, way, r = found.task.yardstick, found.way, found.repairs
    return {
        "figure": ruler.name,
        "samples": found.n,
        "sampler": type(way.sampler).__name__,
        "steps": way.steps,
        "scale": way.scale if found.task.cond is not None else None,
        "culprit": found.culprit,
        "faults": list(found.faults),
        "hidden": list(found.hidden),
        "as_sampled": vars(r.figure),
        "floor": {"value": ruler.floor.value, "error": ruler.floor.standard_error, "real": ruler.real},
        "parts": {name: vars(part) for name, part in r.parts.items()},
        "ema": None if r.ema is None else vars(r.ema),
        "doubling_moves_by": r.moved,
        "prior": {"nats": _nats(found.prior.nats), "p_value": found.prior.p_value},
        "score": {
            "nats": _nats(found.score.nats),
            "memorised": None if found.score.memorised is None else vars(found.score.memorised),
            "bins": [
                {"log_snr": [b.low, b.high], "nats": _nats(b.nats), "asymmetry": b.asymmetry, "residual": b.residual}
                for b in found.score.bins
            ],
        },
        "notes": found.notes,
    }


def _nats(nats: Nats) -> dict[str, Any]:
    return {"at_least": vars(nats.at_least), "at_most": vars(nats.at_most)}
