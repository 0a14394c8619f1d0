"""The theme's few icons as SVG in the page and a font of what its style sheets name.

The theme draws them with a script of 1.5 MB and fonts of 0.4 MB that hold every icon of Font
Awesome.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from builder import BuildError

FONTS = "_static/vendor/fontawesome/webfonts"
SCRIPT = "fontawesome.js"
_SOLID = "fa-solid-900"
_STYLE = {"fa-solid", "fa-lg", "fa-fw"}
_FACE = re.compile(r"@font-face\s*\{[^}]*webfonts/fa-[^}]*\}")
_NAMED = re.compile("[\ue000-\uf8ff]|\\\\([ef][0-9a-f]{3})(?![0-9a-f])")
_RULES_OF_ICONS = re.compile(r"(?:\.fa-[\w-]+:+before,?)+\{content:\"[^\"]*\"\}")


def draw(soup: BeautifulSoup, fonts: Path) -> None:
    """An SVG for each ``<i class="fa-solid fa-NAME">`` or ``<span>``, and no script for them."""
    for script in soup.find_all("script", src=re.compile(re.escape(SCRIPT))):
        script.decompose()
    for tag in soup.select("i[class*=fa-], span[class*=fa-]"):
        classes = [str(name) for name in tag.get("class") or []]
        names = [n[3:] for n in classes if n.startswith("fa-") and n not in _STYLE]
        if names:
            tag.replace_with(_svg(soup, tag, classes, names[0], fonts))


def _svg(soup: BeautifulSoup, tag: Tag, classes: list[str], name: str, fonts: Path) -> Tag:
    box, path = outline(fonts / f"{_SOLID}.ttf", name)
    kept = [n for n in classes if not n.startswith("fa")]
    told = {key: str(value) for key, value in tag.attrs.items() if key.startswith("data-")}
    told |= {"class": " ".join(["icon", *kept]), "viewBox": box}
    svg = soup.new_tag("svg", attrs=told | {"aria-hidden": "true", "focusable": "false"})
    svg.append(soup.new_tag("path", attrs={"d": path}))
    return svg


@lru_cache(64)
def outline(font: Path, name: str) -> tuple[str, str]:
    """The view box and the path of one icon; raises BuildError for a name the font lacks."""
    opened = _open(font)
    glyphs = opened.getGlyphSet()
    if name not in glyphs:
        raise BuildError(f"{font.name} has no icon {name!r}")
    pen = SVGPathPen(glyphs, ntos=lambda value: f"{value:.0f}")
    ascent = opened["hhea"].ascent
    glyphs[name].draw(TransformPen(pen, (1, 0, 0, -1, 0, ascent)))
    return f"0 0 {glyphs[name].width} {opened['head'].unitsPerEm}", pen.getCommands()


@lru_cache(2)
def _open(font: Path) -> TTFont:
    return TTFont(font)


def trim(html: Path) -> None:
    """Leave of the fonts what the style sheets name outside the lists of all icons."""
    folder = html / FONTS
    if not folder.is_dir():
        return
    named: set[int] = set()
    for sheet in html.glob("_static/**/*.css"):
        text = sheet.read_text(encoding="utf-8")
        if _FACE.search(text):
            text = _RULES_OF_ICONS.sub("", text)
            text = _FACE.sub("", text) + _face()
            sheet.write_text(text, encoding="utf-8")
        named |= {int(m[1], 16) if m[1] else ord(m[0]) for m in _NAMED.finditer(text)}
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    font = TTFont(folder / f"{_SOLID}.ttf", recalcTimestamp=False)  # equal builds, equal bytes
    subsetter = Subsetter(Options(flavor="woff", notdef_outline=True, layout_features=[]))
    subsetter.populate(unicodes=named)
    subsetter.subset(font)
    for path in folder.iterdir():
        path.unlink()
    font.flavor = "woff"
    font.save(folder / f"{_SOLID}.woff")


def _face() -> str:
    source = f"src:url(../vendor/fontawesome/webfonts/{_SOLID}.woff) format('woff')"
    family = r"font-family:Font Awesome\ 6 Free;font-style:normal;font-weight:900"
    return f"@font-face{{font-display:block;{family};{source}}}"
