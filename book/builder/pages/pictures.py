"""Figures in fewer bytes, the same pixels: shown as WebP, a third, and loaded when needed; to take
away as PNG, three quarters."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
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
    """The new name of a file, and its size in pixels; cut is a line between two rows of panels near
    the middle of a tall one, else 0."""

    name: str
    width: int
    height: int
    cut: int = 0


def shrink(html: Path, kept: Path) -> dict[str, Picture]:
    """Replace the PNGs that pages show by WebP, and those to download by PNGs of fewer bytes;
    returns old name -> new of the former. `kept` holds those made before."""
    kept.mkdir(parents=True, exist_ok=True)
    shown, taken = (sorted((html / folder).glob("*.png")) for folder in (SHOWN, TAKEN))
    made = each(partial(_shrunk, kept=kept), [*shown, *taken])
    return {path.name: picture for path, picture in zip(shown, made, strict=False)}


def _shrunk(path: Path, kept: Path) -> Picture:
    content, taken = path.read_bytes(), path.parent.name == Path(TAKEN).name
    suffix = ".png" if taken else ".webp"
    store = kept / f"{hashlib.sha256(content).hexdigest()[:24]}{suffix}"
    if not store.is_file():
        part = store.with_suffix(f".{os.getpid()}")
        part.write_bytes(oxipng.optimize_from_memory(content, level=1) if taken else _webp(content))
        os.replace(part, store)
    with Image.open(store) as picture:
        size, cut = picture.size, 0 if taken else _cut(picture)
    path.unlink()
    shutil.copy(store, path.with_suffix(suffix))
    return Picture(f"{path.stem}{suffix}", *size, cut)


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
    """Images and links to the new files; sizes that keep the place; the first one at once."""
    for tag, name in (("img", "src"), ("a", "href")):
        for found in soup.find_all(tag, attrs={name: True}):
            folder, slash, file = str(found[name]).rpartition("/")
            if (new := made.get(file)) is not None:
                found[name] = f"{folder}{slash}{new.name}"
                if tag == "img":
                    found["width"], found["height"] = str(new.width), str(new.height)
                    if new.cut:
                        found["data-cut"] = str(new.cut)
    for picture in soup.select(".bd-article img")[1:]:
        picture["loading"], picture["decoding"] = "lazy", "async"
