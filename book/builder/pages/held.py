"""Code, or drawings too, out of the way while a page is worked on: most of its tags, and none that
matters there."""

from __future__ import annotations

import re
from collections.abc import Callable

_CODE = r'(?<=<div class="highlight"><pre>).*?(?=</pre>)'
_DRAWING = r"<(svg|math)\b.*?</\1>"
_PLACE = re.compile("\ufdd0(\\d+)\ufdd1")  # characters that no text has


def without_code(html: str) -> tuple[str, Callable[[str], str]]:
    """The page with a mark in place of the code of each ``<pre>`` that Pygments made, and the
    function that puts it back. A page that has such marks already stays as it is."""
    return _without(html, re.compile(_CODE, re.DOTALL))


def without_drawings(html: str) -> tuple[str, Callable[[str], str]]:
    """The same with every SVG and every formula in MathML as a mark too."""
    return _without(html, re.compile(f"{_DRAWING}|{_CODE}", re.DOTALL))


def _without(html: str, pattern: re.Pattern[str]) -> tuple[str, Callable[[str], str]]:
    held: list[str] = []
    if _PLACE.search(html):
        return html, str

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"\ufdd0{len(held) - 1}\ufdd1"

    return pattern.sub(hold, html), lambda text: _PLACE.sub(lambda m: held[int(m[1])], text)
