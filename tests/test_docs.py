"""The docs keep their word: their code runs, their links lead somewhere, the functions and tests that they name exist."""

import ast
import codeop
import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

from undrift.study.catalogue import STUDIES

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
PICTURE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.M | re.S)


def blocks(page):
    """`(first line, code)` of the Python blocks that are to be run: all but those marked `python no-run`."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        if match["info"].strip() == "python":
            yield text[: match.start("code")].count("\n"), match["code"]


def prose(page):
    return FENCE.sub("", page.read_text())


def defined(path):
    """Names of the functions, classes, methods (`Class.method`) and constants of a Python file."""
    found = set()

    def visit(body, prefix):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(prefix + t.id for t in targets if isinstance(t, ast.Name))

    visit(ast.parse(path.read_text()).body, "")
    return found


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def broken(page):
    """What is wrong with the links of a page, one line each."""
    wrong = []
    for match in [*LINK.finditer(prose(page)), *PICTURE.finditer(prose(page))]:
        target, _, anchor = match["target"].partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            wrong.append(f"{page.name}: {match['target']} does not exist")
        elif path.suffix == ".md" and anchor and anchor not in anchors(path):
            wrong.append(f"{page.name}: {path.name} has no heading #{anchor}")
        elif path.suffix == ".py" and match["text"].startswith("`") and match["text"].strip("`") not in defined(path):
            wrong.append(f"{page.name}: {path.name} does not define {match['text']}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_code_of_the_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"docs.{page.stem}"}
    monkeypatch.setitem(__import__("sys").modules, namespace["__name__"], type(ast)(namespace["__name__"]))
    for line, code in blocks(page):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile("\n" * line + code, str(page), "exec"), namespace)


def typed(code):
    """Compile a block as a prompt does, a line at a time, where an empty line ends what is indented; the lines that it refuses."""
    waiting, refused = [], []
    for line in [*code.splitlines(), ""]:
        waiting.append(line)
        try:
            if codeop.compile_command("\n".join(waiting), "page", "single") is not None:
                waiting = []
        except SyntaxError:
            refused.append(line)
            waiting = []
    return refused


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda p: p.stem)
def test_the_code_of_the_pages_can_be_pasted_at_a_prompt(page):
    assert {line: typed(code) for line, code in blocks(page) if typed(code)} == {}


def test_the_prompt_notices():
    assert typed("class A:\n    x = 1\n\n    y = 2\n") == ["    y = 2"]
    assert typed("for i in (1, 2):\n    print(i)\nprint(3)\n") == ["print(3)"]
    assert typed("f(1,\n  2)\nif x:\n    a\nelse:\n    b\n\nc\n") == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links(page):
    assert not broken(page)


def test_the_link_check_notices(tmp_path):
    (tmp_path / "a.py").write_text("class A:\n    def f(self): ...\n")
    page = tmp_path / "p.md"
    page.write_text("# Top\n[`A.f`](a.py) [`A.g`](a.py) [x](gone.md) [y](p.md#top) [z](p.md#bottom) ![](no.png)\n")
    assert [w.split(": ")[1].split()[0] for w in broken(page)] == ["a.py", "gone.md", "p.md", "no.png"]


def test_every_erratum_names_its_test():
    """Each row of the errata has a check or says that it is notation; and every test of the errata is named by a row."""
    text = (DOCS / "errata.md").read_text()
    rows = [line for line in text.split("## 000")[1].split("## What")[0].splitlines() if line.startswith("| ")]
    rows = [r for r in rows if not r.startswith("| place")]
    assert len(rows) >= 42
    assert all("`test_" in row or "notation" in row for row in rows)
    tests = {name for name in defined(DOCS.parent / "tests/theory/test_errata.py") if name.startswith("test_")}
    assert not tests - set(re.findall(r"`(test_\w+)`", text))


def coverage():
    spec = importlib.util.spec_from_file_location("coverage_table", DOCS / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_coverage_table_is_whole_and_its_page_is_its_own():
    """Each id once, in order, no row empty; that its files, names, tests and studies exist is `test_links` of the page."""
    table = coverage()
    rows = table.rows()
    assert [r.key for r in rows] == [f"{f}{k}" for f, (_, n) in table.FAMILIES.items() for k in range(1, n + 1)]
    assert all(r.what and r.places and r.proofs and all(r.places) and all(r.proofs) for r in rows)
    tests = {
        path.relative_to(DOCS.parent / "tests").as_posix(): defined(path) for path in (DOCS.parent / "tests").rglob("test_*.py")
    }
    for row in rows:
        for proof in row.proofs:
            file, _, name = proof.partition(":")
            assert name in tests[file] if name else proof in STUDIES, f"{row.key}: {proof}"
    assert (DOCS / "coverage.md").read_text() == table.page(), "run python docs/coverage.py"


def test_every_study_has_its_section_with_its_picture():
    page = DOCS / "studies.md"
    assert {*STUDIES} <= anchors(page)
    assert {f"pictures/studies/{name}.png" for name in STUDIES} <= {m["target"] for m in PICTURE.finditer(page.read_text())}


def test_every_picture_is_shown_and_small():
    shown = {"pictures/mnist.png"} | {m["target"] for page in PAGES for m in PICTURE.finditer(page.read_text())}
    for picture in (DOCS / "pictures").rglob("*.png"):
        assert picture.relative_to(DOCS).as_posix() in shown
        assert picture.stat().st_size < (60_000 if picture.name != "mnist.png" else 160_000)  # the README's


def test_the_page_of_recipe_keys_is_its_own_and_every_key_has_a_sentence():
    spec = importlib.util.spec_from_file_location("recipe_keys", DOCS / "recipe_keys.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "recipe_keys.md").read_text() == module.page(), "run python docs/recipe_keys.py"
    assert [row for rows in module.every().values() for row in rows if not row[3]] == []
