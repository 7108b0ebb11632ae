"""Why a capture is not believed."""

from __future__ import annotations

CONVERT = "`editcap IN OUT` converts it"
DROP = "`editcap IN OUT {number}` leaves it out"


class Defect(Exception):  # noqa: N818 - it is of the file, not of the program
    """What is wrong, and what would do; the reader adds the file and the packet's number.

    In the remedy `{number}` stands for that.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


class NoCapture(Defect):
    """The file as a whole is no capture that can be read here."""


def cut_short(start: int) -> Defect:
    """The file ends within the record that begins at byte ``start``."""
    return Defect(
        f"the file ends within the record that begins at byte {start}", "`editcap IN OUT` leaves it out"
    )
