"""How the destination's process begins: ``python -m`` this module, with the number of its end of the stream.

It beats before it loads what takes time, the compiler above all, so that a destination which stands still before its
VM is ready is told from one that is starting.
"""

from __future__ import annotations

import os
import sys

from vfbench.testbeds.kvm.migrate.stream import inherited


def main() -> int:
    """Serve one source; returns the exit code."""
    connection = inherited(int(sys.argv[1]))
    connection.start_beating()
    # Only now: see above.
    from vfbench.testbeds.kvm.migrate.destination import take_in

    return take_in(connection)


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    # At once: the thread that reads standard input never ends by itself.
    os._exit(exit_code)
