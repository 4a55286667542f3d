"""Sphinx: `sphinx-build docs build/docs` (pip install -e '.[docs]')."""

project = "undrift"
author = "The undrift maintainers"
extensions = ["myst_parser", "sphinxcontrib.katex", "sphinx_copybutton"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["pictures/make.py"]
html_theme = "furo"
html_title = "undrift"
# Links to source files and tests are for readers of the repository; Sphinx offers those files for download.
suppress_warnings = ["myst.xref_missing"]
