"""Figures in fewer bytes, loaded when needed: shown as the SVG that can be taken away, or, where
there is none, as WebP; to take away as PNG too. All keep their pixels."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import oxipng
from bs4 import BeautifulSoup
from PIL import Image

from builder.parallel import each

SHOWN, TAKEN = "_images", "_static/figures"
_TALL = 1.2  # times as high as wide
_BAND = 8  # pixels


@dataclass(frozen=True)
class Picture:
    """The file that is shown, below the site's folder, and its size in pixels; cut is a line
    between two rows of panels near the middle of a tall one, else 0."""

    name: str
    width: int
    height: int
    cut: int = 0


def shrink(html: Path, kept: Path) -> dict[str, Picture]:
    """Replace the PNGs to download by PNGs of fewer bytes, and those that pages show by the SVG of
    the same figure, else by WebP; returns old name -> what is shown. `kept` holds those made
    before."""
    kept.mkdir(parents=True, exist_ok=True)
    shown, taken = (sorted((html / folder).glob("*.png")) for folder in (SHOWN, TAKEN))
    stems = {_digest(path): path.stem for path in taken if path.with_suffix(".svg").is_file()}
    pictures = each(partial(_replaced, stems=stems, kept=kept), shown)
    each(partial(_packed, kept=kept), taken)
    return {path.name: picture for path, picture in zip(shown, pictures, strict=True)}


def _replaced(path: Path, stems: Mapping[str, str], kept: Path) -> Picture:
    """`stems` maps the digest of a PNG to take away to the name of its SVG."""
    with Image.open(path) as picture:
        size, cut = picture.size, _cut(picture)
    if stem := stems.get(_digest(path)):
        path.unlink()
        return Picture(f"{TAKEN}/{stem}.svg", *size, cut)
    small = _made(path, kept, ".webp", _webp)
    return Picture(f"{SHOWN}/{small.name}", *size, cut)


def _packed(path: Path, kept: Path) -> None:
    _made(path, kept, ".png", partial(oxipng.optimize_from_memory, level=1))


def _made(path: Path, kept: Path, suffix: str, pack: Callable[[bytes], bytes]) -> Path:
    """What `pack` makes of a file, in its place."""
    store = kept / f"{_digest(path)}{suffix}"
    if not store.is_file():
        part = store.with_suffix(f".{os.getpid()}")
        part.write_bytes(pack(path.read_bytes()))
        os.replace(part, store)
    path.unlink()
    return Path(shutil.copy(store, path.with_suffix(suffix)))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


def _cut(picture: Image.Image) -> int:
    """The middle of the white band across a picture that is nearest to its own middle."""
    width, height = picture.size
    if height < _TALL * width:
        return 0
    white = [low > 250 for low in np.asarray(picture.convert("L")).min(axis=1)]
    edges = np.flatnonzero(np.diff([False, *white, False]))
    bands = [(a + b) // 2 for a, b in edges.reshape(-1, 2).tolist() if b - a >= _BAND]
    inner = [at for at in bands if height / 4 < at < 3 * height / 4]
    return min(inner, key=lambda at: abs(at - height / 2), default=0)


def _webp(content: bytes) -> bytes:
    made = BytesIO()
    with Image.open(BytesIO(content)) as picture:
        picture.save(made, "WEBP", lossless=True, method=4)
    return made.getvalue()


def point(soup: BeautifulSoup, made: Mapping[str, Picture]) -> None:
    """Images and links to the new files; sizes that keep the place; the first one at once. Each
    figure is a link to its picture, as those of cells are."""
    for bare in soup.select("figure > img"):
        bare.wrap(soup.new_tag("a", href=str(bare["src"]), attrs={"class": "image-reference"}))
    for tag, name in (("img", "src"), ("a", "href")):
        for found in soup.find_all(tag, attrs={name: True}):
            folder, _, file = str(found[name]).rpartition("/")
            if folder.endswith(SHOWN) and (new := made.get(file)) is not None:
                found[name] = f"{folder.removesuffix(SHOWN)}{new.name}"
                if tag == "img":
                    found["width"], found["height"] = str(new.width), str(new.height)
                    if new.cut:
                        found["data-cut"] = str(new.cut)
    for picture in soup.select(".bd-article img")[1:]:
        picture["loading"], picture["decoding"] = "lazy", "async"
