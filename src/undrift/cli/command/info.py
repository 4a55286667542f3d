"""`undrift info`."""

from __future__ import annotations

import argparse

from undrift.model_file import load


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift info RUN`."""
    model = load(arguments.run)
    spec, parts, trained, usual = model.spec, model.parts, model.trained, model.sampling
    bounds = "unbounded" if spec.low is None else f"{spec.low:g} to {spec.high:g}{' (integers)' if spec.integer else ''}"
    network = ", ".join(f"{k}={v}" for k, v in parts["network"].items() if k != "kind")
    reads = {}
    if model.reads_text:
        told = parts["condition"]
        reads = {"reads": f"text of up to {told['length']} words of {len(told['words'])}: {', '.join(told['words'])}"}
    elif (up := model.upscale) is not None:
        reads = {"reads": f"the picture {up.factor} times smaller, with noise of up to {up.augment:g}, and the class"}
    elif (seen := model.measures) is not None:
        reads = {"reads": f"{seen.operator} of the picture, with noise of {seen.noise:g}{', and the class' * bool(spec.classes)}"}
    rows = {
        "run": arguments.run,
        "data": f"{trained.get('data', '?')}: shape {spec.shape}, values {bounds}",
        "classes": ", ".join(spec.named()) or "none",
        **reads,
        "network": f"{parts['network']['kind']} ({network}), {model.parameters:,} parameters",
        "process": model.denoiser.process,
        "target": f"{parts['target']}, sigma_data {parts['sigma_data']:g}",
        "trained": f"{trained.get('steps', 0)} steps, {trained.get('examples', 0):,} examples, "
                   f"{trained.get('seconds', 0):.0f} s, recipe {trained.get('recipe', '?')}",
        "samples with": f"{usual.sampler}, {usual.steps} steps on the {usual.grid} grid, "
                        f"guidance scale {usual.scale:g} (w = {usual.scale - 1:g})",
    }  # fmt: skip
    if usual.fitted is not None:
        steps = ", ".join(str(len(levels)) for levels in usual.fitted)
        rows["fitted grid"] = f"measured for {steps} steps; other numbers are interpolated from the nearest"
    for name, value in rows.items():
        print(f"{name:>12}  {value}")
