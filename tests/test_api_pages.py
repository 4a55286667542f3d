"""The API reference: every public name is on one page, and a built site would ask for nothing from outside."""

import importlib.util
import inspect
from pathlib import Path

import undrift as ud

DOCS = Path(__file__).resolve().parents[1] / "docs"


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_on_one_page(tmp_path):
    api = script("api")
    names = [name for _, group in api.GROUPS.values() for name in group.split()]
    public = [name for name in ud.__all__ if not inspect.ismodule(getattr(ud, name))]
    assert sorted(names) == sorted(public)
    api.write(tmp_path)
    pages = {path.stem: path.read_text() for path in tmp_path.iterdir()}
    assert ".. autofunction:: undrift.fit" in pages["verbs"] and ".. autoclass:: undrift.VP" in pages["processes"]
    assert all(page in pages["index"] for page in pages if page != "index")


def test_what_is_asked_from_outside_is_noticed(tmp_path):
    offline = script("offline")
    (tmp_path / "a.html").write_text('<a href="https://x.org">a link is no request</a><img src="pictures/a.png">')
    assert offline.asked(tmp_path) == []
    (tmp_path / "b.html").write_text(
        '<link rel="stylesheet" href="https://cdn.org/katex.css"><script src="//cdn.org/a.js"></script>'
    )
    (tmp_path / "c.css").write_text("@import 'https://fonts.org/x'; a {background: url(https://x.org/y.png)}")
    assert len(offline.asked(tmp_path)) == 4


def test_every_page_is_in_one_group():
    index = (DOCS / "index.md").read_text()
    listed = [
        line for block in index.split("```{toctree}")[1:] for line in block.split("```")[0].split() if not line.startswith(":")
    ]
    captions = [line for line in index.splitlines() if line.startswith(":caption:")]
    assert captions == [":caption: Start", ":caption: Use", ":caption: Understand", ":caption: Extend"]
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert pages <= {*listed}
