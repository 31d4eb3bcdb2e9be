"""What goes wrong with the store.

::

    DengarError
    └── StoreError              the database or the audio store fails, or holds what this version cannot use
        ├── StoreBusyError      others write at the same time; trying again helps (`Store.run` does)
        └── LeaseLostError      a job is no longer this worker's
"""

from __future__ import annotations

from asr.errors import DengarError


class StoreError(DengarError):
    """The database or the audio store cannot be used."""

    exit_code = 6


class StoreBusyError(StoreError):
    """A transaction met another one; it can be tried again."""


class LeaseLostError(StoreError):
    """A job was taken over, stopped or begun anew; whatever its worker made since is not wanted.

    Attributes:
        status: of the job now; empty if it is gone.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status
