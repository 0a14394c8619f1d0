"""Where a chapter runs without being installed, from one setting: `repository` in `_config.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from builder import BuildError

FOLDER = "_downloads"
"""Of the site, in which the chapters lie as notebooks."""
PUBLISHED = "gh-pages"
"""The branch that the workflow puts the site on."""
_KNOWN = {"github.com": "gh", "gitlab.com": "gl"}


def hosts(repository: Mapping[str, str], name: str) -> dict[str, str]:
    """Host -> address at which it opens a chapter: Binder the source, Colab (which knows GitHub
    alone) the notebook of the published site. Nothing where `url` is empty.

    Raises BuildError where `url` names neither GitHub nor GitLab.
    """
    if not (found := _place(repository)):
        return {}
    host, path, branch = found
    source = quote(f"lab/tree/book/{name}.md", safe="")
    where = path if host == "gh" else quote(path, safe="")
    addresses = {"Binder": f"https://mybinder.org/v2/{host}/{where}/{branch}?urlpath={source}"}
    if host == "gh":
        notebook = f"{PUBLISHED}/{FOLDER}/{name}.ipynb"
        addresses["Colab"] = f"https://colab.research.google.com/github/{path}/blob/{notebook}"
    return addresses


def package(repository: Mapping[str, str], wheel: str) -> str:
    """What pip installs for a chapter that runs elsewhere: the package from the repository, where
    one is set, else the wheel that lies beside the notebook; nothing where there is no package."""
    if not wheel:
        return ""
    if not (found := _place(repository)):
        return f"./{wheel}[experiments]"
    name = wheel.partition("-")[0].replace("_", "-")
    url, branch = repository["url"].rstrip("/"), found[2]
    return f"{name}[experiments] @ git+{url}@{branch}"


def _place(repository: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Host in short, path and branch of the repository."""
    url = repository.get("url", "").rstrip("/")
    if not url:
        return None
    host, _, path = url.partition("://")[2].partition("/")
    if host not in _KNOWN or not path:
        raise BuildError(f"_config.yml: repository.url: expected GitHub or GitLab, got {url!r}")
    return _KNOWN[host], path, repository.get("branch", "main")
