"""Names that changed: records of older versions are read under those of today (``renamed.toml``)."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _renamed() -> tuple[dict[str, Any], ...]:
    return tuple(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["renamed"])


def renewed(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as one of today's would say it; the same object where nothing changed."""
    strategy = manifest["experiment"]["strategy"]
    parameters = strategy.get("parameters", {})
    for each in _renamed():
        if strategy["name"] == each["strategy"] and each["where"].items() <= parameters.items():
            kept = {name: value for name, value in parameters.items() if name not in each["drop"]}
            new = {**strategy, "name": each["to"], "parameters": {**each["set"], **kept}}
            return {**manifest, "experiment": {**manifest["experiment"], "strategy": new}}
    return manifest
