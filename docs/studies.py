"""docs/studies.md from results: `python docs/studies.py OUT [PAGE]`, OUT being the folder of `undrift study all`.

What stands above the mark on the page is written by hand and stays. PAGE is the page's name where it is another one, such as
studies_mnist; its pictures go to pictures/PAGE.
"""

from __future__ import annotations

import sys
from pathlib import Path

from undrift.plot.picture import save_image
from undrift.study import record, report
from undrift.study.catalogue import STUDIES
from undrift.study.figure import few_colours

HERE = Path(__file__).resolve().parent
MARK = "<!-- measured: written by docs/studies.py -->"


def main(out: Path, name: str = "studies") -> None:
    found = [r for r in (record.read(study, out) for study in STUDIES) if r is not None]
    page, pictures = HERE / f"{name}.md", HERE / "pictures" / name
    head = page.read_text(encoding="utf-8").partition(MARK)[0] if page.exists() else f"# The papers' experiments: {out.name}\n\n"
    page.write_text(f"{head}{MARK}\n\n{report.markdown(found, f'pictures/{name}/')}", encoding="utf-8")
    for result in found:
        save_image(few_colours(result.figure), pictures / f"{result.study}.png")
    print(f"{page}: {report.counted(found)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
