"""Slides made of a chapter's page: its figures, statements, findings and tables, one a slide.

A rule picks them, so that chapters need no marks: figures and theorems come first, then other
statements and what was found in each section, then tables. Prose becomes the speaker's notes; code,
proofs and solutions stay on the page.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from bs4 import BeautifulSoup, Tag

from builder.pages.reading import ICON

MOST = 24
"""Slides of a chapter beside its title."""
CLAIMS = 2
"""On one slide."""
STATEMENTS = (
    "theorem",
    "algorithm",
    "definition",
    "assumption",
    "proposition",
    "corollary",
    "lemma",
)
WEIGHT = {
    **dict.fromkeys(STATEMENTS, 2),
    **{"question": 0, "exercises": 0, "figure": 1, "theorem": 1, "algorithm": 1},
    **{"found": 2, "text": 2, "table": 3},
}
"""What is left out first where there are too many: the heaviest. A section's second slide of a
kind is heavier by one, its third by two."""
_HEADINGS = ("h1", "h2", "h3")
_PROSE = ("p", "ul", "ol", "dl", "div.math")


@dataclass
class Slide:
    """section: its heading, as text and mathematics; title and body: what is shown; notes: what is
    said."""

    kind: str
    section: str
    title: Tag | None = None
    body: list[Tag] = field(default_factory=list)
    notes: list[Tag] = field(default_factory=list)


def pick(slides: list[Slide], most: int = MOST) -> list[Slide]:
    """The lightest of them, in their order."""
    seen, weighed = Counter[tuple[str, str]](), []
    for place, slide in enumerate(slides):
        weighed.append((WEIGHT[slide.kind] + seen[slide.section, slide.kind], place))
        seen[slide.section, slide.kind] += 1
    return [slides[place] for _, place in sorted(sorted(weighed)[:most], key=lambda one: one[1])]


def slides_of(article: Tag) -> list[Slide]:
    """Every slide that the page could give, in order."""
    return [slide for one, heading in _sections(article) for slide in _section(one, heading)]


def _sections(article: Tag) -> Iterator[tuple[Tag, str]]:
    for heading in article.select("h1, h2, h3"):
        section = heading.find_parent("section")
        if isinstance(section, Tag):
            yield section, _clean(heading).decode_contents().strip()


def _section(section: Tag, heading: str) -> Iterator[Slide]:
    """The slides of a section without its subsections; prose goes with what stands before it, and
    ahead of the first slide with that one."""
    slides, before, claims = list[Slide](), list[Tag](), list[Tag]()
    stated = {_name(one) for one in section.select("div.proof[id]")}
    exercises = section.find_all("div", class_="exercise", recursive=False)
    if exercises:
        titles = [one for each in exercises if (one := each.select_one(".admonition-title"))]
        yield Slide("exercises", heading, body=[_listed(titles)])
        return
    for block in section.find_all(True, recursive=False):
        if _is(block, *_HEADINGS, "section", "p.made-by"):
            continue
        if _is(block, *_PROSE):
            (slides[-1].notes if slides else before).append(block)
        elif _is(block, "div.claims"):
            claims += [p for p in block.find_all("p", recursive=False) if _name(p) not in stated]
        else:
            slides += _shown(block, heading)
    if section.find("h1", recursive=False) and before:
        slides.insert(0, Slide("question", "The question", body=before[:2], notes=before[2:]))
    elif slides:
        slides[0].notes[:0] = before
    elif before and not claims:
        slides.append(Slide("text", heading, body=before[:1], notes=before[1:]))
    yield from slides
    for first in range(0, len(claims), CLAIMS):
        yield Slide("found", heading, body=[_listed(claims[first : first + CLAIMS])])


def _name(tag: Tag) -> str:
    """The label of a statement or a claim, without its kind."""
    return str(tag.get("id", "")).partition("-")[2]


def _is(tag: Tag, *selectors: str) -> bool:
    """Whether the tag has one of these names, or names with a class."""
    for selector in selectors:
        name, _, kind = selector.partition(".")
        if tag.name == name and (not kind or kind in (tag.get("class") or [])):
            return True
    return False


def _shown(block: Tag, heading: str) -> Iterator[Slide]:
    """The figures and tables of a cell's output, or a statement."""
    for kind in STATEMENTS:
        if _is(block, f"div.{kind}") and (text := block.find("section")):
            title = block.select_one(".admonition-title")
            yield Slide(kind, heading, title, [text] if isinstance(text, Tag) else [])
    for figure in block.select("figure"):
        picture, caption = (
            figure.select_one("img:not(.moe-still img)"),
            figure.select_one(".caption-text"),
        )
        if picture and caption:
            yield Slide("figure", heading, caption.find("strong"), [picture], [caption])
    for table in block.select(".cell_output table"):
        yield Slide("table", heading, table.find("caption"), [table])


def _listed(items: list[Tag]) -> Tag:
    listed = BeautifulSoup("", "html.parser").new_tag("ul")
    for item in items:
        entry = copy.copy(item)
        entry.name = "li"
        if (first := entry.find("strong")) and first.get_text() == "Claim.":
            first.decompose()
        listed.append(entry)
    return listed


def deck(page: BeautifulSoup, page_name: str, banner: str) -> str:
    """The deck of a page whose mathematics is still TeX; `page_name` is the page beside it in the
    folder `book`, banner what the title says of the edition."""
    article = page.select_one("article.bd-article")
    heading = article.select_one("h1") if article else None
    if article is None or heading is None:
        raise ValueError(f"{page_name}: no article")
    title = heading.get_text().rstrip("#").strip()
    shown = "\n".join(_html(slide, page_name) for slide in pick(slides_of(article)))
    link = f'<a href="../book/{page_name}">The chapter</a>'
    return _PAGE.format(title=escape(title), icon=ICON, banner=banner, link=link, slides=shown)


def _html(slide: Slide, page_name: str) -> str:
    inner = slide.title.decode_contents() if slide.title else ""
    over, title = (slide.section, inner) if inner.strip() else ("", slide.section)
    parts = [f"<h2>{title}</h2>", *(_body(tag) for tag in slide.body)]
    if over:
        parts.insert(0, f'<p class="over">{over}</p>')
    if slide.notes:
        notes = "".join(str(_clean(tag)) for tag in slide.notes)
        parts.append(f'<aside class="notes">{notes}</aside>')
    text = _LINK.sub(lambda m: f'href="../book/{m[1] or page_name}', "\n".join(parts))
    return f'<section class="{slide.kind}">\n{text}\n</section>'


def _body(tag: Tag) -> str:
    """What is shown; of a picture that is too tall for a slide the lower part beside the upper."""
    shown = _clean(tag)
    if "data-cut" not in shown.attrs:
        return str(shown)
    width, height, cut = (int(str(shown.attrs.pop(k))) for k in ("width", "height", "data-cut"))
    parts = []
    for top, end in ((0, cut), (cut, height)):
        shown["style"] = f"margin-top: {-100 * top / width:.3f}%"
        parts.append(f'<div style="aspect-ratio: {width} / {end - top}">{shown}</div>')
        shown["alt"] = "The lower rows of the same figure."
    return f'<div class="parts">{"".join(parts)}</div>'


_LINK = re.compile(r'href="(?!\.\.|[a-z]+:)([^"#]*)')


def _clean(tag: Tag) -> Tag:
    """A copy without what only a page needs."""
    copied = copy.copy(tag)
    for idle in copied.select("a.headerlink, caption, details, script, style"):
        idle.decompose()
    for one in (copied, *copied.find_all(True)):
        one.name = "div" if one.name == "section" else one.name  # which would be a slide
        for attribute in ("id", "style", "loading", "decoding", "tabindex", "data-preview"):
            del one[attribute]
    return copied


def spoken(html: str) -> str:
    """The deck with MathML alone in its notes, since the speaker's window has no drawings."""

    def one(notes: re.Match[str]) -> str:
        return _DRAWN.sub("", notes[0])

    return re.sub(r'<aside class="notes">.*?</aside>', one, html, flags=re.DOTALL)


_DRAWN = re.compile(r'<svg\b.*?</svg>|(?<=<span|.<div) class="(?:math|formula)[^"]*"', re.DOTALL)


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: slides</title>
{icon}
<link rel="stylesheet" href="../_static/reveal/reveal.css">
<link rel="stylesheet" href="../_static/mathematics.css">
<link rel="stylesheet" href="../_static/slides.css">
<noscript><style>
.reveal, .reveal .slides, .reveal .slides > section {{
  display: block; height: auto; overflow: visible; position: static }}
.reveal .slides > section {{ margin: 0 auto; max-width: 1000px; padding: 24px }}
</style></noscript></head>
<body><main class="reveal"><div class="slides">
<section class="title">
<h1>{title}</h1>
<p>Learning in Gated Neural Networks: an executable companion</p>
<p class="over">{banner}</p>
<p>{link}</p>
</section>
{slides}
</div></main>
<script src="../_static/reveal/reveal.js"></script>
<script src="../_static/reveal/notes.js"></script>
<script src="../_static/slides.js"></script>
</body></html>
"""
