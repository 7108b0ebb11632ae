"""An experiment: everything that decides what a run does, frozen, validated, and able to name itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from vfbench import parameters
from vfbench.errors import UserError
from vfbench.settings import Device, Driver, Guest, Host, Kvm, Link, Phases, Precopy, Qemu, Settings

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

__all__ = [
    "GROUPS",
    "Device",
    "Driver",
    "Experiment",
    "Guest",
    "Host",
    "Kvm",
    "Link",
    "Phases",
    "Precopy",
    "Qemu",
    "Settings",
]

GROUPS: dict[str, type[Settings]] = {
    group.name: group for group in (Guest, Link, Driver, Device, Host, Precopy, Phases, Kvm, Qemu)
}
"""The groups by the name that they have in `--set`, in JSON, and as fields of an experiment."""

LARGEST_SEED = 2**32 - 1
DEFAULT_PROFILE = "xeon-82599"
DEFAULT_TESTBED = "model"


@dataclass(frozen=True)
class Experiment:
    """One run to be: a strategy under a workload, on a guest, with a seed. UserError if a part won't do."""

    strategy: Strategy
    workload: Workload
    guest: Guest = field(default_factory=Guest)
    link: Link = field(default_factory=Link)
    driver: Driver = field(default_factory=Driver)
    device: Device = field(default_factory=Device)
    host: Host = field(default_factory=Host)
    migration: Precopy = field(default_factory=Precopy)
    phases: Phases = field(default_factory=Phases)
    kvm: Kvm = field(default_factory=Kvm)
    qemu: Qemu = field(default_factory=Qemu)
    profile: str = DEFAULT_PROFILE
    testbed: str = DEFAULT_TESTBED
    seed: int = 1

    def __post_init__(self) -> None:
        for part in (self.strategy, self.workload):
            parameters.validate(part)
        for name, group in GROUPS.items():
            if type(getattr(self, name)) is not group:
                raise UserError(f"{name}: {getattr(self, name)!r} is no {group.__name__}")
        for name in ("profile", "testbed"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise UserError(f"{name}: {getattr(self, name)!r} is no name")
        if type(self.seed) is not int or not 0 <= self.seed <= LARGEST_SEED:
            raise UserError(f"seed: {self.seed!r} is no whole number from 0 to {LARGEST_SEED}")

    def to_json(self) -> dict[str, Any]:
        """A document of plain values; `from_json` gives an equal experiment."""
        document: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in ("strategy", "workload"):
                document[each.name] = {"name": value.name, "parameters": parameters.to_json(value)}
                if each.name == "workload" and value.inputs:
                    document[each.name]["inputs"] = dict(value.inputs)
            elif each.name in GROUPS:
                document[each.name] = parameters.to_json(value)
            else:
                document[each.name] = value
        return document

    @classmethod
    def from_json(
        cls,
        document: object,
        strategies: Mapping[str, type[Strategy]],
        workloads: Mapping[str, type[Workload]],
    ) -> Experiment:
        """The experiment that a document describes; what it leaves out but strategy and workload is default.

        UserError for an unknown strategy, workload, group or parameter, listing what exists, and for an input whose
        content is another now.
        """
        if not isinstance(document, Mapping):
            raise UserError(f"{document!r} is no experiment: an object with a strategy and a workload")
        known = [each.name for each in fields(cls)]
        for key in document:
            if key not in known:
                raise parameters.unknown("an experiment has no part", str(key), known)
        parts: dict[str, Any] = dict(document)
        parts["strategy"] = _named("strategy", document.get("strategy"), strategies)
        parts["workload"] = _named("workload", document.get("workload"), workloads)
        for name, group in GROUPS.items():
            if name in document:
                parts[name] = parameters.from_json(group, document[name])
        made = cls(**parts)
        _check_inputs(made.workload, document["workload"].get("inputs", {}))
        return made

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON: equal for equal experiments.

        A file is known by its content, not by its path. A group that says so is left out where it is wholly at its
        defaults, and so is a parameter that came later: a new one changes no digest.
        """
        document = self.to_json()
        for part in ("strategy", "workload"):
            document[part]["parameters"] = parameters.identity(getattr(self, part))
        for name, group in GROUPS.items():
            document[name] = parameters.identity(getattr(self, name))
            if group.left_out_of_identity_at_default and not parameters.changed(getattr(self, name)):
                del document[name]
        document = identity(document)
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Strategy, workload and every parameter that is not at its default; fit for a file name.

        Made from the parameters, so it can't lie about them. Two names may be equal where only the digest
        tells the experiments apart (file names are cut to their last part).
        """
        return "_".join(_file_safe(part) for part in self._name_parts())

    def settings(self) -> dict[str, str]:
        """Every parameter that is not at its default as `guest.memory` -> `4GiB`."""
        owners: list[object] = [self.strategy, self.workload, *(getattr(self, name) for name in GROUPS)]
        return {
            f"{parameters.owner_name(owner)}.{name}": text
            for owner in owners
            for name, text in parameters.changed(owner).items()
        }

    def _name_parts(self) -> list[str]:
        parts = [self.strategy.name, self.workload.name]
        own = {f"{part}." for part in parts}
        for name, text in self.settings().items():
            owner, dot, parameter = name.partition(".")
            parts.append(f"{parameter if owner + dot in own else name}={_without_folders(text)}")
        return parts


def identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's document without the paths of files whose content it names: equal for equal experiments."""
    workload = document["workload"]
    if not workload.get("inputs"):
        return dict(document)
    given = {name: value for name, value in workload["parameters"].items() if name not in workload["inputs"]}
    return {**document, "workload": {**workload, "parameters": given}}


_KEYS = {"strategy": ("name", "parameters"), "workload": ("name", "parameters", "inputs")}


def _check_inputs(workload: Workload, known: object) -> None:
    if not isinstance(known, Mapping):
        raise UserError(f"workload: inputs {known!r} is no object")
    for name, sha256 in workload.inputs.items():
        if known.get(name, sha256) != sha256:
            raise UserError(
                f"{workload.name}.{name}: the content of {getattr(workload, name)!r} is another now (SHA-256 "
                f"{sha256[:12]}..., not {str(known[name])[:12]}...); give the file that it was"
            )


def _named(kind: str, document: object, registry: Mapping[str, type[Any]]) -> Any:
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise UserError(f"{kind}: {document!r} is no object with a name and parameters")
    for key in document:
        if key not in _KEYS[kind]:
            raise parameters.unknown(f"{kind}: there is no key", str(key), _KEYS[kind])
    if document["name"] not in registry:
        raise parameters.unknown(f"no {kind} is called", document["name"], registry)
    return parameters.from_json(registry[document["name"]], document.get("parameters", {}))


def _without_folders(text: str) -> str:
    """The file's name of a path; a rate like `128MiB/s` has a slash too and stays."""
    return text if re.fullmatch(r"[0-9.]+[A-Za-z]*/s", text) else text.rpartition("/")[2]


def _file_safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=+-]+", "-", text)
