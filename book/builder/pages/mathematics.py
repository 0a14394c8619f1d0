"""Mathematics set while the book is built: a drawing and MathML in the page, no script to load.

MathJax runs in V8. A page holds each glyph once and its formulas refer to it.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

from py_mini_racer import MiniRacer

from builder import BuildError

MATHJAX = "static/mathjax/es5"
PARTS = (
    *("core", "adaptors/liteDOM", "input/tex-full"),
    *("output/svg", "output/svg/fonts/tex", "a11y/assistive-mml"),
)
_GLUE = Path(__file__).with_suffix(".js")
_MATH = re.compile(
    r'<(?P<tag>span|div) class="(?P<classes>math[^"]*)"(?P<rest>[^>]*)>'
    r'(?P<number>\s*<span class="eqno">.*?</span>)?\s*'
    r"\\(?:\((?P<inline>[^<]*)\\\)|\[(?P<display>[^<]*)\\\])\s*</(?P=tag)>",
    re.DOTALL,
)
_SCRIPTS = re.compile(
    r"<script[^>]*(?:mathjax[^>]*></script>|>\s*window\.MathJax\s*=.*?</script>)", re.DOTALL
)
_USED = re.compile(r'href="#(MJX-[^"]+)"')
_WIDTH = re.compile(r'<svg[^>]* width="([\d.]+)ex"')
WIDE = 34.0
"""An inline formula of more ex than this may not fit the line of a telephone."""

Formula = tuple[str, bool]
"""TeX, and whether it is displayed."""


class Made(TypedDict):
    """Formulas with their SVG and MathML, and the outlines of the glyphs that they refer to."""

    formulas: dict[str, list[str]]
    glyphs: dict[str, str]


class Setter:
    """Formulas to SVG and MathML, kept in a file from one build to the next."""

    def __init__(self, configuration: Mapping[str, Any], folder: Path) -> None:
        tex = {"packages": {"[-]": ["noerrors", "noundefined"]}, **configuration}
        glue = _GLUE.read_text("utf-8").replace("CONFIGURATION", json.dumps(tex))
        self._glue = glue.replace("PARTS", json.dumps(PARTS))
        self._file = folder / f"{hashlib.sha256(self._glue.encode()).hexdigest()[:16]}.json"
        self._formulas: dict[str, list[str]] = {}
        self._glyphs: dict[str, str] = {}
        self._context: MiniRacer | None = None
        if self._file.is_file():
            kept = json.loads(self._file.read_text("utf-8"))
            self._formulas, self._glyphs = kept["formulas"], kept["glyphs"]

    def __call__(self, formula: Formula) -> tuple[str, str]:
        """The SVG and the MathML; raises BuildError for TeX that MathJax does not understand."""
        tex, display = formula
        key = f"{'display' if display else 'inline'} {tex}"
        if key not in self._formulas:
            told = self._engine().eval(f"set({json.dumps(tex)}, {json.dumps(display)})")
            svg, mathml, error = json.loads(str(told))
            if error:
                raise BuildError(f"mathematics: {html.unescape(error)}: {tex}")
            self._formulas[key] = [svg, mathml]
        svg, mathml = self._formulas[key]
        return svg, mathml

    def glyphs(self, names: Iterable[str]) -> str:
        """A hidden SVG with the outlines of these names."""
        wanted = sorted(set(names))
        if self._context is not None:
            self._glyphs |= json.loads(str(self._context.eval("outlines()")))
        paths = "".join(f'<path id="{name}" d="{self._glyphs[name]}"/>' for name in wanted)
        return f'<svg class="glyphs" aria-hidden="true"><defs>{paths}</defs></svg>'

    @property
    def made(self) -> Made:
        """All formulas and outlines known so far."""
        return {"formulas": self._formulas, "glyphs": self._glyphs}

    def keep(self, others: Iterable[Made] = ()) -> None:
        """Write what was set, by this one and by `others`, in one step."""
        known = [self.made, *others]
        self._formulas = {k: v for made in known for k, v in made["formulas"].items()}
        self._glyphs = {k: v for made in known for k, v in made["glyphs"].items()}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(self.made), "utf-8")
        os.replace(part, self._file)

    def _engine(self) -> MiniRacer:
        if self._context is None:
            self._context = _start(self._glue)
        return self._context


def _start(glue: str) -> MiniRacer:
    folder = files("mathjax").joinpath(MATHJAX)
    scripts = {n: folder.joinpath(f"{n}.js").read_text("utf-8") for n in ("startup", *PARTS)}
    context = MiniRacer()
    context.eval(f"const scripts = {json.dumps(scripts)};")
    context.eval(glue)
    context.eval('loadFile("startup")')
    if failures := context.eval("failures.join('; ') || (MathJax.tex2svg ? '' : 'no tex2svg')"):
        raise BuildError(f"MathJax does not start: {failures}")
    return context


def set_page(text: str, setter: Setter) -> str:
    """The HTML of a page with its mathematics set, and without MathJax."""

    def one(match: re.Match[str]) -> str:
        display = match["display"] is not None
        tex = html.unescape(match["display"] if display else match["inline"]).strip()
        svg, mathml = setter((tex, display))
        found = _WIDTH.search(svg)
        wide = not display and found is not None and float(found[1]) > WIDE
        classes = f"{match['classes']}{' wide' if wide else ''}"
        formula = f'{svg}<span class="mathml">{mathml}</span>'
        if display:
            formula = f'<div class="formula">{formula}</div>{match["number"] or ""}'
        return f'<{match["tag"]} class="{classes}"{match["rest"]}>{formula}</{match["tag"]}>'

    text = _MATH.sub(one, _SCRIPTS.sub("", text))
    if not (used := _USED.findall(text)):
        return text
    return re.sub(r"(<body[^>]*>)", lambda m: m[1] + setter.glyphs(used), text, count=1)
