"""The ledger: what chapters claimed, from executed notebooks to boxes, tables and verdicts."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import nbformat
from nbformat import NotebookNode

from builder.contents import Chapter
from moe.experiments.common.ledger import MIME, SOURCES, UNTRIED, VERDICTS, sentence

Record = dict[str, Any]
UNSEEN = "not executed yet"


def collect(notebook: NotebookNode) -> list[Record]:
    """Take the records out of the outputs of an executed notebook; each learns its cell's id."""
    found: list[Record] = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        ours = [o for o in outputs if MIME in o.get("data", {})]
        found += [dict(output["data"][MIME], cell=cell["id"]) for output in ours]
        if ours:
            cell["outputs"] = [output for output in outputs if output not in ours]
    return found


def declared(chapter: Chapter) -> list[str]:
    """The identities of the claims that a chapter's cells make, executed or not, in order."""
    found: list[str] = []
    for source in chapter.code_cells():
        for node in ast.walk(ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "claim":
                first = node.args[0] if node.args else node
                literal = isinstance(first, ast.Constant)
                found.append(str(ast.literal_eval(first)) if literal else ast.unparse(node))
    return found


def insert_boxes(notebook: NotebookNode) -> None:
    """After each cell that claims something, a box that says what; the ledger links to it."""
    records: list[Record] = notebook.metadata.get("claims", [])
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        cells.append(cell)
        lines = [line for record in records if record["cell"] == cell["id"] for line in box(record)]
        if lines:
            text = "\n".join([":::{div} claims", *lines, ":::"])
            cells.append(nbformat.v4.new_markdown_cell(text, id=f"claims-{cell['id']}"[:64]))
    notebook.cells = cells


def box(record: Record) -> list[str]:
    """A claim as a paragraph with a label."""
    text = sentence(record["statement"], mark(record), verdict(record), came(record))
    return [f"(claim-{record['identity']})=", f"**Claim.** {text}", ""]


def verdict(record: Record) -> str:
    return str(record["verdict"] if record["tried"] else UNTRIED)


def mark(record: Record) -> str:
    return _shown(str(record["source"]))


def _shown(source: str) -> str:
    return source.replace("slides", "authors' slides").replace("derived", "derived here")


def came(record: Record) -> str:
    return "; ".join(filter(None, [record["value"], record["finding"]]))


def ledger(chapters: Sequence[Chapter], claims: Mapping[str, list[Record]]) -> list[Record]:
    """Every claim of the book in order, those of chapters that were not executed among them."""
    rows: list[Record] = []
    for chapter in chapters:
        if chapter.name in claims:
            rows += [dict(record, chapter=chapter.document) for record in claims[chapter.name]]
        elif chapter.is_notebook:
            rows += [_unseen(identity, chapter) for identity in declared(chapter)]
    return rows


def _unseen(identity: str, chapter: Chapter) -> Record:
    blank = dict.fromkeys(("statement", "source", "value", "finding"), "")
    return {
        "identity": identity,
        "chapter": chapter.document,
        "verdict": UNSEEN,
        "tried": True,
    } | blank


def problems(rows: Sequence[Record]) -> list[str]:
    """Identities that come twice, or that do not begin with their chapter's number."""
    twice = [i for i, count in Counter(row["identity"] for row in rows).items() if count > 1]
    found = [f"two claims are called {identity}" for identity in twice]
    for row in rows:
        number = row["chapter"].rpartition("/")[2][:2]
        if number.isdigit() and row["identity"][:2] != number:
            found.append(f"{row['chapter']}.md: the claim {row['identity']} is another chapter's")
    return found


def counts(rows: Sequence[Record]) -> str:
    """How many claims came to which verdict, and who says them first, as a Markdown table.

    Who: the first of a claim's marks in the order of SOURCES; a claim of the paper that was
    derived again counts as the paper's.
    """
    seen = [(_who(row), verdict(row)) for row in rows if row["source"]]
    who = [source for source in SOURCES if any(source == s for s, _ in seen)]
    lines = [_row("outcome", *map(_shown, who), "all"), _row("---", *["---:"] * (len(who) + 1))]
    for outcome in (*VERDICTS, UNTRIED):
        own = [source for source, came in seen if came == outcome]
        if own:
            lines.append(_row(outcome, *(own.count(source) or "" for source in who), len(own)))
    totals = (f"**{sum(s == source for s, _ in seen)}**" for source in who)
    return "\n".join([*lines, _row("**all**", *totals, f"**{len(seen)}**")]) + "\n"


def _who(row: Record) -> str:
    return str(min(row["source"].split(", "), key=list(SOURCES).index))


def tables(rows: Sequence[Record], titles: Mapping[str, str]) -> str:
    """One table a chapter: the statement, with a link to its cell; the source; what came of it."""
    return "\n".join(_tables(rows, titles)) or "No chapter has been executed yet.\n"


def _tables(rows: Sequence[Record], titles: Mapping[str, str]) -> Iterator[str]:
    for document in dict.fromkeys(row["chapter"] for row in rows):
        yield f"## {titles[document]}\n\nThe chapter: {{doc}}`/{document}`.\n"
        yield "| Statement | Source | Outcome | Where |\n|---|---|---|---|"
        for row in rows:
            if row["chapter"] != document:
                continue
            if verdict(row) == UNSEEN:
                yield _row(f"`{row['identity']}`", "", UNSEEN, "")
                continue
            outcome = f"**{verdict(row).capitalize()}**" + (came(row) and f": {came(row)}")
            link = f"{{ref}}`cell <claim-{row['identity']}>`"
            yield _row(row["statement"], mark(row), outcome, link)
        yield ""


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def substitutions(rows: Sequence[Record]) -> dict[str, dict[str, str]]:
    """What a page may quote: `{{ claims["05-landscape"].verdict }}`, `.value`, `.statement`."""
    return {
        row["identity"]: {
            "verdict": verdict(row),
            "value": str(row["value"]),
            "statement": str(row["statement"]),
        }
        for row in rows
    }


def as_json(rows: Sequence[Record], made: Mapping[str, Mapping[str, Any]]) -> str:
    """`claims.json`: the ledger and how each chapter was run."""
    fields = ("identity", "chapter", "statement", "source", "verdict", "tried", "value", "finding")
    runs = {
        document: {key: provenance[key] for key in ("parameters", "versions")}
        for document, provenance in made.items()
    }
    data = {"claims": [{f: row[f] for f in fields} for row in rows], "runs": runs}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
