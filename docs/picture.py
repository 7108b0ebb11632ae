"""The README's picture, drawn from results/reference by the report's own function: `python docs/picture.py`."""

from __future__ import annotations

from pathlib import Path

from vfbench.files import write_file
from vfbench.records import read_runs, where
from vfbench.report import figures

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "throughput.png"
SHOWN = {
    "workload": "bulk",
    "workload.rate_bps": 0,
    "workload.send_ratio": 0,
    "guest.queues": 1,
    "guest.packet_memory_bytes": 16 << 20,
    "driver.page_reuse": "none",
    "driver.page_order": "lifo",
    "migration.downtime_limit_ns": 30_000_000,
    "strategy.mode": "strict",
    "strategy.exit_to": "kernel",
    "strategy.entries": 1,
    "strategy.tracking": "always",
    "strategy.skip_mapped": True,
}
"""Every packet on a fresh page: the case in which the strategies differ most."""


def main() -> None:
    """Write the picture."""
    runs = read_runs(ROOT / "results" / "reference")
    chosen = where(runs, SHOWN)
    orderly = chosen["stop_order"] == "device-first"
    chosen = chosen[orderly | chosen["dma_visible_by"].isin(["none", "host-copy"])]
    write_file(PICTURE, figures.to_png(figures.throughput_by_frame_size(chosen)), replace=True)


if __name__ == "__main__":
    main()
