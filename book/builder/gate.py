"""What the HTML of a book must satisfy. A check takes a page and tells what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from builder.pages.held import without_code
from builder.parallel import each

_CODE = {"script", "style", "code", "pre", "textarea", "kbd", "samp"}
_EXTERNAL = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
_CSS_EXTERNAL = re.compile(
    r"""(?:url\(|@import)\s*["']?\s*(?:https?:)?//[^"')\s]+""", re.IGNORECASE
)
_DRAWN = re.compile(r"<(svg|math)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_TEX = re.compile(r"\\[a-zA-Z]{2,}|\\[()\[\]]|\$\$|(?<![\\$\w])\$[^\s$][^$\n]{0,120}\$(?!\d)")
_MYST = re.compile(r"\{[a-z]+(:[a-z]+)?\}`|^:{3,}|^`{3,}|^\([a-z]+-[\w-]+\)=|\{\{", re.MULTILINE)
_LOADING = {
    **{"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"},
    **{"audio": "src", "embed": "src", "object": "data", "input": "src", "track": "src"},
}
_STDERR = re.compile(r'<div class="output stderr.*?<pre>(.*?)</pre>', re.DOTALL)
_PLACE = re.compile(r"""<[^>]*?\s(?:id|name)=["']([^"']+)["']""")
_IMAGE_FILE = re.compile(r"\.(png|svg|jpe?g|gif|webp)$", re.IGNORECASE)


@dataclass(frozen=True)
class Page:
    """One HTML file below `root`."""

    root: Path
    path: Path

    @cached_property
    def text(self) -> str:
        """The page with its drawings and its MathML empty."""
        return _DRAWN.sub(r"<\1></\1>", self.path.read_text(encoding="utf-8"))

    @cached_property
    def soup(self) -> BeautifulSoup:
        """The same without code, which shows what it likes."""
        return BeautifulSoup(without_code(self.text)[0], "html.parser")

    def tags(self, *names: str) -> Iterator[Tag]:
        return (tag for tag in self.soup.find_all(names) if isinstance(tag, Tag))


def attribute(tag: Tag, name: str) -> str:
    value = tag.get(name)
    return value if isinstance(value, str) else " ".join(value or [])


def no_traceback(page: Page) -> Iterator[str]:
    """No cell of the page ended in an error."""
    text = unescape(_TAG.sub("", page.text)).replace("\xa0", " ")
    for sign in ("Traceback (most recent call last)", "An Exception was encountered"):
        if sign in text:
            yield f"the page says {sign!r}"
    if page.soup.select_one("div.output.traceback, div.output.error"):
        yield "an output is a traceback"


def no_warning(page: Page) -> Iterator[str]:
    """No cell of the page wrote to its error stream."""
    for written in _STDERR.findall(page.text):
        yield f"a cell warned: {unescape(_TAG.sub('', written)).strip()[:200]!r}"


def no_raw_tex(page: Page) -> Iterator[str]:
    """TeX was set when the book was built; what is left of it readers would see as it is."""
    for text in page.soup.find_all(string=_TEX):
        if any(p.name in _CODE for p in text.parents):
            continue
        found = ", ".join(_TEX.findall(text))
        yield f"raw TeX outside mathematics: {found} in {text.strip()[:80]!r}"


def no_raw_markup(page: Page) -> Iterator[str]:
    """No role, directive, target or substitution of the sources is left as text."""
    for text in page.soup.find_all(string=_MYST):
        if not any(p.name in _CODE for p in text.parents):
            yield f"raw markup: {text.strip()[:80]!r}"


def no_external_resource(page: Page) -> Iterator[str]:
    """Everything a page loads lies beside it; links that a reader may follow are not loaded."""
    for tag in page.tags(*_LOADING):
        sources = [attribute(tag, _LOADING[tag.name]), attribute(tag, "poster")]
        sources += attribute(tag, "srcset").split(",")
        yield from (f"<{tag.name}> loads {source}" for source in sources if _EXTERNAL.match(source))
    for tag in page.tags("link"):
        rels = set(attribute(tag, "rel").lower().split())
        passive = rels and rels <= {"canonical", "author", "license", "alternate", "next", "prev"}
        if _EXTERNAL.match(attribute(tag, "href")) and not passive:
            yield f"<link rel={' '.join(sorted(rels))!r}> loads {attribute(tag, 'href')}"
    styles = [tag.get_text() for tag in page.tags("style")]
    styles += [attribute(tag, "style") for tag in page.soup.select("[style]")]
    for style in styles:
        yield from (f"a style loads {found}" for found in _CSS_EXTERNAL.findall(style))


def images_have_alt_text(page: Page) -> Iterator[str]:
    """An alternative text says what the picture shows: words, not a file's path."""
    for tag in page.tags("img"):
        alt, source = attribute(tag, "alt").strip(), attribute(tag, "src")[:80]
        if not alt:
            yield f"image {source} has no alt text"
        elif _IMAGE_FILE.search(alt) or len(alt.split()) < 3:
            yield f"image {source} has alt text {alt!r}: say in words what it shows"
    for tag in page.tags("iframe"):
        if not attribute(tag, "title").strip():
            yield f"iframe {attribute(tag, 'src')[:80]} has no title"


def mathematics_is_set(page: Page) -> Iterator[str]:
    """Every formula is a drawing, with MathML for those who cannot see it."""
    for formula in page.soup.select(".math"):
        if not (formula.select_one("svg") and formula.select_one("math")):
            yield f"a formula was not set: {formula.get_text().strip()[:80]!r}"


def links_lead_somewhere(page: Page) -> Iterator[str]:
    """Every file of the book that a page loads or links to exists, and so does the place in it."""
    targets = [attribute(tag, "href") for tag in page.tags("a", "link")]
    targets += [attribute(tag, _LOADING[tag.name]) for tag in page.tags(*_LOADING)]
    for target in dict.fromkeys(targets):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = page.path.parent / unquote(parts.path) if parts.path else page.path
        if not path.exists():
            yield f"{target} does not exist"
        elif path.suffix == ".html" and not _has(path, unquote(parts.fragment)):
            yield f"{target}: there is no such place on {path.name}"


def _has(path: Path, place: str) -> bool:
    return not place or place in places(path.resolve())


def places(path: Path) -> frozenset[str]:
    """The ids and anchor names of an HTML file."""
    seen = path.stat()
    return _places(path, (seen.st_mtime_ns, seen.st_size))


@lru_cache(256)
def _places(path: Path, version: tuple[int, int]) -> frozenset[str]:
    text = _DRAWN.sub("", path.read_text(encoding="utf-8"))
    return frozenset(unescape(name) for name in _PLACE.findall(text))


Check = Callable[[Page], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    no_traceback,
    no_warning,
    no_raw_tex,
    no_raw_markup,
    no_external_resource,
    images_have_alt_text,
    mathematics_is_set,
    links_lead_somewhere,
)
OWN = tuple(check for check in CHECKS if check is not no_warning)
"""For a chapter with a reader's own parameters, which may be worth a warning."""


def missing_pages(html: Path, documents: list[str]) -> list[str]:
    """Pages of the contents that were not built."""
    wanted = ["index", *documents]
    return [
        f"{name}.html was not built" for name in wanted if not (html / f"{name}.html").is_file()
    ]


def external_styles(html: Path) -> list[str]:
    """Style sheets of the book that load something from elsewhere."""
    return [
        f"{path.relative_to(html)} loads {found}"
        for path in sorted(html.rglob("*.css"))
        for found in _CSS_EXTERNAL.findall(path.read_text(encoding="utf-8", errors="replace"))
    ]


def inspect(html: Path, documents: list[str], checks: Sequence[Check] = CHECKS) -> list[str]:
    """All complaints about a book; empty when it may be published."""
    complaints = [*missing_pages(html, documents), *external_styles(html)]
    paths = (path.relative_to(html) for path in sorted(html.rglob("*.html")))
    pages = [Page(html, html / path) for path in paths if "_static" not in path.parts]
    found = each(partial(_complaints, checks=checks), pages)
    return [*complaints, *(problem for told in found for problem in told)]


def _complaints(page: Page, checks: Sequence[Check]) -> list[str]:
    path = page.path.relative_to(page.root)
    return [f"{path}: {problem}" for check in checks for problem in check(page)]
