"""Pages of a book in a browser that may load files alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Page, Route

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
TELEPHONE, DESK = 390, 1280


def open_page(tab: Page, path: Path, width: int) -> list[str]:
    """Load a file and tell what went wrong; only files may be loaded."""
    problems: list[str] = []

    def refuse_the_network(route: Route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            problems.append(f"asked the network for {route.request.url}")
            route.abort()

    tab.unroute_all()
    tab.route("**/*", refuse_the_network)
    listeners = {
        "console": lambda m: problems.append(m.text) if m.type == "error" else None,
        "pageerror": lambda error: problems.append(f"script error: {error}"),
        "requestfailed": lambda request: problems.append(f"failed: {request.url}"),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)  # type: ignore[call-overload]
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(path.as_uri(), wait_until="load")  # "networkidle" can be told of a page half parsed
    if width == DESK:
        tab.wait_for_timeout(500)  # for what scripts ask for once the page is there
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    return problems
