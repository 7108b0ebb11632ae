"""What every reader takes for granted of a manifest, as types that msgspec holds it against."""

from __future__ import annotations

from typing import Any, NotRequired, Required, TypedDict

from vfbench.untrusted import check_shape

Scalar = bool | int | float | str
Facts = dict[str, Scalar | dict[str, Scalar | None] | None]
"""Of an environment: names and values, and packages with their versions."""


class Part(TypedDict):
    """A strategy or a workload."""

    name: str
    parameters: NotRequired[dict[str, Scalar]]
    inputs: NotRequired[dict[str, str]]


class Asked(TypedDict, total=False):
    """An experiment but for its groups of settings."""

    strategy: Required[Part]
    workload: Required[Part]
    profile: str
    testbed: str
    seed: int


class CostsUsed(TypedDict):
    """The profile of a run."""

    name: str
    digest: str
    figures: NotRequired[dict[str, Any]]


class Manifest(TypedDict):
    """A run's manifest, of a schema that is read here."""

    experiment: Asked
    state: str
    command: str
    started: str
    wall_s: int | float
    profile: CostsUsed
    environment: Facts


def check_manifest(manifest: dict[str, Any]) -> None:
    """ValueError that names the first value of another type."""
    check_shape(manifest, Manifest)
    groups = {
        name: each for name, each in manifest["experiment"].items() if name not in Asked.__annotations__
    }
    for name, group in groups.items():
        check_shape({"experiment": {name: group}}, dict[str, dict[str, dict[str, Scalar]]])
