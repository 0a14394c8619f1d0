"""Build the book: `build.py book`, `build.py quick`, `build.py chapter NAME [name=value ...]`.
Execute once more and compare: `build.py again [NAME]`. As one PDF: `build.py pdf`.

Chapters to change: `build.py lab`. For a class: `build.py students`, `build.py slides [NAME]`,
`build.py homework NAME` and `build.py mark NAME NOTEBOOK`.
"""

from __future__ import annotations

import argparse
import sys
import time
from io import TextIOWrapper
from pathlib import Path

from builder import BuildError, paper
from builder.contents import find_chapter, read_contents
from builder.ending import ended_together
from builder.pages import decks
from builder.parameters import PROFILES, parse
from builder.pipeline import Book, build, build_chapter, execute_again, html_folder, last_built
from builder.record.provenance import duration
from builder.surroundings import settled
from builder.teaching import homework, lab, marking
from builder.teaching.numbers import places

ROOT = Path(__file__).resolve().parents[1]
BUILDING = ("book", "quick", "chapter", "students")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of few letters is no reason to fail
    try:
        with ended_together(), settled(options.root):
            return _carry_out(options)
    except BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        if options.command in BUILDING:
            print("\nThe last good book, if there is one, is untouched.", file=sys.stderr)
        return 1


def _lab(root: Path) -> int:
    try:
        notebooks = lab.of_site(last_built(root))
    except BuildError:
        notebooks = lab.of_sources(read_contents(root))
        print("No book is built yet: the chapters come as they are written, without outputs.")
    told = lab.fill(notebooks, root / "lab").lines()
    print(f"{root / 'lab'}: " + "\n".join(told))
    return 0


def _carry_out(options: argparse.Namespace) -> int:
    if options.command == "again":
        return _again(options)
    if options.command == "pdf":
        return _print(options)
    if options.command == "lab":
        return _lab(options.root.resolve())
    if options.command in ("slides", "homework", "mark"):
        return _teach(options)
    started = time.perf_counter()
    book = _run(options)
    count = len(book.executed)
    print(f"{count} executed, {duration(time.perf_counter() - started)} in all: {book.index}")
    return 0


def _run(options: argparse.Namespace) -> Book:
    if options.command == "chapter":
        return build_chapter(options.root, options.name, parse(options.values))
    if options.command == "students":
        return build(options.root, options.profile, options.workers, students=True)
    profile = "quick" if options.command == "quick" else "full"
    return build(options.root, profile, options.workers)


def _again(options: argparse.Namespace) -> int:
    """Execute once more and compare: 1 where something differs."""
    told = execute_again(options.root, options.profile, options.name, options.workers)
    print("\n".join(told) or "the same, byte for byte")
    return 1 if told else 0


def _print(options: argparse.Namespace) -> int:
    """The book that was built last, or the one of a kind, as a PDF."""
    root = options.root.resolve()
    html = html_folder(root, options.kind) if options.kind else last_built(root)
    documents = [chapter.document for chapter in read_contents(root)]
    print(f"{paper.write(html, documents, root / '_build' / 'book.pdf')}: {html}, printed")
    return 0


def _teach(options: argparse.Namespace) -> int:
    """Slides, homework to hand out, or the marks of one that came back: 1 where a check fails."""
    root = options.root.resolve()
    chapters = read_contents(root)
    if options.command == "slides":
        name = find_chapter(chapters, options.name).name if options.name else ""
        for deck in decks.carry(last_built(root), root / "_build" / "slides", name):
            print(deck)
        return 0
    chapter = find_chapter(chapters, options.name)
    if options.command == "homework":
        student, teacher = homework.write(
            chapter, root / "_build" / "homework", places(root, chapters)
        )
        print(f"to hand out:      {student}\nwith solutions:   {teacher}")
        return 0
    marks = marking.mark(chapter, options.notebook)
    print("\n".join(marks.lines()))
    return 0 if marks.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of _toc.yml")
    parser.add_argument("--workers", type=int, help="chapters executed at once; default: cores")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("book", help="everything at full size")
    commands.add_parser("quick", help="the same chapters, small")
    chapter = commands.add_parser("chapter", help="one chapter, with other parameters")
    chapter.add_argument("name")
    chapter.add_argument("values", nargs="*", metavar="name=value")
    again = commands.add_parser("again", help="execute once more from nothing, and compare")
    again.add_argument("name", nargs="?", default="")
    again.add_argument("--profile", default="full", choices=PROFILES)
    pdf = commands.add_parser("pdf", help="the book built last as one PDF")
    pdf.add_argument("kind", nargs="?", choices=("full", "quick", "students"))
    commands.add_parser("lab", help="the chapters as notebooks, to change")
    students = commands.add_parser("students", help="the book without solutions")
    students.add_argument("profile", nargs="?", default="full", choices=PROFILES)
    slides = commands.add_parser("slides", help="slides of the book built last, each in one file")
    slides.add_argument("name", nargs="?", default="")
    homework = commands.add_parser("homework", help="a chapter's exercises, to hand out")
    homework.add_argument("name")
    mark = commands.add_parser("mark", help="the checks of a homework that came back")
    mark.add_argument("name")
    mark.add_argument("notebook", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
