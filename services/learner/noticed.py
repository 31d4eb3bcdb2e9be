"""What the noticer found, in one batch or in all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_COUNTS = (
    "spans", "feedback", "mentions", "explained", "new", "merged", "dropped", "entities", "explained_late"
)  # fmt: skip


@dataclass(slots=True)
class Noticed:
    """What a batch, or several, found.

    Attributes:
        spans, feedback: rows that were looked at.
        mentions: that were added.
        explained: mentions taken back because the user made clear that nothing was unknown.
        new, merged, dropped: names.
        proposed, approved: ids of names that came so far.
        entities: of the catalogue that were new, and compared with what had been heard before.
        explained_late: spans that one of them explains.
        passed: rows that were passed over, by reason.
    """

    spans: int = 0
    feedback: int = 0
    mentions: int = 0
    explained: int = 0
    new: int = 0
    merged: int = 0
    dropped: int = 0
    entities: int = 0
    explained_late: int = 0
    proposed: list[str] = field(default_factory=list)
    approved: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Noticed) -> None:
        """Adds what another batch found."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.proposed += other.proposed
        self.approved += other.approved
        self.passed += other.passed
