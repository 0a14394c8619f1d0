"""What a link leads to, to be shown beside it: equations, statements and terms of the glossary.

What lies on the same page the browser copies; of other pages' equations and statements, and of all
terms, the page holds a copy in a ``<template>``, with its mathematics. sphinx-tippy would keep them
as strings of TeX in scripts, for MathJax to set in the browser; these pages load no MathJax.
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

_LINKS = "article a.internal[href*='#']"
_TARGETS = "div.math[id], div.proof[id]"
_TERMS = "dl.glossary > dt[id]"
_MARK = re.compile(r' data-preview="(preview-[^"]+)"')
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


def shown(soup: BeautifulSoup, page: str) -> dict[Place, str]:
    """Everything on a page, whose mathematics is still TeX, that a link can show."""
    return {Place(page, identity): text for identity, text in _shown(soup)}


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


def mark(soup: BeautifulSoup, page: str, here: Iterable[Place]) -> None:
    """``data-preview`` of a link is the id of what it shows: an element of the page, one of `here`,
    or a template of what may lie elsewhere."""
    own = {place.identity for place in here}
    terms = {str(term["id"]) for term in soup.select(_TERMS)}
    for link in soup.select(_LINKS):
        place = _leads_to(str(link["href"]), page)
        if place.page != page or place.identity in terms:
            link["data-preview"] = place.template
        elif place.identity in own:
            link["data-preview"] = place.identity


def insert(text: str, templates: Mapping[str, str]) -> str:
    """A marked page with those templates that it needs; links for which there is none, unmarked."""
    wanted = [name for name in dict.fromkeys(_MARK.findall(text)) if name in templates]
    text = _MARK.sub(lambda m: m[0] if m[1] in templates else "", text)
    made = "".join(f'<template id="{name}">{templates[name]}</template>' for name in wanted)
    before, end, after = text.rpartition("</body>")
    return f"{before}{made}{end}{after}"


def _leads_to(href: str, page: str) -> Place:
    parts = urlsplit(href)
    folder = posixpath.dirname(page)
    path = posixpath.normpath(posixpath.join(folder, unquote(parts.path))) if parts.path else page
    return Place(path, unquote(parts.fragment))
