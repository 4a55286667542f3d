"""A verdict on a run in plain words, from its log alone: learning, converged, memorising, diverged, or too early to say.

Every number it goes by is the loss on fixed questions (see `monitor`), so what moves it is learning and not chance.

    diverged      training stopped on a loss that was not finite or exploded; or the loss is far above its lowest
    too early     fewer than three looks, or the rate has only just warmed up
    memorising    at two looks in a row the held-out loss is above its lowest by more than a fiftieth and more than half its standard
                  error (looks share their questions, so most of that error is common to them), while that on trained examples went
                  on falling
    converged     over the last half of the steps the held-out loss fell by less than a fiftieth, of itself and of what it fell since
                  the start; or it is within that of the law's, where the law is known: no denoiser beats it
    learning      it fell by more
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from undrift.training.settings import Settings

Verdict = Literal["too early to say", "learning", "converged", "memorising", "diverged"]
FLAT = 0.02  # what is gained by doubling the training, below which it has converged
RISE = 0.02  # of the held-out loss, from its lowest


@dataclass(frozen=True)
class Status:
    """What is known of a run.

    Attributes:
        verdict: In a word or a few.
        because: The evidence, a sentence each.
        advice: What to do, a sentence each.
        warnings: What else is wrong: "labels" where the classes tell the network nothing.
        figures: The numbers behind it, by name.
    """

    verdict: Verdict
    because: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)

    def lines(self, brief: bool = False) -> list[str]:
        """The verdict in words; `brief` leaves out all but the first piece of evidence and of advice."""
        also = "; the classes tell it nothing" if "labels" in self.warnings else ""
        because, advice = (self.because[:1], self.advice[:1]) if brief else (self.because, self.advice)
        return [f"verdict: {self.verdict}{also}", *(f"  {text}" for text in because), *(f"  -> {text}" for text in advice)]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def status_of(records: Sequence[dict[str, Any]], settings: Settings) -> Status:
    """The verdict on a log.

    Args:
        records: Of the log, in order.
        settings: The run's, for what to change.
    """
    looks = [r for r in records if r["step"] > 0 and all(r.get(k) is not None for k in ("held_out", "trained_on"))]
    figures = figures_of(records, looks)
    if (stop := diverged(records, figures)) is not None:
        rate = float(f"{settings.learning_rate / 3:.1g}")
        return Status("diverged", (stop,), (
            f"train again with learning_rate={rate:g}: it goes on from the last good state; or with a longer warmup and --fresh",
        ), figures=figures)  # fmt: skip
    over = any("ended" in r for r in records[-1:])
    least = max(3 * settings.monitor_every, 2 * settings.warmup)
    more = f"the run is over: go on with more steps, at least steps={least}" if over else "wait"
    if len(looks) < 3:
        seen = f"{len(looks)} look{'s' * (len(looks) != 1)} at the held-out loss so far, at {figures['step']} steps; three are needed"
        if not settings.monitor_every:
            return Status(
                "too early to say", ("nothing is looked at: monitor_every=0",), ("give monitor_every=250",), figures=figures
            )
        return Status("too early to say", (seen,), (f"{more}, or look more often: monitor_every",), figures=figures)
    if looks[-1]["step"] < 2 * settings.warmup:
        seen = f"the rate warms up over the first {settings.warmup} steps, and the last look was at step {looks[-1]['step']}"
        return Status("too early to say", (seen,), (more,), figures=figures)
    told = [
        r for r in looks if None not in (r.get("class_gain"), r.get("class_gain_error"))
    ]  # of one example there is no error, and nothing to tell
    warnings = ("labels",) if labels_tell_nothing(told) else ()
    verdict, because, advice = judged(looks, figures, settings, over)
    if warnings:
        gain, error = told[-1]["class_gain"], told[-1]["class_gain_error"]
        because.append(f"held-out examples are denoised no better with their class than without (gain {gain:.2g} +- {error:.1g})")
        advice.insert(0, "check the labels: do they belong to these examples, in this order?")
    return Status(verdict, tuple(because), tuple(advice), warnings, figures)


def figures_of(records: Sequence[dict[str, Any]], looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The numbers that the verdict goes by."""
    losses = [r for r in records if "loss" in r]
    floors: dict[str, float] = next((r["floor"] for r in records if "floor" in r), {})
    found: dict[str, Any] = {"step": records[-1]["step"] if records else 0, **{f"floor_{k}": v for k, v in floors.items()}}
    if losses:
        last = losses[-1]
        found |= {k: last.get(k) for k in ("loss", "grad_norm", "weight_norm", "learning_rate")} | last.get("clock", {})
    if (start := next((r["held_out"] for r in records if r["step"] == 0 and r.get("held_out") is not None), None)) is not None:
        found["held_out_at_start"] = start
    if looks:
        best, last = min(looks, key=lambda r: r["held_out"]), looks[-1]
        found |= {k: v for k, v in last.items() if k not in ("step", "levels", "clock")}
        found |= {"best_held_out": best["held_out"], "best_step": best["step"]}
        memory = floors.get("memoriser_trained_on")
        if memory is not None and last["held_out"] > memory:
            found["memorised"] = max(0.0, (last["held_out"] - last["trained_on"]) / (last["held_out"] - memory))
    if quality := [r["quality"] for r in records if "quality" in r]:
        found["quality"] = quality[-1]
    return found


def diverged(records: Sequence[dict[str, Any]], figures: dict[str, Any]) -> str | None:
    """Whether the run has gone wrong, in a sentence."""
    stops = [r for r in records if "diverged" in r]
    if stops:
        about = stops[-1]["diverged"]
        where = f", first in the {about['of']} of layer {about['layer']}" if about.get("layer") else ""
        level = f", worst at log-SNR {about['log_snr']:.1f}" if about.get("log_snr") is not None else ""
        return f"stopped at step {stops[-1]['step']}: {about['what']}{level}{where}"
    losses = [r["loss"] for r in records if "loss" in r]
    if losses and losses[-1] is None:
        return f"the loss is not finite at step {figures['step']}"
    lowest = min((v for v in losses if v is not None), default=math.nan)
    if losses and losses[-1] > 3 * lowest > 0:
        return f"the training loss is {losses[-1]:.3g}, and was {lowest:.3g}"
    return None


def labels_tell_nothing(looks: Sequence[dict[str, Any]]) -> bool:
    """Whether knowing the class has helped at no look so far: by three standard errors, and by a two-hundredth of the loss."""
    return bool(looks) and all(
        r["class_gain"] < 3 * r["class_gain_error"] or r["class_gain"] < 0.005 * r["held_out"] for r in looks
    )


def judged(
    looks: Sequence[dict[str, Any]], figures: dict[str, Any], settings: Settings, over: bool
) -> tuple[Verdict, list[str], list[str]]:
    """Memorising, converged or learning; with evidence and advice."""
    last, best = looks[-1], min(looks, key=lambda r: r["held_out"])
    half = max((r for r in looks if r["step"] <= last["step"] / 2), key=lambda r: r["step"], default=looks[0])
    fell = half["held_out"] - last["held_out"]
    gained = fell / abs(half["held_out"] or 1)
    # Points in the plane are all but noise at most levels: all that can be learnt may be a few per cent of the loss.
    since_start = figures.get("held_out_at_start", last["held_out"]) - last["held_out"]
    still = fell / since_start if since_start > 0 else gained
    gap = f"held-out loss {last['held_out']:.4g}, on trained examples {last['trained_on']:.4g}"
    share = figures.get("memorised")
    close = f"; {100 * share:.0f} % of the way from there to remembering every example" if share is not None else ""
    risen = [r for r in looks if r["step"] > best["step"]]
    error = best["held_out_error"]
    least = math.inf if error is None else max(RISE * abs(best["held_out"]), error / 2)  # of one example all may be chance
    worse = len(risen) >= 2 and all(r["held_out"] > best["held_out"] + least for r in risen[-2:])
    if worse and last["trained_on"] < best["trained_on"]:
        rise = 100 * (last["held_out"] / best["held_out"] - 1)
        because = [
            f"the held-out loss is {rise:.0f} % above its lowest, {best['held_out']:.4g} at step {best['step']}, while that on trained "
            f"examples fell from {best['trained_on']:.4g} to {last['trained_on']:.4g}{close}",
        ]
        return "memorising", because, [
            f"use the weights of then: undrift ema RUN takes the average with the lowest held-out loss, near step {best['step']}",
            "more data, a smaller network, network.dropout or patience=4 would stop it earlier",
        ]  # fmt: skip
    since = f"since step {half['step']} the held-out loss fell from {half['held_out']:.4g} to {last['held_out']:.4g}"
    share_gained = f"{100 * gained:.1f} %"
    law = figures.get("floor_law")
    if law is not None and last["held_out"] < (1 + FLAT) * law:
        because = [f"the held-out loss, {last['held_out']:.4g}, is that of the law itself, {law:.4g}", gap + close]
        return "converged", because, ["there is nothing left to learn"]
    if gained < FLAT and still < FLAT:
        because = [f"{since}: {share_gained} for twice the steps", gap + close]
        return "converged", because, ["look at samples and at undrift evaluate; more of the same training will not help much",
            "a larger network might"]  # fmt: skip
    if gained < FLAT:
        share_gained = f"{100 * still:.0f} % of all that was learnt so far"
    because = [f"{since}: {share_gained} for twice the steps", gap + close]
    if not over:
        return "learning", because, ["let it go on"]
    end = f"steps={2 * last['step']}" if settings.steps else f"minutes={2 * (settings.minutes or 1):g}"
    return "learning", because, [f"it was stopped while it still learnt; give it longer: {end}"]
