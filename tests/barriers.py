"""What keeps people from reading a page, as axe-core finds it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

THIN = """() => {
    const still = document.createElement("style");
    still.textContent = "* { transition: none !important; animation: none !important }";
    document.head.append(still);
    const seen = new Set();
    for (const token of document.querySelectorAll(".highlight pre span")) {
        const box = token.closest(".cell_output, .cell_input, .highlight");
        const kind = box.className + token.className;
        if (seen.has(kind)) token.replaceWith(...token.childNodes);
        seen.add(kind);
    }
    document.querySelectorAll(".math svg").forEach(drawing => drawing.replaceChildren());
    document.querySelectorAll(".mathml").forEach(said => { said.textContent = said.textContent; });
}"""
"""Of code's tokens one of each colour stays, of drawings the frame, of MathML the text: the rest
would cost axe minutes and tell it nothing new. And colours change at once, not while it looks."""
LOOKS = """() => {
    const below = new Map([[null, ""]]);
    const look = element => {
        if (!below.has(element)) {
            const {backgroundColor, backgroundImage, opacity, position} = getComputedStyle(element);
            const own = [backgroundColor, backgroundImage, opacity, position].join();
            const plain = own === "rgba(0, 0, 0, 0),none,1,static";
            below.set(element, look(element.parentElement) + (plain ? "" : own + ";"));
        }
        return below.get(element);
    };
    const seen = new Set();
    for (const element of document.querySelectorAll("body *")) {
        element.removeAttribute("data-look");
        const own = [...element.childNodes].filter(node => node.nodeType === 3);
        const text = own.map(node => node.data).join("").trim();
        const {width, height} = element.getBoundingClientRect();
        if (!text && !element.matches("input, select, textarea, button")) continue;
        if (width < 2 || height < 2) continue;
        if (!element.checkVisibility({visibilityProperty: true})) continue;
        const {color, fontSize, fontWeight, textShadow, display} = getComputedStyle(element);
        const kind = [element.tagName, /[\\p{L}\\p{N}]{2}/u.test(text), display];
        const seenAs = [color, fontSize, fontWeight, textShadow, ...kind, look(element)].join();
        if (seen.has(seenAs)) continue;
        seen.add(seenAs);
        element.setAttribute("data-look", "");
    }
    axe.configure({rules: [{id: "color-contrast", selector: "[data-look]"}]});
}"""
"""Of texts with one colour, size and weight on one background axe looks at the contrast of one: it
is the same for all, and takes most of axe's time. Single letters axe passes over: they count
apart."""
BARRIERS = """async options => {
    const told = await axe.run({exclude: [[".math svg"]]}, options);
    return told.violations.flatMap(rule => rule.nodes.map(node =>
        `${rule.id}: ${node.html.slice(0, 200)} (${(node.any[0] ?? rule).message ?? rule.help})`));
}"""
EVERY_RULE = {
    "resultTypes": ["violations"],
    "rules": {"label-content-name-mismatch": {"enabled": True}},
}
CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}


def barriers(tab: Page, rules: dict[str, Any]) -> list[str]:
    """The violations of these rules on the page that the tab shows."""
    tab.evaluate(AXE_SCRIPT)
    tab.evaluate(LOOKS)
    found: list[str] = tab.evaluate(BARRIERS, rules)
    return found
