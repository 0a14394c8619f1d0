"""Finished trials on disk: a directory, one small JSON file a trial, never a broken one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Store:
    """Results of one function under one state of the code (see ``provenance.code_digest``).

    A file is named after a digest of the function, the code, the spec and the seed, and holds those
    beside the result, so that results of other code are never read. Files appear whole, by
    renaming: a process that is killed, or two at once on one directory, leave none cut short.
    """

    path: Path
    function: str
    code: str

    def identity(self, spec: Any, seed: int) -> dict[str, Any]:
        """What tells a trial from all others, in JSON's types."""
        mine = {"function": self.function, "code": self.code, "spec": plain(spec), "seed": seed}
        return json.loads(json.dumps(mine))

    def file(self, spec: Any, seed: int) -> Path:
        text = json.dumps(self.identity(spec, seed), sort_keys=True)
        return self.path / self.function / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"

    def read(self, spec: Any, seed: int) -> tuple[dict[str, float], float] | None:
        """Result and seconds; None where the trial is absent, or, with a warning, broken."""
        file = self.file(spec, seed)
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text)
            result = {str(name): float(value) for name, value in found.pop("result").items()}
            seconds = float(found.pop("seconds"))
            intact = json.dumps(found, sort_keys=True) == json.dumps(
                self.identity(spec, seed), sort_keys=True
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            intact = False
        if not intact:
            warnings.warn(f"store: {file} is broken and is computed again", stacklevel=3)
            return None
        return result, seconds

    def write(self, spec: Any, seed: int, result: dict[str, float], seconds: float) -> None:
        file = self.file(spec, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.identity(spec, seed) | {"result": result, "seconds": seconds})
        handle, name = tempfile.mkstemp(suffix=".tmp", dir=file.parent)
        try:
            with open(handle, "w", encoding="utf-8") as temporary:
                temporary.write(text)
            os.replace(name, file)
        except BaseException:
            os.unlink(name)
            raise


def plain(spec: Any) -> dict[str, Any]:
    """A dataclass as a dict of its class and fields. Raises TypeError for fields that are not plain
    numbers, strings, None, or tuples, lists, dicts and dataclasses of those."""

    def convert(value: Any, name: str) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [f.name for f in dataclasses.fields(value)]
            fields = {n: convert(getattr(value, n), f"{name}.{n}") for n in names}
            return {"class": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
        if isinstance(value, (tuple, list)):
            return [convert(item, f"{name}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: convert(item, f"{name}[{key!r}]") for key, item in value.items()}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(
            f"{name}: expected a plain number, string, tuple or dataclass, "
            f"got {type(value).__name__}"
        )

    fields: dict[str, Any] = convert(spec, "spec")
    return fields
