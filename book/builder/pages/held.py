"""Code out of the way while a page is worked on: half of its tags, and none that matters there."""

from __future__ import annotations

import re
from collections.abc import Callable

_CODE = re.compile(r'(?<=<div class="highlight"><pre>).*?(?=</pre>)', re.DOTALL)
_PLACE = re.compile("\ufdd0(\\d+)\ufdd1")  # characters that no text has


def without_code(html: str) -> tuple[str, Callable[[str], str]]:
    """The page with a mark in place of the code of each ``<pre>`` that Pygments made, and the
    function that puts it back. A page that has such marks already stays as it is."""
    held: list[str] = []
    if _PLACE.search(html):
        return html, str

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"\ufdd0{len(held) - 1}\ufdd1"

    return _CODE.sub(hold, html), lambda text: _PLACE.sub(lambda m: held[int(m[1])], text)
