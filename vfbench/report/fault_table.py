"""What became of each fault: its switch, the verdict without it and with it, and what was caught."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfbench.records.damage import DAMAGED, WHOLE, Damage, damage
from vfbench.report.blocks import wrap

if TYPE_CHECKING:
    from vfbench.sweeps.faults import Fault


@dataclass(frozen=True)
class Caught:
    """A fault with the rows of its two runs."""

    fault: Fault
    without: Mapping[str, Any]
    with_it: Mapping[str, Any]

    @property
    def off(self) -> Damage:
        """With the switch off."""
        return damage([self.without])

    @property
    def on(self) -> Damage:
        """With the switch on."""
        return damage([self.with_it])

    @property
    def skipped(self) -> str:
        """Why there is nothing to see; empty if both ran."""
        found = [row for row in (self.without, self.with_it) if row["state"] == "skipped"]
        return str(found[0]["reason"]) if found else ""

    @property
    def as_it_should(self) -> bool:
        """Whole without, damaged with; a fault that can't be had is no failure."""
        return bool(self.skipped) or (self.off.verdict == WHOLE and self.on.verdict == DAMAGED)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "number": self.fault.number,
            "what": self.fault.what,
            "strategy": self.fault.strategy,
            "switch": dict(self.fault.switch),
            "settings": dict(self.fault.settings),
            "off": self.off.to_json(),
            "on": self.on.to_json(),
            "skipped": self.skipped or None,
            "caught": self.on.verdict == DAMAGED,
        }


def fault_lines(found: Sequence[Caught], width: int) -> Iterable[str]:
    """Three lines for each fault, and how many were caught as the last."""
    for each in found:
        yield from _wrapped(f"{each.fault.number:>2}  {each.fault.what}: {each.fault.switched}", width)
        if each.skipped:
            yield from _wrapped(f"    skipped: {each.skipped}", width)
            continue
        yield from _wrapped(f"    off: {_ended(each.off, each.without)}", width)
        yield from _wrapped(f"    on:  {_ended(each.on, each.with_it)}", width)
    yield ""
    ran = [each for each in found if not each.skipped]
    caught = sum(each.on.verdict == DAMAGED for each in ran)
    words = f"{caught} of {len(ran)} faults caught"
    wrong = [each.fault.number for each in ran if each.off.verdict != WHOLE]
    words += f"; not whole without the fault: {', '.join(wrong)}" if wrong else ", all whole without"
    words += f"; {len(found) - len(ran)} skipped" if len(ran) < len(found) else ""
    yield from wrap(f"{words}. `bench faults --commands` prints the command of each.", width)


def _ended(found: Damage, row: Mapping[str, Any]) -> str:
    return str(found) if row["state"] == "ok" else f"{found} ({row['state']}: {row['reason']})"


def _wrapped(text: str, width: int) -> list[str]:
    indent = text[: len(text) - len(text.lstrip())]
    first, *others = wrap(text.strip(), width - len(indent) - 2)
    return [indent + first, *(f"{indent}  {line}" for line in others)]
