"""What a link leads to, to be shown beside it: equations, statements and terms of the glossary.

What lies on the same page the browser copies; of other pages' equations and statements, and of all
terms, the page holds a copy in a ``<template>``, with its mathematics. sphinx-tippy would keep them
as strings of TeX in scripts, for MathJax to set in the browser; these pages load no MathJax.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from builder.pages.held import without_code

_LINKS = "article a.internal[href*='#']"
_TARGETS = "div.math[id], div.proof[id]"
_TERMS = "dl.glossary > dt[id]"
_NO_PREVIEW = {"proof"}
"""The class of the box alone says that it is a proof: theorems have a second one."""


@dataclass(frozen=True)
class Place:
    """A page, as its path below the HTML with slashes, and an id on it."""

    page: str
    identity: str

    @property
    def template(self) -> str:
        """The id of its copy on another page."""
        return f"preview-{self.page.rpartition('/')[2].removesuffix('.html')}-{self.identity}"


def collect(html: Path, paths: Iterable[Path]) -> dict[Place, str]:
    """Everything on these pages, whose mathematics is still TeX, that a link can show."""
    found = dict[Place, str]()
    for path in paths:
        text, put_back = without_code(path.read_text(encoding="utf-8"))
        page = path.relative_to(html).as_posix()
        for identity, shown in _shown(BeautifulSoup(text, "html.parser")):
            found[Place(page, identity)] = put_back(shown)
    return found


def _shown(soup: BeautifulSoup) -> Iterator[tuple[str, str]]:
    for target in soup.select(_TARGETS):
        if _worth(target):
            yield str(target["id"]), str(_plain(target))
    for term in soup.select(_TERMS):
        meaning = term.find_next_sibling("dd")
        if isinstance(meaning, Tag):
            text = _plain(meaning).decode_contents().strip()
            yield str(term["id"]), f"<p><strong>{_plain(term).decode_contents()}</strong></p>{text}"


def _worth(target: Tag) -> bool:
    classes = {str(name) for name in target.get("class") or []} - {"admonition"}
    return classes != _NO_PREVIEW


def _plain(tag: Tag) -> Tag:
    """A copy without ids; its links as text, since the box shows one thing."""
    copied = copy.copy(tag)
    for mark in copied.select("a.headerlink, script, style"):
        mark.decompose()
    for link in copied.select("a"):
        link.unwrap()
    for one in (copied, *copied.find_all(True)):
        del one["id"]
    return copied


def insert(soup: BeautifulSoup, page: str, known: Mapping[Place, str]) -> None:
    """Mark the links of a page that have something to show, and add what it lacks.

    ``data-preview`` is the id of what a link shows: an element of the page or a template.
    """
    added = set[str]()
    for link in soup.select(_LINKS):
        place = _leads_to(str(link["href"]), page)
        if place not in known:
            continue
        here = soup.find(id=place.identity) if place.page == page else None
        if isinstance(here, Tag) and here.name != "dt":
            link["data-preview"] = place.identity
            continue
        link["data-preview"] = place.template
        if place.template not in added and soup.body is not None:
            template = soup.new_tag("template", attrs={"id": place.template})
            template.append(BeautifulSoup(known[place], "html.parser"))
            soup.body.append(template)
            added.add(place.template)


def _leads_to(href: str, page: str) -> Place:
    parts = urlsplit(href)
    folder = posixpath.dirname(page)
    path = posixpath.normpath(posixpath.join(folder, unquote(parts.path))) if parts.path else page
    return Place(path, unquote(parts.fragment))
