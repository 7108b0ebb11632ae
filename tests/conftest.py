"""Places for the cache of captures that are the tests' own."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from vfbench.captures import cache


@pytest.fixture
def capture_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty at the beginning of each test; the folder with its entries."""
    monkeypatch.setattr(cache, "user_cache_path", lambda _name: tmp_path / "cache")
    return tmp_path / "cache" / "captures"


@pytest.fixture
def shared_capture_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all tests that replay captures and don't look at it."""
    monkeypatch.setattr(cache, "user_cache_path", lambda _name: tmp_path_factory.getbasetemp() / "cache")


def pytest_configure() -> None:
    """As a job in the background pytest is started with SIGINT ignored, and what it starts would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
