"""Shows results of studies: as lines for a terminal, as one HTML page, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.report.html import render
from undrift.study.base import MISPRINT, OURS, PAPER, VERDICTS, Finding, Result, Study
from undrift.study.catalogue import OUT_OF_REACH, STUDIES


def listed() -> list[str]:
    """The list of studies, one line each, and what is out of reach."""
    wide = max(map(len, STUDIES))
    lines = []
    for study in STUDIES.values():
        ids = f" [{', '.join(study.covers)}]" if study.covers else ""
        lines.append(f"{study.name:{wide}}  {study.title} ({study.source}){ids}{'' if study.toy else ' *'}")
    lines += ["* samples a model of digits, trained at the first study that wants it", "", "out of reach:"]
    return lines + [f"{name:{wide}}  {reason}" for name, reason in OUT_OF_REACH.items()]


def lines(result: Result) -> list[str]:
    """One result for a terminal."""
    study = STUDIES[result.study]
    said = [f"{study.name}: {study.title} (paper {study.paper}, {study.source}); {result.settings}"]
    for f in result.findings:
        whose = {PAPER: "paper", MISPRINT: "print", OURS: "asked"}[f.kind]
        said += [f"  {f.verdict:12}  {whose}: {f.says}", f"{'':14}  ours:  {f.ours}", f"{'':14}  wanted: {f.wanted}"]
        said += [f"{'':14}  why:   {f.why}"] if f.why else []
    widths = [max(map(len, column)) for column in zip(*result.table, strict=True)]
    said += ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in result.table]
    return said


def counted(results: Sequence[Result]) -> str:
    """How many claims hold, in one sentence."""
    minutes = sum(r.seconds for r in results) / 60
    return f"{len(results)} studies in {minutes:.0f} minutes. " + "; ".join(
        f"{len(found)} {what}: " + ", ".join(f"{found.count(word)} {word}" for word in VERDICTS.values())
        for kind, what in KINDS.items()
        if (found := [f.verdict for r in results for f in r.findings if f.kind == kind])
    )


KINDS = {
    PAPER: "claims of the papers",
    MISPRINT: "formulas and algorithms as misprinted, which should differ",
    OURS: "questions of our own",
}
_HEAD = ("study", "what", "holds", "within error", "differs", "and apart", "seconds", "of the processor")
_CLAIMS = ("what is said", "where", "wanted", "ours", "verdict")


def _overview(results: Sequence[Result]) -> list[list[str]]:
    rows = []
    for r in results:
        verdicts = [f.verdict for f in r.findings if f.kind == PAPER]
        rows.append(
            [
                r.study,
                STUDIES[r.study].title,
                *(str(verdicts.count(w) or "") for w in VERDICTS.values()),
                _others(r),
                f"{r.seconds:.0f}",
                f"{r.processor:.0f}",
            ]
        )
    return rows


def _others(result: Result) -> str:
    """Misprints and questions of our own, in a few words."""
    counts = {kind: sum(f.kind == kind for f in result.findings) for kind in (MISPRINT, OURS)}
    return ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items() if n)


def said_by(finding: Finding) -> str:
    """The claim, with whose it is where it is not the paper's."""
    return {MISPRINT: "misprint: ", OURS: "our question: "}.get(finding.kind, "") + finding.says


def _models(results: Sequence[Result]) -> list[str]:
    return sorted({model for r in results for model in r.models})


def html_page(results: Sequence[Result]) -> str:
    """Everything on one page that needs nothing beside itself."""
    return render(
        "study.html",
        counted=counted(results),
        overview=[_HEAD, *_overview(results)],
        models=_models(results),
        claims=_CLAIMS,
        said=said_by,
        studies=[(r, STUDIES[r.study], _source(STUDIES[r.study])) for r in results],
        out_of_reach=OUT_OF_REACH.items(),
    )


def markdown(results: Sequence[Result], pictures: str = "") -> str:
    """The same as Markdown; pictures are at `pictures` + NAME.png."""
    body = [f"{counted(results)}.", "", *_grid([list(_HEAD), *_overview(results)]), ""]
    if models := _models(results):
        body += ["Models:", "", *(f"- {model}" for model in models), ""]
    for r in results:
        study = STUDIES[r.study]
        body += [f"### {study.name}", "", f"{_source(study)} {r.settings[0].upper()}{r.settings[1:]}, {r.seconds:.0f} s.", ""]
        body += [f"![{study.caption}]({pictures}{study.name}.png)", "", f"*{study.caption}*", ""]
        rows = [
            [said_by(f), f.where, f.wanted, f.ours, f"**{f.verdict}**" if f.verdict == "differs" else f.verdict]
            for f in r.findings
        ]
        body += [*_grid([list(_CLAIMS), *rows]), ""]
        whys = [f"- {f.says}: {f.why}." for f in r.findings if f.why]
        body += (["Where we differ, and why:", "", *whys, ""] if whys else []) + ([*_grid(r.table), ""] if r.table else [])
    body += ["## Out of reach", "", *_grid([["", "why"], *(list(item) for item in OUT_OF_REACH.items())])]
    return "\n".join(body) + "\n"


def _source(study: Study) -> str:
    ids = f" ({', '.join(study.covers)})" if study.covers else ""
    return f"{study.title}: paper {study.paper}, {study.source}{ids}."


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [text[0], "|" + "---|" * len(rows[0]), *text[1:]]
