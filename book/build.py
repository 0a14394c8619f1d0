"""Build the book: `build.py book`, `build.py quick`, `build.py chapter NAME [name=value ...]`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from builder import BuildError
from builder.parameters import parse
from builder.pipeline import Book, build, build_chapter
from builder.provenance import duration

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    started = time.perf_counter()
    try:
        book = _run(options)
    except BuildError as error:
        print(f"\n{error}\n\nThe last good book, if there is one, is untouched.", file=sys.stderr)
        return 1
    count = len(book.executed)
    print(f"{count} executed, {duration(time.perf_counter() - started)} in all: {book.index}")
    return 0


def _run(options: argparse.Namespace) -> Book:
    if options.command == "chapter":
        return build_chapter(options.root, options.name, parse(options.values))
    profile = "quick" if options.command == "quick" else "full"
    return build(options.root, profile, options.workers)


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
    return parser


if __name__ == "__main__":
    sys.exit(main())
