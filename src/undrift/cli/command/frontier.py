"""Find the best sampler, grid and number of steps for a model.

Makes them the default of the model.
"""

from __future__ import annotations

import argparse

from undrift.cli import options
from undrift.cli.types import whole
from undrift.error import UndriftError

SHARED = True


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, and which settings to compare."""
    options.run_folder(parser)
    parser.add_argument(
        "-n",
        type=whole,
        default=1000,
        metavar="N",
        help="samples for each of the best settings; the others are dropped earlier (default: 1000)",
    )
    parser.add_argument(
        "--evaluations",
        default="5,8,10,15,20",
        metavar="N,N,...",
        help="for how many evaluations of the network per sample to find the best (default: 5,8,10,15,20)",
    )
    parser.add_argument(
        "--samplers", metavar="NAME,...", help="which to compare (default: those made for few steps); all: every one"
    )
    parser.add_argument(
        "--grids",
        metavar="NAME,...",
        help="which to compare (default: straight, trailing, log_snr, karras, and one fitted to the model); all: every one",
    )
    options.scale(parser)
    options.metric(parser)
    options.data_dir(parser)
    options.picture(parser, "the picture; all rows go beside it (default: RUN/frontier.png)")
    parser.add_argument("--no-save", dest="save", action="store_false", help="only compare; leave the model as it is")
    options.seed_and_weights(parser, "another seed takes other noise, classes and examples (default: 0)")
    options.computing(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Print a table and the recommendation; write the picture and the rows."""
    import json

    from undrift.cli.inputs import model_of
    from undrift.cli.outputs import picture_and_numbers
    from undrift.model_file import save_sampling
    from undrift.plot import picture
    from undrift.progress import SHORT, Bar
    from undrift.run.lock import hold
    from undrift.storage import affordable, write_text
    from undrift.tuning import report
    from undrift.tuning.frontier import frontier, sampling_of

    model = model_of(arguments)
    out, rows = picture_and_numbers(arguments, arguments.run / "frontier.png")
    affordable(f"-n {arguments.n}", arguments.n, model.spec.size)
    lock = hold(arguments.run) if arguments.save else None  # a training would write its own defaults over ours
    with Bar("measuring", patience=SHORT) as bar:
        found = frontier(
            model,
            arguments.n,
            folder=arguments.run,
            data_dir=arguments.data_dir,
            evaluations=_numbers(arguments.evaluations),
            samplers=_words(arguments.samplers),
            grids=_words(arguments.grids),
            scale=arguments.scale,
            w=arguments.w,
            metric=arguments.metric,
            seed=arguments.seed,
            tell=bar.tell,
        )
    guided = f", guidance scale {found.scale:g} (w = {found.scale - 1:g})" if found.scale is not None else ""
    print(f"{found.best.n:,} samples of each setting that stayed to the end{guided}")
    for line in report.table(found) + report.words(found) + list(found.notes):
        print(line)
    picture.save_image(report.picture(found), out, "undrift frontier")
    text = json.dumps(report.as_json(found), indent=1)
    write_text(rows, text + "\n")
    print(f"picture: {out}; all rows: {rows}")
    chosen = sampling_of(model, found)
    if found.recommended.setting == found.present and chosen.scale == model.sampling.scale:
        print(f"nothing is changed, the model samples so already: undrift sample {arguments.run}")
        return
    if lock is None:
        if chosen.grid == "fitted":
            print("to use it: run this again without --no-save, so that the fitted grid is kept with the model")
            return
        scale = "" if found.scale is None else f" --scale {chosen.scale:g}"
        print(
            f"to use it: undrift sample {arguments.run} --sampler {chosen.sampler} --grid {chosen.grid} --steps {chosen.steps}{scale}"
        )
        return
    save_sampling(arguments.run, chosen)
    lock.close()
    usual = model.sampling
    before = f"{usual.sampler}, {usual.steps} steps on {usual.grid}, scale {usual.scale:g}"
    print(f"the model now samples so: undrift sample {arguments.run} (before: {before})")


def _numbers(text: str) -> list[int]:
    try:
        return sorted({int(word) for word in _words(text) or ()})
    except ValueError:
        raise UndriftError(f'--evaluations "{text}": not whole numbers; write --evaluations 5,10,20') from None


def _words(text: str | None) -> list[str] | None:
    words = [word.strip() for word in text.split(",") if word.strip()] if text is not None else None
    if words == []:
        raise UndriftError(f'"{text}" names nothing; name at least one, with commas between several')
    return words
