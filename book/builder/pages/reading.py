"""A page as everybody can read it: names, roles, folds and landmarks that the theme leaves out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html import escape

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

ICON = (
    '<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 '
    "viewBox=%270 0 16 16%27%3E%3Cpath d=%27M1 14C7 14 5 2 8 2s1 12 7 12%27 fill=%27none%27 "
    'stroke=%27%230b57b8%27 stroke-width=%272%27/%3E%3C/svg%3E">'
)
"""Of every page: browsers ask the server for one where a page names none."""
_POWER = re.compile(r"(\d(?:\.\d+)?)e([+-]\d+)\b")
_MINUS = re.compile(r"(?<![\w.)])-(?=\.?\d)")
_NUMBER = re.compile(f"{_POWER.pattern}|{_MINUS.pattern}")
_OPEN, _STOP = re.compile(r"[(\[‘“]+$"), re.compile(r"[.,;:!?)\]’”-]+")
_PARTS = re.compile(r"(?<=[._(/])(?=\w)")
_TOGGLES = re.compile("toggleHint|toggleOpenOnPrint|togglebuttonSelector")


def repair(soup: BeautifulSoup) -> None:
    """All of the repairs below."""
    steps = (_taken, _folds, _solutions, _same_names, _names, _landmarks, _tables, _code, _numbers)
    for step in (*steps, _stops, _references, _head):
        step(soup)


def tags(soup: BeautifulSoup | Tag, selector: str) -> Iterator[Tag]:
    return iter(soup.select(selector))


def _taken(soup: BeautifulSoup) -> None:
    """A file to take away is called by its figure, or by the place of its table on the page."""
    tables = Counter[str]()
    for line in tags(soup, "p.made-by:has(a[download])"):
        cell, above = line.find_previous_sibling("div"), line.find_previous(class_="section-number")
        number = cell.select_one(".caption-number") if isinstance(cell, Tag) else None
        if number is not None:
            what = number.get_text().strip().replace("Fig.", "figure")
        else:
            section = above.get_text().strip(" .\xa0") if above else ""
            tables[section] += 1
            what = f"table {tables[section]} of section {section}".removesuffix(" of section ")
        for link in tags(line, "a[download]"):
            link["aria-label"] = f"{link.get_text()} of {what}"


def _folds(soup: BeautifulSoup) -> None:
    """A fold of code says what its code makes; the theme calls all by one name."""
    for cell in tags(soup, "div.cell"):
        number = cell.select_one("figcaption .caption-number")
        made = cell.select_one(".cell_output table, .cell_output figure")
        for summary in tags(cell, "details.hide > summary"):
            del summary["aria-label"]
            what = "code" if "above-input" in _classes(summary.parent) else "output"
            if number is not None and what == "code":
                what = f"code of {number.get_text().strip().replace('Fig.', 'figure')}"
            elif made is not None and made.name == "table" and what == "code":
                what = "code of the table"
            for line in tags(summary, "p"):
                verb = "Hide" if "expanded" in _classes(line) else "Show"
                line.string = f"{verb} the {what}"


def _solutions(soup: BeautifulSoup) -> None:
    """Folded boxes are ``<details>``: by keyboard, on paper and without scripts too."""
    for box in tags(soup, "div.admonition.dropdown"):
        title = box.find("p", class_="admonition-title", recursive=False)
        if not isinstance(title, Tag):
            continue
        box.name, title.name = "details", "summary"
        box["class"] = " ".join(name for name in _classes(box) if name != "dropdown")
        for link in title.find_all("a"):
            link.unwrap()
        title.string = " ".join(title.get_text(" ").split())
        text = soup.new_tag("div", attrs={"class": "folded"})
        text.extend(list(title.next_siblings))
        if "solution" in _classes(box):
            text.extend(list(_own_cells(box)))
        box.append(text)
    for script in soup.find_all("script"):
        if _TOGGLES.search(script.get_text()) or "togglebutton" in str(script.get("src", "")):
            script.decompose()
    for sheet in tags(soup, "link[href*=togglebutton]"):
        sheet.decompose()


def _own_cells(solution: Tag) -> Iterator[Tag]:
    """The cells that follow a solution without a word between, and what stands below them."""
    for after in solution.find_next_siblings():
        if not {"cell", "claims", "made-by"} & set(_classes(after)):
            return
        yield after


def _same_names(soup: BeautifulSoup) -> None:
    """No two places of a page have one name: proofs, and the insides of boxes, all have the same,
    and no link leads there."""
    for inside in tags(soup, ":is(#proof, #proof-content, #solution-content, #exercise-content)"):
        del inside["id"]


def _names(soup: BeautifulSoup) -> None:
    """What a control is called contains what is written on it (WCAG 2.5.3)."""
    for button in tags(soup, "button[aria-label]"):
        if button.get_text().strip():
            del button["aria-label"]
    for icon in tags(soup, ".theme-switch-button [title]"):
        del icon["title"]
    for button in tags(soup, "button.sidebar-toggle"):
        button["aria-label"] = button["title"]


def _landmarks(soup: BeautifulSoup) -> None:
    """Everything lies in a landmark, each with a name of its own."""
    if side := soup.select_one("#pst-primary-sidebar"):
        side["role"], side["aria-label"] = "region", "Book"
    for nav in tags(soup, "#jb-print-toc nav"):
        nav["aria-label"] = "Contents, for print"
    for empty in tags(soup, "footer.bd-footer, #ethical-ad-placement"):
        if not empty.get_text().strip():
            empty.decompose()
    for title in tags(soup, "#jb-print-docs-body h1"):
        title.name, title["class"] = "div", "print-title"
        if number := soup.select_one("article h1 .section-number"):
            title.insert(0, number.get_text())
    for heading in tags(soup, "#jb-print-toc h2"):
        heading.name = "div"


def _tables(soup: BeautifulSoup) -> None:
    """A head without words heads nothing."""
    for head in tags(soup, "th"):
        if not head.get_text().strip():
            head.name = "td"


def _code(soup: BeautifulSoup) -> None:
    """Code in tables breaks where the parts of a name meet."""
    for code in tags(soup, "table code span.pre"):
        first, *others = _PARTS.split(code.get_text())
        code.string = first
        for part in others:
            code.extend([soup.new_tag("wbr"), part])


def _numbers(soup: BeautifulSoup) -> None:
    """Numbers in tables and claims as people write them: -4.2e-05 as −4.2 · 10⁻⁵. Code and TeX
    stay."""
    for cell in tags(soup, ".cell_output td, .claims p"):
        for text in cell.find_all(string=_NUMBER):
            if text.find_parent(["code", "script"]) or text.find_parent(class_="math"):
                continue
            told = _MINUS.sub("−", _POWER.sub(_power, escape(text, quote=False)))
            text.replace_with(BeautifulSoup(told, "html.parser"))


def _stops(soup: BeautifulSoup) -> None:
    """No line begins with the stop after a formula, or ends with the bracket before it: browsers
    break lines beside every drawing."""
    for formula in tags(soup, "span.math"):
        before, after = formula.previous_sibling, formula.next_sibling
        bracket = _OPEN.search(before) if type(before) is NavigableString else None
        stop = _STOP.match(after) if type(after) is NavigableString else None
        if not (bracket or stop):
            continue
        whole = formula.wrap(soup.new_tag("span", attrs={"class": "whole"}))
        if bracket and before is not None:
            whole.insert(0, bracket[0])
            before.replace_with(str(before)[: bracket.start()])
        if stop and after is not None:
            whole.append(stop[0])
            after.replace_with(str(after)[stop.end() :])


def _power(match: re.Match[str]) -> str:
    exponent = int(match[2])
    if exponent == 0:
        return match[1]
    return f"{match[1]}\u202f·\u202f10<sup>{str(exponent).replace('-', '−')}</sup>"


def _references(soup: BeautifulSoup) -> None:
    """The bibliography as a list."""
    for entry in tags(soup, "[role=doc-biblioentry]"):
        entry["role"] = "listitem"
    for marks in tags(soup, ".citation > .label, .citation .backrefs"):
        del marks["role"]
    for mark in tags(soup, "[role=doc-backlink]"):
        del mark["role"]


def _head(soup: BeautifulSoup) -> None:
    """One viewport; scripts that wait until the page is there (one sets names for the others); an
    icon; and the light theme until a script chooses one."""
    for root in tags(soup, "html"):
        root["data-theme"] = "light"
    for head in tags(soup, "head"):
        head.append(BeautifulSoup(ICON, "html.parser"))
    for script in tags(soup, "head > script[src]"):
        if "documentation_options" not in str(script["src"]):
            script["defer"] = ""
    for extra in tags(soup, "meta[name=viewport]"):
        if extra is not soup.select_one("meta[name=viewport]"):
            extra.decompose()


def _classes(tag: Tag | None) -> list[str]:
    found = "" if tag is None else tag.get("class") or ""
    return found.split() if isinstance(found, str) else [str(name) for name in found]
