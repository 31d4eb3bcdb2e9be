"""Stages on a clock: each has a title and a share of the demo's time, and all are told at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Lap:
    """One finished stage: its title, the seconds it was given, and the seconds it took."""

    title: str
    budget_s: float
    seconds: float


@dataclass
class Clock:
    """Announces stages and keeps their times.

    Attributes:
        console: where they are announced.
        laps: the finished ones, in order.
    """

    console: Console
    laps: list[Lap] = field(default_factory=list)

    @contextmanager
    def stage(self, title: str, budget_s: float) -> Iterator[None]:
        """Prints the title, and keeps the time of what happens inside, also when it fails."""
        self.console.print()
        self.console.rule(f"[bold]{len(self.laps) + 1}. {title}", align="left")
        begun_s = time.monotonic()
        try:
            yield
        finally:
            self.laps.append(Lap(title, budget_s, time.monotonic() - begun_s))

    @property
    def total_s(self) -> float:
        """Seconds of all finished stages."""
        return sum(lap.seconds for lap in self.laps)

    def table(self) -> Table:
        """What each stage took, beside what it was given."""
        table = Table("stage", "took", "given", box=None, header_style="bold", pad_edge=False)
        table.columns[1].justify = table.columns[2].justify = "right"
        for lap in self.laps:
            late = "red" if lap.seconds > lap.budget_s else ""
            table.add_row(lap.title, f"{lap.seconds:.0f} s", f"{lap.budget_s:.0f} s", style=late)
        table.add_row("all", f"{self.total_s:.0f} s", f"{sum(lap.budget_s for lap in self.laps):.0f} s", style="bold")
        return table
