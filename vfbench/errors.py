"""The ways a run ends that are no fault of the program."""

from __future__ import annotations


class UserError(Exception):
    """The user asked for something that can't be had.

    The message is one line that names the offending value and what would do. The command line prints it
    without a traceback (`--debug` shows one) and exits with code 2.
    """


class Unavailable(UserError):
    """A strategy that this testbed or machine can't have, in one line.

    Asked for alone it is an error like any other; among several strategies it is a row with state `skipped`.
    """


class RunFailed(Exception):
    """A run that came to an end with a reason, which is recorded with it as state `failed`."""
