"""The VF's mailbox to its PF: 16 words and a register (82599 datasheet, 4.3.4 and 8.3.5.1.7), API 1.3 of Linux's ixgbe.

Source of the messages: ixgbe_mbx.h and ixgbe_sriov.c of Linux; ixgbevf's vf.c for what it asks.
"""

from __future__ import annotations

WORDS = 16

REQUEST, ACKNOWLEDGE, VF_USES_BUFFER, PF_USES_BUFFER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
PF_STATUS, PF_ACKNOWLEDGED, RESET_INDICATED, RESET_DONE = 1 << 4, 1 << 5, 1 << 6, 1 << 7
_CLEARED_BY_READ = PF_STATUS | PF_ACKNOWLEDGED | RESET_DONE

ACK, NACK, CLEAR_TO_SEND = 1 << 31, 1 << 30, 1 << 29
_CODE_MASK = 0xFFFF

RESET = 0x01
SET_MAC_ADDRESS, SET_MULTICAST, SET_VLAN, SET_LONGEST_PACKET, SET_MAC_VLAN = range(0x02, 0x07)
NEGOTIATE_API = 0x08
GET_QUEUES = 0x09
UPDATE_XCAST_MODE = 0x0C
_JUST_ACKNOWLEDGED = (
    SET_MAC_ADDRESS,
    SET_MULTICAST,
    SET_VLAN,
    SET_LONGEST_PACKET,
    SET_MAC_VLAN,
    UPDATE_XCAST_MODE,
)
API_1_3 = 4
"""What NEGOTIATE_API calls it (enum ixgbe_pfvf_api_rev)."""


class Mailbox:
    """The PF's end of it, answering at once. ``most_queues``: queue pairs that the PF gives the VF."""

    def __init__(self, mac: bytes, most_queues: int) -> None:
        self._mac = mac
        self._most_queues = most_queues
        self.words = [0] * WORDS
        self.status = 0
        self.requests: list[int] = []

    def read_status(self) -> int:
        """VFMAILBOX; three of its bits are cleared by reading."""
        status = self.status
        self.status &= ~_CLEARED_BY_READ
        return status

    def write_status(self, value: int) -> None:
        """The VF takes or gives up the buffer, or rings."""
        self.status = (self.status & ~VF_USES_BUFFER) | (value & VF_USES_BUFFER)
        if value & REQUEST:
            self._answer(self.words[0] & _CODE_MASK)
            self.status |= PF_STATUS | PF_ACKNOWLEDGED

    def reset(self) -> None:
        """The function was reset."""
        self.words = [0] * WORDS
        self.status = RESET_DONE

    def state(self) -> dict[str, object]:
        """What a destination must know."""
        return {"words": list(self.words), "status": self.status}

    def load(self, state: dict[str, object]) -> None:
        self.words = [int(word) for word in state["words"]]  # type: ignore[attr-defined]
        self.status = int(state["status"])  # type: ignore[call-overload]

    def _answer(self, code: int) -> None:
        self.requests.append(code)
        if code == RESET:
            self.words[0] = RESET | ACK
            self.words[1] = int.from_bytes(self._mac[:4], "little")
            self.words[2] = int.from_bytes(self._mac[4:], "little")
            self.words[3] = 0
            return
        accepted = code in _JUST_ACKNOWLEDGED or code == GET_QUEUES
        if code == NEGOTIATE_API:
            accepted = self.words[1] == API_1_3
        if code == GET_QUEUES:
            # Transmit and receive queues, traffic classes of a port VLAN, the default queue.
            self.words[1:5] = [self._most_queues, self._most_queues, 0, 0]
        self.words[0] |= (ACK if accepted else NACK) | CLEAR_TO_SEND
