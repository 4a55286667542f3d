"""What an error budget says: a table, what to change, and all of it as data."""

from __future__ import annotations

from typing import Any

from undrift import __version__
from undrift.diagnosis.budget import Budget
from undrift.diagnosis.extrapolate import LEAST
from undrift.diagnosis.measure import SURE, TELLING, Nats, Number
from undrift.diagnosis.score import Bin

NAMES = {
    "discretisation": "discretisation", "prior": "prior", "guidance": "guidance", "score": "score", "ema": "averaging (EMA)",
    "finite sample": "finite sample",
}  # fmt: skip
MOST = 0.7  # share of the nats that makes a few neighbouring bins "the noise levels where it errs"
SKEW, RESIDUAL = 0.1, 0.3  # from which a field is said to be no score


def table(found: Budget) -> list[str]:
    """The parts, then the noise levels, as lines of text."""
    rows, r = [["part", "of the metric", "nats (a bound)", ""]], found.repairs
    nats = {"prior": _text(found.prior.nats), "score": _text(found.score.best)}
    for name in ("discretisation", "prior", "guidance", "score", "finite sample"):
        part = r.parts.get(name)
        missing = "none" if name == "guidance" else "not measured"
        rows.append([NAMES[name], missing if part is None else str(part), nats.get(name, ""), _mark(name, found)])
    rows.append(["= as sampled", str(r.metric), "", ""])
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
    beyond = found.score.extrapolation
    rows = [["sigma/alpha", "nats", *(["over sizes", "exponent"] if beyond else []), "asymmetry", "Fokker-Planck residual"]]
    for i, b in enumerate(found.score.bins):
        over = [_text(Nats(b.beyond, b.beyond)), f"{beyond.exponents[i]:.2g}"] if beyond and b.beyond else []
        rows.append([_range(b), _text(b.nats), *over, str(b.asymmetry), "" if b.residual is None else str(b.residual)])
    if beyond:
        rows.append(["sum", _text(found.score.nats), _text(Nats(beyond.total, beyond.total)), "", "", ""])
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
    """What the metrics are, which part costs most, and what to change."""
    criterion, r = found.task.criterion, found.repairs
    floor = Number(criterion.floor.value, criterion.floor.standard_error)
    lines = [
        f"metric: {criterion.name}; lower is better, +- is one standard error; {found.n:,} samples at each stage",
        f"floor: {floor}, which is what {criterion.real} get",
    ]
    faults, hidden = found.faults, found.hidden
    if not found.culprit:
        lines.append(f"nothing costs more than chance explains: {_blind(found)}")
    elif faults:
        name, part = next(iter(faults.items()))
        lines.append(f"{NAMES[name]} costs most: {part} of {r.metric}; {_advice(name, found)}")
    for name, part in list(faults.items())[1:]:
        lines.append(f"also {NAMES[name]}, {part}: {_advice(name, found)}")
    for name, nats in hidden.items():
        start = "also " if faults else ""
        costs = "costs most" if name == found.culprit else "costs"
        lines.append(
            f"{start}{NAMES[name]} {costs}: {nats} nats, which the metric of {found.n:,} samples does not show: {_advice(name, found)}"
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
    if memorised is not None and memorised.sure and memorised.value > found.score.best.at_least.value:
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
    values = [max(0.0, b.best.at_least.value) for b in bins]
    if not any(values):
        values = [max(0.0, b.best.at_most.value) for b in bins]
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
    felt = [b.nats.at_most.value > TELLING / found.n for b in bins]  # elsewhere the field hardly matters
    if skewed := _where(bins, [f and _surely(b.asymmetry, SKEW) for f, b in zip(felt, bins, strict=True)]):
        lines.append(f"not a gradient field at sigma/alpha {skewed}: its Jacobian is asymmetric there")
    if odd := _where(bins, [f and _surely(b.residual, RESIDUAL) for f, b in zip(felt, bins, strict=True)]):
        lines.append(f"not the scores of one law at sigma/alpha {odd}: they miss the Fokker-Planck equation")
    if not found.score.nats.known:
        lines.append(
            "score in nats: at least what a denoiser without training does better, at most what is above the loss of memorising"
        )
    return lines + _extrapolated(found) + list(found.notes)


def _surely(value: Number | None, limit: float) -> bool:
    return value is not None and value.value - SURE * value.error > limit


def _extrapolated(found: Budget) -> list[str]:
    beyond, bins = found.score.extrapolation, found.score.bins
    if beyond is None:
        return []
    used = "" if not found.score.nats.known else "; not used, the exact floor being known"
    lines = [
        f"over sizes: what is above the loss that runs of any size would reach, {beyond.total} nats, by floor + excess size^-a over "
        f"{len(beyond.sizes)} runs (parameters times examples, {beyond.sizes[0] / min(beyond.sizes):.3g} times the smallest){used}"
    ]
    if slow := _where(bins, list(beyond.endless)):
        lines.append(f"at sigma/alpha {slow} the loss falls so slowly with size that no floor is in sight: it may be more there")
    if len(beyond.sizes) == LEAST:
        lines.append(f"a curve through {LEAST} runs leaves nothing to test it by: its error bars are those of the examples alone")
    return lines


def _where(bins: tuple[Bin, ...], flags: list[bool]) -> str:
    """The noise levels that are flagged, neighbours joined, from data to noise."""
    runs: list[list[float]] = []
    for b, flag, before in zip(reversed(bins), reversed(flags), [False, *reversed(flags)], strict=False):
        if flag and before:
            runs[-1][1] = b.levels[1]
        elif flag:
            runs.append(list(b.levels))
    return ", ".join(f"{_level(low)} to {_level(high)}" for low, high in runs)


def as_json(found: Budget) -> dict[str, Any]:
    """All of it, for `diagnose.json`."""
    criterion, way, r = found.task.criterion, found.way, found.repairs
    return {
        "undrift": __version__,
        "figure": criterion.name,
        "samples": found.n,
        "sampler": type(way.sampler).__name__,
        "steps": way.steps,
        "scale": way.scale if found.task.cond is not None else None,
        "culprit": found.culprit,
        "faults": list(found.faults),
        "hidden": list(found.hidden),
        "as_sampled": vars(r.metric),
        "floor": {"value": criterion.floor.value, "error": criterion.floor.standard_error, "real": criterion.real},
        "parts": {name: vars(part) for name, part in r.parts.items()},
        "ema": None if r.ema is None else vars(r.ema),
        "doubling_moves_by": r.moved,
        "prior": {"nats": _nats(found.prior.nats), "p_value": found.prior.p_value},
        "score": {
            "nats": _nats(found.score.nats),
            "memorised": None if found.score.memorised is None else vars(found.score.memorised),
            "bins": [
                {
                    "log_snr": [b.low, b.high],
                    "nats": _nats(b.nats),
                    "over_sizes": None if b.beyond is None else vars(b.beyond),
                    "asymmetry": vars(b.asymmetry),
                    "residual": None if b.residual is None else vars(b.residual),
                }
                for b in found.score.bins
            ],
            "extrapolation": None
            if (e := found.score.extrapolation) is None
            else {"total": vars(e.total), "exponents": e.exponents, "no_floor_in_sight": e.endless, "sizes": e.sizes},
        },
        "notes": found.notes,
    }


def _nats(nats: Nats) -> dict[str, Any]:
    return {"at_least": vars(nats.at_least), "at_most": vars(nats.at_most)}
