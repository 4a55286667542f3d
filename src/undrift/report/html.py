"""An HTML sheet that needs nothing beside itself: its style, tables, and pictures inside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top }
thead th { border-bottom: 1px solid #888 } tbody tr { border-bottom: 1px solid #ddd } td.n { font-variant-numeric: tabular-nums }
.worse { color: #a02000; font-weight: 600 } .beyond { color: #7a4a00; font-weight: 600 }
.careful { background: #fff4d6; padding: .5rem 1rem }
small { color: #555 } img { max-width: 100%; image-rendering: pixelated } pre { overflow-x: auto }
"""


def document(title: str, body: Sequence[str], by: str) -> str:
    """The page, without scripts; `title` is plain text, `body` HTML, `by` the command that writes it."""
    head = (
        f'<meta charset="utf-8"><meta name="generator" content="{by}"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], raw: bool = False) -> str:
    """A table of plain text, or with `raw` of HTML."""

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag} class=n>{c if raw else html.escape(c)}</{tag}>" for c in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def figure(image: Image.Image, caption: str) -> str:
    """A picture with what is written below it, the picture inside."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    text, data = html.escape(caption), base64.b64encode(buffer.getvalue()).decode()
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption><small>{text}</small></figcaption></figure>'
