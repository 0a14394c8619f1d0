"""What a reader takes along: a chapter as a notebook that runs elsewhere, and the package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import papermill
import pytest
from bs4 import BeautifulSoup
from builder import BuildError
from builder.pages.downloads import build_wheel
from builder.pages.hosts import hosts, package
from builder.pages.portable import Places, citations, expand, plain, portable
from builder.pipeline import Book, build
from packaging.requirements import Requirement
from pybtex.database import parse_string

SMALL = "03_stein"
PLACES = Places(
    texts={"thm-01-x": "Theorem 1.1", "equation-eq-01-y": "(1.2)", "ex-01-z": "Exercise 1.3"},
    chapters={"03_stein": "chapter 3, Stein's lemma"},
    works={"a2020": "A et al., 2020", "b": "B, 1999"},
    claims={"01-c": {"verdict": "proved"}},
    macros={"R": r"\mathbb{R}", "E": [r"\mathbb{E}\left[#1\right]", 1]},
)


@pytest.mark.parametrize(
    ("myst", "shown"),
    [
        ("{eq}`eq-01-y` of {prf:ref}`thm-01-x`", "(1.2) of Theorem 1.1"),
        ("{doc}`03_stein`, {doc}`S <03_stein>`", "*chapter 3, Stein's lemma*, " * 2),
        ("{cite}`a2020,b` and {cite:t}`b`", "(A et al., 2020; B, 1999) and B, 1999"),
        ("{term}`starts <start>` of {term}`EM`", "starts of EM"),
        ("$$\nx\n$$ (eq-01-y)", "$$\nx\n\\tag{1.2} $$"),
        ("(sec-x)=\n## Head", "## Head"),
        (r'is {{ claims["01-c"].verdict.capitalize() }}', "is Proved"),
        (":::{prf:proof}\nSo.\n:::", "**Proof.**\n\nSo.\n∎"),
        (":::{prf:theorem} Name\n:label: thm-01-x\n\nTrue.\n:::", "**Theorem 1.1.** *Name*"),
        (":::{solution} ex-01-z\n:class: dropdown\nYes.\n:::", "**Solution of** Exercise 1.3"),
    ],
)
def test_myst_becomes_plain_markdown(myst: str, shown: str) -> None:
    assert plain(myst, PLACES).startswith(shown.rstrip(", "))
    assert "{" not in plain(myst, PLACES).replace("{1.2}", "")


def test_macros_are_written_out() -> None:
    assert expand(r"\E{x^{2}} \in \R, \Re \E x", PLACES.macros) == (
        r"\mathbb{E}\left[x^{2}\right] \in \mathbb{R}, \Re \mathbb{E}\left[x\right]"
    )


def test_works_are_cited_by_author_and_year() -> None:
    entry = "@article{{{}, author={{{}}}, year={{2020}}}}".format
    works = parse_string(entry("one", "Doe, J.") + entry("two", "Doe, J. and Roe, A."), "bibtex")
    assert citations(works) == {"one": "Doe, 2020", "two": "Doe and Roe, 2020"}


def test_a_portable_notebook_has_its_parameters_an_install_line_and_its_captions() -> None:
    figure = {"mystnb": {"figure": {"caption": "**Low.**", "name": "thm-01-x"}}}
    cells = [
        nbformat.v4.new_markdown_cell("# T"),
        nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("draw()", metadata=figure),
    ]
    made = portable(nbformat.v4.new_notebook(cells=cells), PLACES, "./p.whl[experiments]")
    nbformat.validate(made)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    assert '%pip install "./p.whl[experiments]"' in code[0]
    assert code[1:] == ["seed = 0", "draw()"]
    assert made.cells[-1].source == "*Theorem 1.1:* **Low.**"


def test_the_tables_of_the_book_and_their_provenance_travel_with_the_wheel(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    wheel = build_wheel(root, tmp_path)
    zipfile.ZipFile(tmp_path / wheel).extractall(tmp_path / "installed")
    code = (
        "from moe.experiments.real_data.data import FOLDER, SOURCES, load\n"
        "print(FOLDER, *(len(load(name).y) for name in SOURCES), sep='|')"
    )
    (elsewhere := tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, *rows = done.stdout.strip().split("|")
    assert Path(folder).is_relative_to(tmp_path) and rows == [
        *("150", "100", "201", "133", "1503", "1005")
    ]
    for file in (root / "book" / "data").glob("*.csv"):
        assert (Path(folder) / file.name).read_bytes() == file.read_bytes()
    assert "licence" in (Path(folder) / "README.md").read_text(encoding="utf-8")


def test_a_chapter_runs_in_a_fresh_folder_on_the_package_that_lies_beside_it(
    quick_book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = quick_book.index.parent / "_downloads"
    (wheel,) = downloads.glob("gated_experts-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    notebook = nbformat.read(downloads / f"{SMALL}.ipynb", as_version=4)
    everything = nbformat.writes(notebook)
    assert str(quick_book.index.parents[3]) not in everything, "a path of this machine"
    assert sum("parameters" in c.metadata.get("tags", []) for c in notebook.cells) == 1
    assert "injected-parameters" not in everything
    where = nbformat.v4.new_code_cell("import moe; print(moe.__file__)", id="where")
    notebook.cells.append(where)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("MOE_STORE", "MOE_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    (folder := tmp_path / "elsewhere").mkdir()
    ran = papermill.execute_notebook(
        notebook, None, kernel_name="python3", cwd=str(folder), progress_bar=False
    )
    assert str(tmp_path / "installed") + os.sep in ran.cells[-1].outputs[0].text


GITHUB = {"url": "https://github.com/some/where/", "branch": "main"}


def test_a_chapter_runs_from_the_repository_that_is_named_and_from_no_other() -> None:
    assert hosts(GITHUB, "05_landscape") == {
        "Binder": "https://mybinder.org/v2/gh/some/where/main"
        "?urlpath=lab%2Ftree%2Fbook%2F05_landscape.md",
        "Colab": "https://colab.research.google.com/github/some/where/blob/gh-pages"
        "/_downloads/05_landscape.ipynb",
    }
    gitlab = hosts({"url": "https://gitlab.com/some/where"}, "x")
    assert list(gitlab) == ["Binder"] and "/gl/some%2Fwhere/main?" in gitlab["Binder"]
    assert hosts({"url": ""}, "x") == hosts({}, "x") == {}
    with pytest.raises(BuildError, match=r"repository\.url: expected GitHub or GitLab"):
        hosts({"url": "https://example.org/some/where"}, "x")


def test_elsewhere_the_package_comes_from_the_repository_else_from_beside() -> None:
    wheel = "gated_experts-0.1.0-py3-none-any.whl"
    asked = package(GITHUB, wheel)
    assert asked == "gated-experts[experiments] @ git+https://github.com/some/where@main"
    assert Requirement(asked).name == "gated-experts"
    assert package({"url": ""}, wheel) == f"./{wheel}[experiments]"
    assert package(GITHUB, "") == ""


def test_a_page_links_to_hosts_only_if_a_repository_is_set(tiny: Path) -> None:
    """And none of the students' edition, since the hosts show solutions."""
    page = tiny / "_build" / "quick" / "html" / "book" / "one.html"
    assert "Run on" not in page.read_text(encoding="utf-8")
    config = tiny / "_config.yml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('url: ""', "url: https://github.com/some/where"))
    assert build(tiny, "quick").executed == ()
    shown = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    links = {str(a["href"]): a.get_text().strip() for a in shown.select("a.dropdown-item")}
    for host, address in hosts(GITHUB, "one").items():
        assert links[address] == f"Run on {host}"
    students = build(tiny, "quick", students=True).index.parent / "book" / "one.html"
    assert "Run on" not in students.read_text(encoding="utf-8")
