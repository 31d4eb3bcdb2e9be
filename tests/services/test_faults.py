"""Crash points: they kill when asked, else do nothing, and none stays untested."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from asr.errors import ConfigError
from services.faults import _armed_by, crash_point, find_crash_points
from tests.services.crashing import ROOT, crash, environment

STEPS = "from services.faults import crash_point\nfor n in range(3): print(n, flush=True); crash_point('a.step')"


def declared(module: Path) -> set[str]:
    """The points in a test module's ``CRASH_POINTS`` at which it crashes: by that constant, or by their names."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    loaded = any(
        isinstance(node, ast.Name) and node.id == "CRASH_POINTS" and isinstance(node.ctx, ast.Load)
        for node in ast.walk(tree)
    )
    strings = Counter(node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "CRASH_POINTS" for target in targets):
            names = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return {name for name in names if loaded or strings[name] > 1}
    return set()


def test_every_crash_point_in_the_code_is_tested_and_every_tested_one_exists() -> None:
    points = find_crash_points(ROOT / "services")
    tested = set().union(*(declared(path) for path in sorted((ROOT / "tests").rglob("test_*.py"))))
    untested = [
        f"{point.path.relative_to(ROOT)}:{point.line} {name}" for name, point in points.items() if name not in tested
    ]
    assert not untested, "name these in the CRASH_POINTS of a test module that crashes there"
    assert tested <= points.keys(), "these are in CRASH_POINTS but not in the code"


@pytest.mark.parametrize(("times", "printed"), [(1, "0\n"), (3, "0\n1\n2\n")])
def test_a_process_dies_at_its_point_at_the_time_it_is_told(times: int, printed: str) -> None:
    assert crash("a.step", STEPS, times=times) == printed


@pytest.mark.parametrize(("point", "times"), [("", 1), ("another.step", 1), ("a.step", 4)])
def test_nothing_happens_elsewhere(point: str, times: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STEPS], env=environment(point, times), cwd=ROOT, capture_output=True, check=True
    )
    assert ran.stdout.split() == [b"0", b"1", b"2"]


def test_without_the_variable_a_point_is_passed() -> None:
    crash_point("a.step")


@pytest.mark.parametrize("value", ["registry", "a.step:", "a.step:0", "a.step:two", "A.step", "a.step:1:2", "a b.c"])
def test_a_wrong_value_is_one_clear_error(value: str) -> None:
    with pytest.raises(ConfigError, match=r"DENGAR_CRASH_AT is .*; write NAME or NAME:TIMES"):
        _armed_by(value)


def test_points_are_found_by_name_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.py").write_text("import f\n\nf.crash_point('one.done')\n")
    (tmp_path / "two.py").write_text("if True:\n    crash_point('two.half-done')\n")
    (tmp_path / "three.py").write_text("crash_pointless = 'crash_point'\n")
    found = find_crash_points(tmp_path)
    assert {name: (point.path.name, point.line) for name, point in found.items()} == {
        "one.done": ("one.py", 3),
        "two.half-done": ("two.py", 2),
    }


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("crash_point(name)", "literal name"),
        ("crash_point('nodot')", "literal name"),
        ("crash_point()", "literal name"),
        ("crash_point('a.b')\ncrash_point('a.b')", "already at"),
    ],
)
def test_a_point_that_cannot_be_enumerated_is_refused(tmp_path: Path, code: str, says: str) -> None:
    (tmp_path / "module.py").write_text(code + "\n")
    with pytest.raises(ConfigError, match=says):
        find_crash_points(tmp_path)
