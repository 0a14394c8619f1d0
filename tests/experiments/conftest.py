"""Sweeps of small experiments run in the test's own process: to start others takes longer."""

import pytest


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """What joblib takes for the number of cores, where a test does not say otherwise."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
