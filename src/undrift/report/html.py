"""Pages of HTML that need nothing beside themselves: made from templates in which whatever is put in is escaped.

A template is a file in `templates` that extends `base.html`, which brings the style; `macros.html` has tables and pictures. Pages
hold no script and ask nothing from outside. Jinja2 is imported when the first page is made.
"""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from undrift import __version__

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """The page that a template makes of values.

    Args:
        template: The name of its file, such as `study.html`.
        values: What the template names. Text is text, also where it looks like HTML; pictures are shown by the macro `figure`.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("undrift.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    found.filters["embedded"] = embedded
    found.globals["version"] = __version__
    return found


def embedded(image: Image.Image) -> str:
    """A picture as the address of an `img`: a PNG, inside the page."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
