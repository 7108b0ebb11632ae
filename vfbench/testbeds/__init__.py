"""The testbeds by name. Each is a module, imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from vfbench.errors import UserError
from vfbench.parameters import unknown

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.records import Outcome

Progress = Callable[[float, str], None]
"""Called often with the fraction done, 0 to 1, and the name of the phase; cheap."""

TESTBEDS = {
    "model": "vfbench.testbeds.model",
    "kvm": "vfbench.testbeds.kvm",
    "qemu": "vfbench.testbeds.qemu",
}
"""Where each testbed is; the first line of its docstring is its summary."""


class Testbed(Protocol):
    """What a testbed's module offers."""

    def run(self, experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
        """Run it to its end. RunFailed for a run that can't go on, UserError for what the user must mend."""

    def refusals(self, experiment: Experiment) -> list[str]:
        """One line for each parameter that it can't honour, naming the value; empty if it can honour all."""


def load_testbed(name: str) -> Testbed:
    """The module of a testbed; UserError for a name that there isn't."""
    if name not in TESTBEDS:
        raise unknown("no testbed is called", name, TESTBEDS)
    try:
        return cast("Testbed", importlib.import_module(TESTBEDS[name]))
    except ImportError as error:
        raise UserError(f"testbed {name!r} can't be loaded here: {error}") from error
