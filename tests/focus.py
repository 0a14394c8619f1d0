"""Whether each control of a page shows that it has the focus, going from one to the next."""

from __future__ import annotations

from playwright.sync_api import Page

_STOP = """() => {
    const at = document.activeElement;
    window.stopped ??= new WeakSet();
    if (at === null || at === document.body || window.stopped.has(at)) return null;
    window.stopped.add(at);
    const style = getComputedStyle(at);
    const clear = colour => colour === "transparent" || /, 0\\)$/.test(colour);
    const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1
        && !clear(style.outlineColor);
    const box = at.getBoundingClientRect();
    const seen = at.checkVisibility({opacityProperty: true, visibilityProperty: true})
        && box.width > 1 && box.height > 1 && box.right > 0 && box.left < innerWidth;
    return [at.cloneNode(false).outerHTML.slice(0, 160), ring && seen];
}"""


def stops(tab: Page) -> dict[str, bool]:
    """The controls that Tab leads to, from the top of the page to its end, each with whether it
    is in sight and ringed there; those that look alike count as one, bad if one of them is."""
    found = dict[str, bool]()
    tab.evaluate("document.documentElement.style.scrollBehavior = 'auto'; scrollTo(0, 0)")
    while True:
        tab.keyboard.press("Tab")
        stop = tab.evaluate(_STOP)
        if stop is None:
            return found
        name, seen = stop
        found[name] = found.get(name, True) and seen
