"""Does a built site ask for anything from outside? `python docs/offline.py build/docs` says what, and fails if so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_ASKED = re.compile(
    r"""<(?:link|script|img|iframe|source|audio|video)\b[^>]*?\b(?:src|href)=["']((?:https?:)?//[^"']+)["']""", re.I
)
_IMPORTED = re.compile(r"""(?:@import\s+|url\()["']?((?:https?:)?//[^"')]+)""", re.I)


def asked(folder: Path) -> list[str]:
    """`file: address` of everything that a page or a style sheet would fetch from elsewhere."""
    found = []
    for path in sorted(folder.rglob("*.html")):
        found += [f"{path.relative_to(folder)}: {address}" for address in _ASKED.findall(path.read_text(encoding="utf-8"))]
    for path in sorted(folder.rglob("*.css")):
        found += [f"{path.relative_to(folder)}: {address}" for address in _IMPORTED.findall(path.read_text(encoding="utf-8"))]
    return found


if __name__ == "__main__":
    outside = asked(Path(sys.argv[1]))
    print(*outside[:20], sep="\n")
    if outside:
        sys.exit(f"{len(outside)} things are asked for from outside")
