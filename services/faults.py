"""Named crash points: where a test kills the process, to show that what it leaves behind is whole.

Between two steps that together must not be seen half done, code says where it is:

    self._write(new)
    crash_point("registry.previous-set")
    self._write(other)

With ``DENGAR_CRASH_AT=registry.previous-set`` in its environment the process kills itself there with SIGKILL: no
handler runs, no buffer is flushed, no lock is given back. ``DENGAR_CRASH_AT=store.appended:3`` does so the third time.
Without the variable a crash point is one comparison.

A name is ``package.step``: the module or package that the point is in, and what has just been done, in the past tense;
it is a literal and stands at one place alone, so that `find_crash_points` sees all of them in the code. A test module
that kills processes at some of them names these in a constant ``CRASH_POINTS`` (a tuple of literals) and runs its tests
for each of it; `tests/services/test_faults.py` compares the two, so that no point stays untested.
"""

from __future__ import annotations

import ast
import os
import re
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

from asr.errors import ConfigError

CRASH_AT = "DENGAR_CRASH_AT"
"""The environment variable that says where to crash, as ``NAME`` or ``NAME:TIMES``; read once, at import."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_-]*)+")


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A crash point as it stands in the code.

    Attributes:
        name: of it.
        path: the file.
        line: counted from 1.
    """

    name: str
    path: Path
    line: int


@dataclass(slots=True)
class _Armed:
    """Where to crash, and how many times it is passed before."""

    name: str
    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self) -> None:
        with self.lock:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def crash_point(name: str) -> None:
    """Kills the process if its environment wants that here; else nothing.

    Args:
        name: a literal, as ``package.step``.
    """
    if _armed is not None and _armed.name == name:
        _armed.reach()


def find_crash_points(*folders: Path) -> dict[str, CrashPoint]:
    """All crash points in the Python files of folders, by name.

    Args:
        folders: of packages; their folders are looked through too.

    Raises:
        ConfigError: a name that is no literal, has no ``package.step``, or stands at two places.
    """
    found: dict[str, CrashPoint] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "crash_point" not in text:
            continue
        for node in ast.walk(ast.parse(text, str(path))):
            if not isinstance(node, ast.Call) or _called(node.func) != "crash_point":
                continue
            literal = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if not isinstance(literal, str) or not _NAME.fullmatch(literal):
                raise ConfigError(f"{path}:{node.lineno}: a crash point wants a literal name like 'package.step'")
            if literal in found:
                first = found[literal]
                raise ConfigError(f"{path}:{node.lineno}: {literal} is already at {first.path}:{first.line}")
            found[literal] = CrashPoint(literal, path, node.lineno)
    return found


def _called(function: ast.expr) -> str:
    """The last part of a called name."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _armed_by(value: str) -> _Armed | None:
    """What the environment variable says; raises `ConfigError`."""
    if not value:
        return None
    name, colon, times = value.partition(":")
    if not _NAME.fullmatch(name) or (colon and not re.fullmatch(r"[1-9][0-9]{0,8}", times)):
        raise ConfigError(f"{CRASH_AT} is {value!r}; write NAME or NAME:TIMES, like registry.previous-set:2")
    return _Armed(name, int(times) if colon else 1)


_armed = _armed_by(os.environ.get(CRASH_AT, ""))
