"""Repeat an experiment of a paper.

Says what the paper says, what comes out here, and a verdict. Writes OUT/NAME.png and OUT/NAME.json. Models are trained once, into
OUT/models.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from undrift.cli import options
from undrift.cli.types import folder
from undrift.error import DataError, OutputError

if TYPE_CHECKING:
    from undrift.study import StudyContext


def grammar(parser: argparse.ArgumentParser) -> None:
    """A study, its settings, and where results go."""
    parser.epilog = "`undrift study all` goes on where it was stopped; `undrift study NAME` measures anew."
    parser.add_argument("name", help="a study, such as 000-fig4; all; or list")
    parser.add_argument(
        "--paper-settings", action="store_true", help="the networks, epochs and steps of the papers, on MNIST; takes days"
    )
    options.data_dir(parser, "the folder of MNIST (default: the 8 x 8 digits that come with undrift)")
    parser.add_argument(
        "--model", type=folder, metavar="RUN", help="take this class-conditional run instead of training a model for it"
    )
    parser.add_argument("--out", type=folder, metavar="DIR", help="folder for models and results (default: runs/studies/DATA)")
    options.device(parser)
    parser.add_argument("--report", action="store_true", help="also put all results on one page: report.html and report.md")


def run(arguments: argparse.Namespace, started: float) -> None:
    """Run one study or all, or list them."""
    from undrift.cli.outputs import check_outputs, free, usual_place
    from undrift.console import Terminal
    from undrift.study import StudyContext, record, report
    from undrift.study.catalogue import named
    from undrift.training.session import Stopped

    if arguments.name == "list":
        print(*report.listed(), sep="\n")
        return
    studies = named(arguments.name)
    if arguments.data_dir is not None and not Path(arguments.data_dir).is_dir():
        raise DataError(f"{arguments.data_dir}: no such folder; --data-dir is the folder with the four IDX files of MNIST")
    out = arguments.out or Path("runs/studies") / _kind(arguments)
    for path in (out / f"{study.name}{kind}" for study in studies for kind in (".json", ".png")):
        if not free(path, "study"):
            raise OutputError(f"{path} is there and undrift did not write it; choose another --out, or move it away")
    page = usual_place(arguments, out / "report.html", ".md")
    check_outputs(arguments, (page, ".html"), (page.with_suffix(".md"), ".md"))
    talk = Terminal()
    lab = StudyContext(
        out, arguments.data_dir, arguments.paper_settings, arguments.model, console=talk, tell=talk.print, device=arguments.device
    )
    if not all(study.toy for study in studies):
        _ = lab.data  # says what is wrong with the data or the run before anything is done
    for study in studies:
        if arguments.name == "all" and (before := record.read(study.name, out)) is not None and before.key == lab.key(study.toy):
            talk.print(f"{study.name}: measured before; undrift study {study.name} measures it again")
            continue
        try:
            result = study.run(lab)
        except Stopped as stop:
            talk.print(f"\nundrift: {stop}. Go on with the same command")
            raise KeyboardInterrupt from None
        image, numbers = record.save(result, out)
        print(*report.lines(result), sep="\n")
        print(f"{result.seconds:.0f} s; picture: {image}, all numbers: {numbers}")
    if arguments.report:
        _report(lab, out, page)


def _kind(arguments: argparse.Namespace) -> str:
    """The folder's name where none is given: by the data, and the papers' settings apart."""
    from undrift.run import Run

    if arguments.model is not None and (arguments.model / "config.yaml").is_file():
        kind = str(Run(arguments.model).recipe.data.get("kind", "digits"))
    else:
        kind = "digits" if arguments.data_dir is None else "mnist"
    return f"{kind}-paper" if arguments.paper_settings else kind


def _report(lab: StudyContext, out: Path, page: Path) -> None:
    """One page of all results of these settings that the folder holds."""
    from undrift.storage import write_text
    from undrift.study import Result, record, report
    from undrift.study.catalogue import STUDIES

    kept = [record.read(study.name, out) for study in STUDIES.values()]
    found: list[Result] = [r for r in kept if r is not None and r.key == lab.key(STUDIES[r.study].toy)]
    write_text(page, report.html_page(found))
    write_text(page.with_suffix(".md"), f"<!-- undrift study -->\n\n{report.markdown(found)}")
    print(report.counted(found))
    print(f"report: {page}, as Markdown: {page.with_suffix('.md')}")
