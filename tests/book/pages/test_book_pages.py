"""What is done to the pages that Jupyter Book made: mathematics, icons, names and folds."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydata_sphinx_theme
import pytest
from bs4 import BeautifulSoup, Tag
from builder import BuildError
from builder.pages import icons, pictures, reading
from builder.pages.held import without_code
from builder.pages.mathematics import Setter, set_page
from PIL import Image

MACROS: dict[str, Any] = {"macros": {"E": [r"\mathbb{E}\left[#1\right]", 1]}}
PAGE = r"""<html><head><script>window.MathJax = {"tex": {"a": "</x>"}}</script>
<script defer="defer" src="https://cdn.example.org/npm/mathjax@3/es5/tex-mml-chtml.js"></script></head>
<body class="b"><p>For <span class="math notranslate nohighlight">\(x &lt; y\)</span></p>
<div class="math notranslate nohighlight" id="equation-eq-one">
<span class="eqno">(1.1)<a class="headerlink" href="#equation-eq-one">#</a></span>\[
\E{x} = 1
\]</div></body></html>"""


def one(page: BeautifulSoup | Tag, selector: str) -> Tag:
    found = page.select(selector)
    assert len(found) == 1, selector
    return found[0]


@pytest.fixture(scope="module")
def setter(tmp_path_factory: pytest.TempPathFactory) -> Setter:
    return Setter(MACROS, tmp_path_factory.mktemp("mathematics"))


def test_mathematics_is_set_as_a_drawing_and_as_mathml_and_no_script_is_left(
    setter: Setter,
) -> None:
    page = BeautifulSoup(set_page(PAGE, setter), "html.parser")
    inline, displayed = page.select(".math")
    assert page.select("script") == []
    assert one(inline, "math").get_text() == "x<y"
    assert displayed["id"] == "equation-eq-one"
    assert one(displayed, ".formula math").get_text() == "E[x]=1"
    assert one(displayed, ".eqno").get_text() == "(1.1)#"
    outlines = {path["id"] for path in page.select("svg.glyphs path[d]")}
    used = {str(use["href"]).removeprefix("#") for use in page.select(".math use")}
    assert used
    assert used == outlines


def test_a_long_formula_in_a_line_may_scroll(setter: Setter) -> None:
    short, long = (rf'<span class="math">\({"a + " * n} a\)</span>' for n in (1, 20))
    assert 'class="math wide"' not in set_page(short, setter)
    assert 'class="math wide"' in set_page(long, setter)


@pytest.mark.parametrize("tex", [r"\nosuchmacro{x}", r"\frac{1}{2", r"\left( x"])
def test_tex_that_mathjax_cannot_read_is_refused_and_shown(setter: Setter, tex: str) -> None:
    with pytest.raises(BuildError, match="mathematics: ") as caught:
        setter((tex, False))
    assert tex in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"\def\alpha{Q}\alpha", r"\alpha"),
        (r"\renewcommand{\E}[1]{e}\E{x}", r"\E{x}"),
        (r"\let\beta\gamma \beta", r"\beta"),
        (r"x \label{same}", r"y \label{same}"),
        (r"\definecolor{red}{rgb}{0,0,1} \color{red} x", r"\color{red} x"),
    ],
)
def test_what_a_formula_defines_ends_with_it(
    setter: Setter, tmp_path: Path, before: str, after: str
) -> None:
    alone = Setter(MACROS, tmp_path)((after, False))
    setter((before, False))
    assert setter((after, False)) == alone


@pytest.mark.parametrize("define", [r"\def\own{q}", r"\newcommand{\own}{q}"])
def test_a_command_of_another_formula_is_unknown(setter: Setter, define: str) -> None:
    assert ">q<" in setter((rf"{define} \own", False))[1]
    with pytest.raises(BuildError, match=r"Undefined control sequence \\own"):
        setter((r"\own", True))


def test_what_was_set_is_kept_for_the_next_build(tmp_path: Path) -> None:
    first = Setter(MACROS, tmp_path)
    before = set_page(PAGE, first)
    first.keep()
    again = Setter(MACROS, tmp_path)
    assert set_page(PAGE, again) == before
    assert again._context is None, "MathJax was not started"
    other = Setter({"macros": {"E": [r"\mathrm{E}(#1)", 1]}}, tmp_path)
    assert set_page(PAGE, other) != before, "other macros, another file"


def test_formulas_of_several_processes_are_kept_together(tmp_path: Path) -> None:
    first, second = Setter(MACROS, tmp_path), Setter(MACROS, tmp_path)
    pages = [set_page(rf'<body><p class="math">{PAGE}</p></body>', first)]
    other = r'<body><span class="math">\(\alpha\)</span></body>'
    pages.append(set_page(other, second))
    Setter(MACROS, tmp_path).keep([first.made, second.made])
    again = Setter(MACROS, tmp_path)
    assert set_page(other, again) == pages[1]
    assert set_page(rf'<body><p class="math">{PAGE}</p></body>', again) == pages[0]
    assert again._context is None


def test_code_is_put_back_as_it_was() -> None:
    made = '<div class="highlight"><pre>{}</pre></div>'.format
    page = made("<span>a</span>\n") + "<p>b</p><pre>own</pre>" + made("\\1 c") + made("")
    text, put_back = without_code(page)
    assert "span" not in text
    assert "c</pre>" not in text
    assert "<pre>own</pre>" in text, "only what Pygments made"
    assert put_back(text) == page
    assert put_back(str(BeautifulSoup(text, "html.parser")) * 2) == 2 * page, "in two places too"


def test_a_page_with_such_marks_stays_as_it_is() -> None:
    page = "<p>\ufdd00\ufdd1</p>" + '<div class="highlight"><pre>a</pre></div>'
    text, put_back = without_code(page)
    assert put_back(text) == text == page


def repaired(html: str) -> BeautifulSoup:
    soup = BeautifulSoup(html, "html.parser")
    reading.repair(soup)
    return soup


def test_a_fold_says_what_its_code_makes() -> None:
    cell = """<div class="cell"><details class="hide above-input">
        <summary aria-label="Toggle hidden content"><p class="collapsed">Show code cell source</p>
        <p class="expanded">Hide code cell source</p></summary></details>{}</div>"""
    figure = (
        '<figure><figcaption><span class="caption-number">Fig. 5.2 </span></figcaption></figure>'
    )
    table = '<div class="cell_output"><table></table></div>'
    for made, what in ((figure, "code of figure 5.2"), (table, "code of the table"), ("", "code")):
        summary = repaired(cell.format(made)).summary
        assert summary is not None
        assert summary.get_text().split("\n")[0] == f"Show the {what}"
        assert summary.get_text().strip().endswith(f"Hide the {what}")
        assert not summary.has_attr("aria-label")


@pytest.mark.parametrize(
    ("shown", "read"),
    [
        ("4.71e+03", "4.71 · 10<sup>3</sup>"),
        (
            "−2e-16 (3e-17 to 1e-15)",
            "−2 · 10<sup>−16</sup> (3 · 10<sup>−17</sup> to 1 · 10<sup>−15</sup>)",
        ),
        ("0e+00", "0"),
        ("a &lt; 1e-05", "a &lt; 1 · 10<sup>−5</sup>"),
        ("-1.2 (-1.3 to -0.9)", "−1.2 (−1.3 to −0.9)"),
        ("12.5, the1e and e-3, 8-16", "12.5, the1e and e-3, 8-16"),
        ("<code>x[-1]</code>", "<code>x[-1]</code>"),
        (r'<span class="math">\(10^{-5}\)</span>', r'<span class="math">\(10^{-5}\)</span>'),
    ],
)
def test_numbers_in_tables_are_written_as_people_do(shown: str, read: str) -> None:
    cell = (
        '<div class="cell_output"><table><tbody><tr><td><p>{}</p></td></tr></tbody></table></div>'
    )
    thin = read.replace(" · ", "\u202f·\u202f")  # where no line ends
    claim = '<div class="claims"><p>{}</p></div>'
    for where in (cell, claim):
        assert str(repaired(where.format(shown))) == where.format(thin)


@pytest.mark.parametrize(
    ("shown", "read"),
    [
        ("{}, where", '<span class="whole">{},</span> where'),
        ("a ({}).", 'a <span class="whole">({}).</span>'),
        ("a ({} b)", 'a <span class="whole">({}</span> b)'),
        ("{} and {}", "{} and {}"),
        ("{}<em>,</em>", "{}<em>,</em>"),
    ],
)
def test_no_line_begins_with_the_stop_after_a_formula(shown: str, read: str) -> None:
    formula = r'<span class="math">\(x\)</span>'
    text = f"<p>{shown.replace('{}', formula)}</p>"
    assert str(repaired(text)) == f"<p>{read.replace('{}', formula)}</p>"


def test_code_in_a_table_breaks_between_the_parts_of_a_name() -> None:
    name = '<code><span class="pre">{}</span></code>'
    cell = f"<td>{name.format('moe.MoE.log_gate(x, y)')}</td><td>{name.format('x')}</td>"
    page = BeautifulSoup(
        f"<table><tr>{cell}</tr></table><p>{name.format('a.b')}</p>", "html.parser"
    )
    reading.repair(page)
    shown = [str(code).replace("<wbr/>", "|") for code in page.select("span.pre")]
    texts = ("moe.|MoE.|log_|gate(|x, y)", "x", "a.b")
    assert shown == [f'<span class="pre">{text}</span>' for text in texts]


def test_a_file_to_take_away_is_called_by_its_figure_or_the_place_of_its_table() -> None:
    figure = '<figure><span class="caption-number">Fig. 8.2 </span></figure>'
    line = '<p class="made-by"><a href="a.html">a.py</a> <a download>CSV</a><a download>SVG</a></p>'
    heading = '<h2><span class="section-number">8.{}. </span>Why</h2>'
    page = repaired(
        f'<div class="cell">{figure}</div>{line}<div class="cell"></div>{line}{heading.format(1)}'
        f'<div class="cell"></div>{line}{line}{heading.format(2)}<div class="cell"></div>{line}'
    )
    links = page.select("a[download]")
    places = [
        "figure 8.2",
        "table 1",
        "table 1 of section 8.1",
        "table 2 of section 8.1",
        "table 1 of section 8.2",
    ]
    assert [link["aria-label"] for link in links] == [
        f"{form} of {place}" for place in places for form in ("CSV", "SVG")
    ]
    assert not page.select("a[href][aria-label]")


def test_a_folded_box_is_a_details_element_and_its_script_is_gone() -> None:
    page = repaired("""<script src="togglebutton.js"></script>
        <script>let toggleHintShow = ''</script><div
        class="solution dropdown admonition" id="s"><p class="admonition-title">Solution
        to<a href="#e"> Exercise 1.1</a></p><section><p>Two.</p></section></div>
        <div class="cell">1 + 1</div><p class="made-by">data</p><p>Next.</p>
        <div class="cell">3</div>""")
    box = one(page, "details#s.solution")
    assert page.select("script") == []
    assert one(box, "summary").get_text() == "Solution to Exercise 1.1"
    assert one(box, ".folded section p").get_text() == "Two."
    assert one(box, ".cell").get_text() == "1 + 1", "its cell is folded with it, others are not"
    assert len(page.select(".cell")) == 2


def test_a_page_has_an_icon_a_theme_and_no_name_twice() -> None:
    page = repaired("""<html data-theme="auto"><head></head><body><section id="proof-content">
        <p>One.</p></section><div id="proof"><section id="proof-content"></section></div>
        <main id="main-content">
        </main></body></html>""")
    assert [tag["id"] for tag in page.select("[id]")] == ["main-content"]
    assert one(page, "html")["data-theme"] == "light"
    assert str(one(page, "head > link[rel=icon]")["href"]).startswith("data:image/svg+xml,")


def test_icons_are_drawn_in_the_page(tmp_path: Path) -> None:
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
    fonts = theme / icons.FONTS.removeprefix("_static/")
    page = BeautifulSoup(
        '<script src="fontawesome.js?x"></script><i class="theme-switch fa-solid fa-sun fa-lg" '
        'data-mode="light"></i><span class="fa-solid fa-bars"></span>',
        "html.parser",
    )
    icons.draw(page, fonts)
    sun, bars = page.select("svg.icon > path")
    assert page.select("script, i, span") == []
    assert one(page, "svg.icon.theme-switch[data-mode=light] > path") is sun
    assert str(bars["d"]).startswith("M")
    wrong = BeautifulSoup('<i class="fa-solid fa-no-such-icon"></i>', "html.parser")
    with pytest.raises(BuildError, match="no-such-icon"):
        icons.draw(wrong, fonts)


def drawn(folder: Path) -> bytes:
    """A file of curves over a gradient, as RGBA, like those of matplotlib."""
    x = np.linspace(0, 6, 400)
    pixels = np.full((200, 400, 4), 255, np.uint8)
    pixels[..., 0] = (x * 40).astype(np.uint8)
    pixels[(100 + 90 * np.sin(x)).astype(int), np.arange(400), :3] = 0
    folder.mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "a.png")
    return (folder / "a.png").read_bytes()


def test_pictures_get_fewer_bytes_and_keep_their_pixels(tmp_path: Path) -> None:
    html, kept = tmp_path / "html", tmp_path / "kept"
    before = [drawn(html / folder) for folder in (pictures.SHOWN, pictures.TAKEN)]
    assert pictures.shrink(html, kept) == {"a.png": pictures.Picture("_images/a.webp", 400, 200)}
    made = [html / pictures.SHOWN / "a.webp", html / pictures.TAKEN / "a.png"]
    for content, path in zip(before, made, strict=True):
        assert path.stat().st_size < len(content)
        pair = [Image.open(file).convert("RGBA") for file in (BytesIO(content), path)]
        assert pair[0].tobytes() == pair[1].tobytes()
    assert not (html / pictures.SHOWN / "a.png").exists()


def test_a_figure_that_can_be_taken_away_as_svg_is_shown_so(tmp_path: Path) -> None:
    content = drawn(tmp_path / pictures.TAKEN)
    (tmp_path / pictures.TAKEN / "a.svg").write_text("<svg/>")
    drawn(tmp_path / pictures.SHOWN)
    (tmp_path / pictures.SHOWN / "b.png").write_bytes(content)
    Image.new("RGB", (40, 20)).save(tmp_path / pictures.SHOWN / "a.png")  # by name alone the same
    made = pictures.shrink(tmp_path, tmp_path / "kept")
    assert [path.name for path in (tmp_path / pictures.SHOWN).iterdir()] == ["a.webp"]
    page = BeautifulSoup(
        '<a href="../_images/b.png"><img src="../_images/b.png"></a><img src="_images/a.png">'
        '<img src="../_images/c.png"><a href="../_static/figures/b.png">',
        "html.parser",
    )
    pictures.point(page, made)
    assert [str(image["src"]) for image in page.select("img")] == [
        "../_static/figures/a.svg",
        "_images/a.webp",
        "../_images/c.png",
    ]
    assert [str(link["href"]) for link in page.select("a")] == [
        "../_static/figures/a.svg",
        "../_static/figures/b.png",
    ]


def test_every_figure_is_a_link_to_its_picture() -> None:
    page = BeautifulSoup(
        '<figure><img src="../_images/a.png"></figure><figure><a><img src="b.png"></a></figure>',
        "html.parser",
    )
    pictures.point(page, {"a.png": pictures.Picture("_static/figures/a.svg", 2, 1)})
    assert [link.get("href") for link in page.select("figure > a")] == [
        "../_static/figures/a.svg",
        None,
    ]


def test_a_tall_picture_is_cut_between_two_rows_of_panels() -> None:
    pixels = np.full((400, 200), 255, np.uint8)
    for row in range(4):  # panels, with white bands of 20 pixels between; the middle is one of them
        pixels[100 * row + 10 : 100 * row + 90, 20:180] = 0
    tall = Image.fromarray(pixels)
    assert pictures._cut(tall) == 200
    assert pictures._cut(tall.crop((0, 0, 200, 200))) == 0, "not tall"
    assert pictures._cut(Image.new("L", (200, 400))) == 0, "nowhere to cut"
    page = BeautifulSoup('<img src="_images/a.png"><img src="_images/b.png">', "html.parser")
    made = {
        f"{name}.png": pictures.Picture(f"{name}.webp", 2, 4, cut)
        for name, cut in zip("ab", (2, 0), strict=False)
    }
    pictures.point(page, made)
    assert [picture.get("data-cut") for picture in page.select("img")] == ["2", None]


def test_pictures_that_were_made_before_cost_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        drawn(tmp_path / name / pictures.TAKEN)
        pictures.shrink(tmp_path / name, tmp_path / "kept")
        (stored,) = (tmp_path / "kept").glob("*.png")
        if name == "one":
            os.utime(stored, (1, 1))
    assert stored.stat().st_mtime == 1
