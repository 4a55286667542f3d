"""Say whether a training learns, also while it runs.

The verdict is one of: learning, converged, memorising, diverged, too early to say. With its evidence, and what to do.
"""

from __future__ import annotations

import argparse

from undrift.cli import options


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run."""
    options.run_folder(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options.picture(parser, "also draw the curves, to this file")


def run(arguments: argparse.Namespace, started: float) -> None:
    """Print the verdict and the curves."""
    import json
    import time

    from undrift.cli.outputs import check_outputs
    from undrift.plot.picture import save_image
    from undrift.run import Run
    from undrift.run.log import NAME, damaged_lines
    from undrift.training.curves import lines, picture
    from undrift.training.setup import settings_of
    from undrift.training.status import status_of

    folder = arguments.run
    settings = settings_of(folder)
    check_outputs(arguments, (arguments.out, None))
    records = Run(folder).records()
    status = status_of(records, settings)
    age = time.time() - (folder / NAME).stat().st_mtime if records else None
    if arguments.json:
        print(json.dumps({"run": str(folder), "seconds_since_last_record": age, **status.as_json()}, indent=1))
    else:
        last = "" if age is None else f"; last record {_ago(age)} ago"
        over = next((f"; ended: {r['ended']}" for r in records[-1:] if "ended" in r), last)
        print(f"{folder}: step {status.figures['step']}, of {settings.goal}{over}")
        for line in status.lines() + lines(records, status.figures):
            print(line)
        if damaged := damaged_lines(folder):
            print(f"{damaged} {'line' if damaged == 1 else 'lines'} of {folder / NAME} cannot be read, and are left out")
    if arguments.out is not None:
        save_image(picture(records), arguments.out, "undrift status")
        if not arguments.json:
            print(f"picture: {arguments.out}")


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
