"""The script of a migration, checked verb by verb: each declares what must hold before it.

A strategy calls the verbs of ``vfbench.strategy.Migration``; what it calls out of order is a failed run that says so in
one line, on every testbed, before the testbed does anything. The faults of the argument are orders that a real system
can have, and stay legal: the device may stop after the guest, and even after the copy of the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.errors import RunFailed
from vfbench.mechanism import Postponing
from vfbench.strategy import backends

if TYPE_CHECKING:
    from vfbench.strategy import Migration, Strategy


class Script:
    """`vfbench.strategy.Migration` that passes each verb on to a testbed's own once it may come."""

    def __init__(self, verbs: Migration, strategy: Strategy) -> None:
        self._backends = {each.name: each for each in backends(strategy)}
        self._serves = next(iter(self._backends), "")
        devices = [each.device for each in self._backends.values()]
        self._verbs = verbs
        self._name = strategy.name
        self._postpones = any(isinstance(each, Postponing) for each in strategy.mechanisms)
        self._has_vf = "vf" in devices
        self._vf_plugged = self._has_vf
        self._has_standby = len(devices) > 1
        self._done: list[str] = []
        self._tracking = False

    def finished(self) -> None:
        """The script has ended: RunFailed unless the guest runs on at the destination."""
        if not self._done:
            raise RunFailed(
                f"strategy {self._name!r}: migrate() calls no verb: the guest has not been migrated"
            )
        if not self._after("resume"):
            raise self._failure("migrate()'s end", "resume() is missing: the guest runs nowhere")
        if self._after("postpone_rest") and not self._after("fetch_rest"):
            raise self._failure("migrate()'s end", "fetch_rest() is missing: memory was left behind")
        if self._has_vf and not self._has_standby and not self._vf_plugged:
            raise self._failure("migrate()'s end", "plug_vf() is missing: the guest has no device")

    def arm_tracking(self) -> None:
        self._require("arm_tracking", (not self._tracking, "tracking is armed already"))
        self._verbs.arm_tracking()
        self._tracking = True

    def disarm_tracking(self) -> None:
        self._require("disarm_tracking", (self._tracking, "tracking was not armed"))
        self._verbs.disarm_tracking()
        self._tracking = False

    def pre_copy(self) -> None:
        self._require("pre_copy", self._before("pre_copy"), self._before("copy_rest"))
        self._verbs.pre_copy()

    def shrink_rest(self) -> None:
        self._require(
            "shrink_rest", self._needs("pre_copy"), self._before("shrink_rest"), self._before("pause_guest")
        )
        self._verbs.shrink_rest()

    def notify_driver(self) -> None:
        self._require("notify_driver", self._before("notify_driver"), self._guest_runs(), self._at_source())
        self._verbs.notify_driver()

    def stop_device(self) -> None:
        self._require("stop_device", self._before("stop_device"), self._at_source())
        self._verbs.stop_device()

    def drain(self) -> None:
        self._require("drain", self._needs("stop_device"), self._guest_runs(), self._at_source())
        self._verbs.drain()

    def pause_guest(self) -> None:
        self._require("pause_guest", self._before("pause_guest"), self._at_source())
        self._verbs.pause_guest()

    def copy_rest(self) -> None:
        self._require(
            "copy_rest", self._needs("pre_copy"), self._needs("pause_guest"), self._before("copy_rest")
        )
        self._verbs.copy_rest()

    def postpone_rest(self) -> None:
        self._require(
            "postpone_rest",
            (self._postpones, "none of its mechanisms has absent memory"),
            self._needs("stop_device"),
            self._needs("pause_guest"),
            self._before("copy_rest"),
            self._before("postpone_rest"),
        )
        self._verbs.postpone_rest()

    def fetch_rest(self) -> None:
        self._require(
            "fetch_rest", self._needs("postpone_rest"), self._needs("resume"), self._before("fetch_rest")
        )
        self._verbs.fetch_rest()

    def transfer_vf_state(self) -> None:
        self._require(
            "transfer_vf_state",
            (self._has_vf and self._vf_plugged, "there is no VF whose state could be transferred"),
            self._needs("stop_device"),
            self._memory_moved(),
            self._before("transfer_vf_state"),
            self._at_source(),
        )
        self._verbs.transfer_vf_state()

    def restore_rings(self) -> None:
        self._require(
            "restore_rings",
            self._needs("transfer_vf_state"),
            self._before("restore_rings"),
            self._at_source(),
        )
        self._verbs.restore_rings()

    def resume(self) -> None:
        self._require(
            "resume",
            self._memory_moved(),
            self._needs("stop_device"),
            self._before("resume"),
            (not self._vf_plugged or self._after("transfer_vf_state"), "the VF's state was not transferred"),
        )
        self._verbs.resume()

    def switch_to(self, backend: str) -> None:
        given, known = self._backends.get(backend), ", ".join(self._backends)
        serves = self._backends.get(self._serves)
        drivers = [each.driver for each in (given, serves) if each is not None]
        self._require(
            f"switch_to({backend!r})",
            (given is not None, f"its mechanisms that serve packets are {known}"),
            (backend != self._serves, f"{backend} serves already"),
            (len(set(drivers)) == 1, f"the guest's driver is {serves.driver if serves else 'none'}"),
            (self._after("copy_rest") or not self._after("pause_guest"), "the rest has not been copied"),
            self._at_source(),
        )
        self._verbs.switch_to(backend)
        self._serves = backend

    def unplug_vf(self) -> None:
        self._require(
            "unplug_vf",
            (self._vf_plugged, "no VF is plugged in"),
            (self._has_standby, "there is no virtio-net to fail over to"),
            self._guest_runs(),
        )
        self._verbs.unplug_vf()
        self._vf_plugged = False

    def plug_vf(self) -> None:
        self._require(
            "plug_vf",
            (self._has_vf, "the strategy has no VF among its mechanisms"),
            (not self._vf_plugged, "the VF is plugged in already"),
            self._guest_runs(),
        )
        self._verbs.plug_vf()
        self._vf_plugged = True

    # -- what a verb may ask for

    def _after(self, verb: str) -> bool:
        return verb in self._done

    def _needs(self, verb: str) -> tuple[bool, str]:
        return self._after(verb), f"it comes before {verb}()"

    def _memory_moved(self) -> tuple[bool, str]:
        """The rest was copied, or left behind on purpose."""
        return self._after("copy_rest") or self._after("postpone_rest"), "it comes before copy_rest()"

    def _before(self, verb: str) -> tuple[bool, str]:
        return not self._after(verb), f"it comes after {verb}()"

    def _at_source(self) -> tuple[bool, str]:
        return not self._after("resume"), "it comes after resume()"

    def _guest_runs(self) -> tuple[bool, str]:
        paused = self._after("pause_guest") and not self._after("resume")
        return not paused, "the guest is paused"

    def _require(self, verb: str, *conditions: tuple[bool, str]) -> None:
        for holds, complaint in conditions:
            if not holds:
                raise self._failure(verb if verb.endswith(")") else f"{verb}()", complaint)
        self._done.append(verb.partition("(")[0])

    def _failure(self, what: str, complaint: str) -> RunFailed:
        so_far = ", ".join(f"{verb}()" for verb in self._done) or "nothing"
        return RunFailed(
            f"strategy {self._name!r}: {what} can't be carried out: {complaint} (so far: {so_far})"
        )


def carry_out(strategy: Strategy, verbs: Migration) -> None:
    """Run a strategy's script on a testbed's verbs; RunFailed for a script that is out of order, or ends too soon."""
    script = Script(verbs, strategy)
    strategy.migrate(script)
    script.finished()
