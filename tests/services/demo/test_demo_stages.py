import io

import pytest
from rich.console import Console

from services.demo.stages import Clock


def test_stages_are_numbered_timed_and_told() -> None:
    written = io.StringIO()
    console = Console(file=written, width=100)
    clock = Clock(console)
    with clock.stage("first", 10):
        pass
    with pytest.raises(ValueError, match="broken"), clock.stage("second", 20):
        raise ValueError("broken")
    console.print(clock.table())
    text = written.getvalue()
    assert "1. first" in text
    assert "2. second" in text
    assert [(lap.title, lap.budget_s) for lap in clock.laps] == [("first", 10), ("second", 20)]
    assert all(0 <= lap.seconds < 5 for lap in clock.laps)
    assert clock.total_s == sum(lap.seconds for lap in clock.laps)
    assert text.splitlines()[-1].split() == ["all", "0", "s", "30", "s"]
