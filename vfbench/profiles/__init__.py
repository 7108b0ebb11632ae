"""What things cost: profiles in TOML, every figure with its unit, its source and how sure it is.

`load_profile` refuses a profile that lacks a figure, holds one that is unknown, or states one badly, with a
`UserError` of one line that names the file, the figure, the value and what would do. Code that is given a
`Profile` need not check again.

A shipped profile may say `inherit = "<another>"` and state only what is different on its machine. What it takes
over was found on another machine, so it becomes an estimate, letter C, and its source says so; what is the same
software or the same rule there (a QEMU default, a driver's wait) is listed in `holds` and keeps letter and source.
Figures in cycles are taken over as cycles: the heir's clock turns them into time.

`[machine]` says what the machine has (vfbench/profiles/machine.py); an heir states what its own has otherwise. Costs
of what a machine may lack are stated where it is offered.
"""

from vfbench.profiles.figures import DIMENSIONS, REQUIRED
from vfbench.profiles.load import load_profile, shipped_profiles
from vfbench.profiles.machine import CAPABILITIES, Feature, Need, Offer
from vfbench.profiles.profile import SCHEMA, Figure, Measured, Profile

__all__ = [
    "CAPABILITIES",
    "DIMENSIONS",
    "REQUIRED",
    "SCHEMA",
    "Feature",
    "Figure",
    "Measured",
    "Need",
    "Offer",
    "Profile",
    "load_profile",
    "shipped_profiles",
]
