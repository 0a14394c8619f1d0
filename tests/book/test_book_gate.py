"""The gate after the build: each check lets a good page pass and refuses a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest
from builder import gate

GOOD = r"""<!DOCTYPE html><html><head><title>A page</title>
<link rel="stylesheet" href="book.css"><link rel="canonical" href="https://example.org/">
<script src="book.css"></script><style>a { background: url(book.css) }</style></head>
<body><p>See <a href="https://arxiv.org/abs/1906.02777">the paper</a>, <a href="#x">here</a>,
<a href="#">up</a>, <a href="index.html#x" id="x">there</a>, <a href="book.css#x">beside</a>
for $5 or \$7. <span class="math"><svg><use href="#g"/></svg><math><mi>\(</mi></math></span></p>
<pre>r"\alpha $x$"</pre><code>\beta</code>
<img src="book.css" alt="Error falls with the number of samples">
<iframe src="book.css" title="A surface to rotate"></iframe></body></html>"""

BAD = {
    gate.no_traceback: [
        "<pre>Traceback (most recent call last):</pre>",
        '<pre><span class="gt">Traceback</span> (most&nbsp;recent call last):</pre>',
        "<p>An Exception was encountered at In [3]</p>",
        '<div class="output traceback highlight">NameError</div>',
    ],
    gate.no_raw_tex: [
        r"<p>the rate \lambda</p>",
        r"<p>so \(x\) holds</p>",
        "<p>where $x_1$ lies</p>",
        "<p>$$x$$</p>",
        r"<h1>Chapter \mu</h1>",
    ],
    gate.no_warning: [
        '<div class="output stderr highlight-myst-ansi"><div class="highlight"><pre>UserWarning: x'
        "</pre></div></div>",
    ],
    gate.no_raw_markup: [
        "<p>see {eq}`eq-01-x`</p>",
        "<p>see {prf:ref}`thm-01-x`</p>",
        "<p>:::{hint}</p>",
        "<p>```{figure} x.png</p>",
        "<p>(sec-x)=\nWords</p>",
        "<p>{{ claims }}</p>",
    ],
    gate.no_external_resource: [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/x.css">',
        '<link rel="preconnect" href="https://fonts.example.org">',
        '<img src="http://example.org/x.png" alt="A picture of errors">',
        '<img src="book.css" srcset="book.css 1x, https://example.org/x.png 2x" alt="A b c">',
        '<iframe src="https://example.org" title="A page elsewhere"></iframe>',
        "<style>@import 'https://example.org/x.css';</style>",
        '<p style="background: url(https://example.org/x.png)">x</p>',
        '<pre><img src="https://example.org/x.png" alt="A picture of errors"></pre>',
    ],
    gate.images_have_alt_text: [
        '<img src="book.css">',
        '<img src="book.css" alt=" ">',
        '<img src="book.css" alt="../_images/0a1b2c.png">',
        '<img src="book.css" alt="figure">',
        '<iframe src="book.css"></iframe>',
    ],
    gate.links_lead_somewhere: [
        '<a href="nowhere.html#x">x</a>',
        '<img src="_images/gone.png" alt="A picture of errors">',
        '<a href="#nowhere">x</a>',
        '<a href="index.html#nowhere">x</a>',
        '<a href="index.html#g">x</a>',
    ],
    gate.mathematics_is_set: [
        '<span class="math">x</span>',
        '<span class="math"><svg></svg></span>',
        '<div class="math"><math><mi>x</mi></math></div>',
    ],
}


def page(folder: Path, html: str) -> gate.Page:
    (folder / "book.css").write_text("")
    (folder / "index.html").write_text(html, encoding="utf-8")
    return gate.Page(folder, folder / "index.html")


@pytest.mark.parametrize("check", gate.CHECKS, ids=lambda check: check.__name__)
def test_a_good_page_passes(check: gate.Check, tmp_path: Path) -> None:
    assert list(check(page(tmp_path, GOOD))) == []


@pytest.mark.parametrize(
    ("check", "html"),
    [pytest.param(c, html, id=f"{c.__name__}-{html}") for c in BAD for html in BAD[c]],
)
def test_a_bad_page_is_refused(check: gate.Check, html: str, tmp_path: Path) -> None:
    bad = page(tmp_path, GOOD.replace("<body>", f"<body>{html}"))
    assert len(list(check(bad))) == 1


def test_every_check_has_a_page_that_it_refuses() -> None:
    assert set(BAD) == set(gate.CHECKS)


def test_a_page_of_the_contents_that_was_not_built_is_told(tmp_path: Path) -> None:
    page(tmp_path, GOOD)
    assert gate.inspect(tmp_path, []) == []
    assert gate.inspect(tmp_path, ["book/one"]) == ["book/one.html was not built"]


def test_a_style_sheet_that_loads_from_elsewhere_is_told(tmp_path: Path) -> None:
    page(tmp_path, GOOD)
    (tmp_path / "book.css").write_text("@import url(https://fonts.example.org/x.css);")
    complaint = "book.css loads url(https://fonts.example.org/x.css"
    assert gate.inspect(tmp_path, []) == [complaint]


def test_complaints_name_the_page(tmp_path: Path) -> None:
    page(tmp_path, GOOD.replace("<body>", "<body>$$x$$"))
    assert len(found := gate.inspect(tmp_path, [])) == 1
    assert found[0].startswith("index.html: raw TeX outside mathematics: $$")
