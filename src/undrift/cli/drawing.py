"""How samples are drawn: the options of the command line as arguments of a `Model`, and in words."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from undrift import progress
from undrift.distributed.launcher import place
from undrift.error import UndriftError
from undrift.guidance import clip, dynamic_threshold, guidance_scale
from undrift.model import Model
from undrift.recipe.tables import SAMPLERS
from undrift.run.guide import named_guide, step_named
from undrift.watching import watching


def sampling_options(arguments: argparse.Namespace, guided: bool) -> dict[str, Any]:
    """The options of `Model.draw` that the command line carries."""
    options = {k: getattr(arguments, k) for k in ("sampler", "steps", "grid", "seed")}
    if guided:
        guidance_scale(arguments.scale, arguments.w)  # says what is wrong with it
        options |= {"scale": arguments.scale, "w": arguments.w}
    elif arguments.scale is not None or arguments.w is not None:
        raise UndriftError("--scale and -w guide towards a class; name one with --class, on a model trained with classes")
    return options


def guidance_options(arguments: argparse.Namespace, model: Model) -> dict[str, Any]:
    """What `--guide` names (the run's noise-aware classifier, itself at an earlier step, or a weaker model), `--interval`, `--rescale`."""
    guide = named_guide(arguments.guide, arguments.run, model)
    if isinstance(guide, Model) and step_named(arguments.guide) is not None:
        arguments.guide = f"step {guide.trained['weights_of_step']}"
    interval = None if arguments.interval is None else tuple(arguments.interval)
    if interval is not None and not 0 <= interval[0] < interval[1]:
        raise UndriftError(f"--interval {interval[0]:g} {interval[1]:g}: two noise levels sigma/alpha, the lower one first")
    if not 0 <= arguments.rescale <= 1:
        raise UndriftError(f"--rescale {arguments.rescale:g}: a share between 0 (none) and 1 (all)")
    return {"guide": guide, "interval": interval, "rescale": arguments.rescale}


def said(model: Model, arguments: argparse.Namespace, guided: bool) -> str:
    """How samples are drawn, in words; the guidance scale in both conventions."""
    usual = model.sampling
    sampler, steps = arguments.sampler or usual.sampler, usual.steps if arguments.steps is None else arguments.steps
    if getattr(arguments, "start", None) is not None:
        steps = max(1, round(arguments.strength * steps))
    calls = SAMPLERS[sampler].evaluations(steps) if sampler in SAMPLERS else steps
    cost = "as many evaluations as it takes" if calls is None else f"{calls} evaluation{'s' * (calls != 1)}"
    text = f"{sampler}, {steps} step{'s' * (steps != 1)} ({cost}){where_said(model)}"
    if not guided:
        return text
    default = arguments.scale is None and arguments.w is None
    scale = usual.scale if default else float(guidance_scale(arguments.scale, arguments.w))
    by = "" if arguments.guide is None else f" by {arguments.guide}"
    where = "" if arguments.interval is None else " for sigma/alpha from {:g} to {:g}".format(*arguments.interval)
    less = f", rescaled by {arguments.rescale:g}" if arguments.rescale else ""
    return f"{text}, guidance{by} scale {scale:g} (w = {scale - 1:g}){where}{less}"


def where_said(model: Model) -> str:
    """Where it is computed and in which precision, where that is not the CPU in float32."""
    kind = model.denoiser.precision
    precise = "" if kind is None else f" in {str(kind).removeprefix('torch.')}"
    return f" on {model.device}{precise}" if precise or model.device.type != "cpu" else ""


@contextmanager
def bar(what: str) -> Iterator[progress.Bar]:
    """For the time of a `with`: a bar of what is drawn or computed, in the first of several processes."""
    with progress.Bar(what, patience=progress.SHORT, shown=place().rank == 0) as shown, watching(shown.show):
        yield shown


def edits(arguments: argparse.Namespace, model: Model) -> dict[str, Any]:
    """`--clip` and `--threshold` as the edit of `Model.sample`."""
    if arguments.clip and arguments.threshold is not None:
        raise UndriftError("--clip and --threshold both hold the predicted data to their range; choose one")
    if (arguments.clip or arguments.threshold is not None) and model.spec.low is None:
        raise UndriftError("these data have no range to hold the predictions to; leave out --clip and --threshold")
    if arguments.clip:
        return {"edit": clip(-1, 1)}
    return {} if arguments.threshold is None else {"edit": dynamic_threshold(arguments.threshold)}
