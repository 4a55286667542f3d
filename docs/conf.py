"""Sphinx: `make docs` builds the site into build/docs. Nothing is asked from outside: KaTeX and its fonts lie in _static."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import api

project = "undrift"
author = "The undrift maintainers"
copyright = "2026, The undrift maintainers"
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinxcontrib.katex", "sphinx_copybutton",
]  # fmt: skip
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "undrift"
html_static_path = ["_static"]
html_show_sphinx = False
katex_css_path = "katex/katex.min.css"
katex_prerender = False
python_maximum_signature_line_length = 100
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = r">>> |\$ "
copybutton_prompt_is_regexp = True
# Links to source files and tests are for readers of the repository; Sphinx offers those files for download.
suppress_warnings = ["myst.xref_missing"]

SECTIONS = ("Args", "Returns", "Raises", "Yields", "Attributes", "Example", "Examples", "Source", "Note")
_HEAD = re.compile(rf"^({'|'.join(SECTIONS)}):\s*$")


def as_rst(app, what, name, obj, options, lines):
    """Docstrings are written to be read in an editor: their code marks, stars and bars are made what they look like."""
    found, section, literal = [], "", False
    for line in lines:
        if match := _HEAD.match(line):
            section, literal = match[1], False
        elif section and line and not line.startswith(" "):
            section = ""
        if section.startswith("Example"):
            found.append(line)
            continue
        inset = not section and line.startswith("    ")
        if inset and not literal:
            found += ["", "::", ""]
        elif literal and line and not inset:
            found.append("")
        literal = inset or (literal and not line)
        found.append(line if inset else marked(line))
    lines[:] = found


def marked(line):
    """A line of prose: single backquotes are code, everything else is itself."""
    pieces = re.split(r"(`+[^`]+`+)", line)
    found = ""
    for piece, after in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece.startswith("`"):
            found += f"``{piece.strip('`')}``" + "\\ " * bool(re.match(r"\w", after))
        else:
            found += re.sub(r"(\w)_(?=[\s,.;:)]|$)", r"\1\\_", re.sub(r"([*|\\])", r"\\\1", piece))
    return found


def setup(app):
    api.write(Path(__file__).resolve().parent / "api")
    app.connect("autodoc-process-docstring", as_rst, priority=400)
