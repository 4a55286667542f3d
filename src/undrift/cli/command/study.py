"""`undrift study`."""

from __future__ import annotations

import argparse
from pathlib import Path

from undrift.cli.shared import check_outputs, console, free, usual_place
from undrift.error import DataError, OutputError
from undrift.recipe.recipe import read_recipe
from undrift.storage import write_text
from undrift.study import Result, StudyContext, record, report
from undrift.study.catalogue import STUDIES, named
from undrift.training.session import Stopped


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift study list | NAME | all`."""
    if arguments.name == "list":
        print(*report.listed(), sep="\n")
        return
    studies = named(arguments.name)
    if arguments.data_dir is not None and not Path(arguments.data_dir).is_dir():
        raise DataError(f"{arguments.data_dir}: no such folder; --data-dir is the folder with the four IDX files of MNIST")
    out = arguments.out or Path("runs/studies") / _kind(arguments)
    for path in (out / f"{study.name}{kind}" for study in studies for kind in (".json", ".png")):
        if not free(path, "study"):
            raise OutputError(f"{path} is where the result of the study goes, but undrift did not write it; choose another --out")
    page = usual_place(arguments, out / "report.html", ".md")
    check_outputs(arguments, (page, ".html"), (page.with_suffix(".md"), ".md"))
    talk = console()
    lab = StudyContext(out, arguments.data_dir, arguments.paper_settings, arguments.model, console=talk, tell=talk.print)
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
    if arguments.model is not None and (arguments.model / "config.yaml").is_file():
        kind = str(read_recipe(arguments.model / "config.yaml").data.get("kind", "digits"))
    else:
        kind = "digits" if arguments.data_dir is None else "mnist"
    return f"{kind}-paper" if arguments.paper_settings else kind


def _report(lab: StudyContext, out: Path, page: Path) -> None:
    """One page of all results of these settings that the folder holds."""
    kept = [record.read(study.name, out) for study in STUDIES.values()]
    found: list[Result] = [r for r in kept if r is not None and r.key == lab.key(STUDIES[r.study].toy)]
    write_text(page, report.html_page(found))
    write_text(page.with_suffix(".md"), f"<!-- undrift study -->\n\n{report.markdown(found)}")
    print(report.counted(found))
    print(f"report: {page}, as Markdown: {page.with_suffix('.md')}")
