"""The shape of every chapter, and that its stored outputs can be compared."""

import ast
import importlib
import inspect
import re
import statistics
import textwrap
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from bncourse.exercises import chapters

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
CHAPTERS = sorted(path.stem for path in BOOK.glob("*.ipynb"))
each_chapter = pytest.mark.parametrize("name", CHAPTERS)


def read(name):
    return nbformat.read(BOOK / f"{name}.ipynb", as_version=4)


def cells(name, kind):
    return [cell for cell in read(name).cells if cell.cell_type == kind]


def checks(name):
    return importlib.import_module(f"bncourse.exercises.{name}").check


def stubs(name):
    """Definitions in the notebook that share a name with an exercise of the chapter."""
    names = {exercise.name for exercise in checks(name)}
    found = {}
    for cell in cells(name, "code"):
        if "%" in cell.source:
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
                assert node.name not in found, f"{node.name} is defined twice"
                found[node.name] = (node, cell)
    return found


def test_every_notebook_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for chapter in toc["chapters"]]
    assert "book/solutions" in files
    assert (
        sorted(f.removeprefix("book/") for f in files if (ROOT / f"{f}.ipynb").exists()) == CHAPTERS
    )
    assert CHAPTERS


@each_chapter
def test_it_was_executed_top_to_bottom(name):
    counts = [cell.execution_count for cell in cells(name, "code")]
    assert counts == list(range(1, len(counts) + 1))


@each_chapter
def test_its_outputs_are_clean(name):
    for cell in cells(name, "code"):
        assert not cell.source.rstrip().endswith(";"), cell.source
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", output
            assert "image/svg+xml" not in output.get("data", {})


@each_chapter
def test_it_has_the_shape_of_a_chapter(name):
    heads = [h for c in cells(name, "markdown") for h in re.findall(r"^#+ .*$", c.source, re.M)]
    assert [h for h in heads if h.startswith("# ")] == heads[:1] and heads[0].endswith("?")
    order = ["## The question", "## Prediction", "## Experiment", "## Verdict", "## Summary"]
    places = [next(i for i, h in enumerate(heads) if h.startswith(part)) for part in order]
    assert places == sorted(places)
    assert not [h for h in heads[places[-1] + 1 :]], "the summary closes the chapter"
    last = cells(name, "markdown")[-1].source.splitlines()[-1]
    assert last.startswith("Next question:") and last.endswith("?")
    table = cells(name, "markdown")[0].source
    assert all(word in table for word in ("Time", "You need", "Afterwards you can"))


@each_chapter
def test_its_sizes_are_those_of_a_chapter(name):
    code = [len(cell.source.splitlines()) for cell in cells(name, "code")]
    assert max(code) <= 20 and statistics.median(code) <= 10
    words = sum(len(cell.source.split()) for cell in cells(name, "markdown"))
    assert 1200 <= words <= 2500
    assert (BOOK / f"{name}.ipynb").stat().st_size < 600_000


@each_chapter
def test_figures_say_what_they_show(name):
    for cell in cells(name, "code"):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 15, f"no alt text: {cell.source[:60]}"


@each_chapter
def test_the_setup_cell_is_the_same_everywhere(name):
    first = cells(name, "code")[0]
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    assert first.source == cells(CHAPTERS[0], "code")[0].source
    assert f'%pip install -q "bncourse @ git+{url}@main"' in first.source
    assert first.metadata["tags"] == ["remove-cell"] and not first.outputs


@each_chapter
def test_it_renders_in_plain_jupyter(name):
    for cell in cells(name, "markdown"):
        assert ":::" not in cell.source and "```{" not in cell.source
        assert not re.search(r"\{(ref|numref|eq|cite|term|doc)\}`", cell.source)


@each_chapter
def test_stub_and_check_agree(name):
    found = stubs(name)
    assert set(found) == {exercise.name for exercise in checks(name)} and len(found) >= 2
    for exercise in checks(name):
        node, cell = found[exercise.name]
        assert ast.get_docstring(node) == inspect.getdoc(exercise.solution)
        assert f"check.{exercise.name}({exercise.name})" in cell.source
        if isinstance(node, ast.FunctionDef):
            space = {}
            exec(compile(ast.Module([node], []), "stub", "exec"), space)
            assert inspect.signature(space[node.name]) == inspect.signature(exercise.solution)


@each_chapter
def test_the_blank_notebook_leaks_no_solution_line(name):
    text = {line.strip() for cell in read(name).cells for line in cell.source.splitlines()}
    for exercise in checks(name):
        node = ast.parse(textwrap.dedent(inspect.getsource(exercise.solution))).body[0]
        for statement in node.body[1:]:
            for line in ast.unparse(statement).splitlines():
                assert line.strip() not in text, f"{exercise.name}: {line}"


@each_chapter
def test_the_notebook_with_solutions_passes_every_check(name, tmp_path):
    notebook = read(name)
    for exercise in checks(name):
        source = inspect.getsource(exercise.solution)
        call = f"assert check.{exercise.name}({exercise.name}).passed"
        (cell,) = [
            c for c in notebook.cells if f"check.{exercise.name}({exercise.name})" in c.source
        ]
        cell.source = f"{source}\n\n{call}"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_the_page_of_solutions_is_the_source_of_the_checks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import solutions

    assert solutions.PAGE.read_text(encoding="utf-8") == solutions.page(), "run `make refresh`"
    for checks in chapters().values():
        for exercise in checks:
            assert exercise.source().rstrip() in solutions.page()
