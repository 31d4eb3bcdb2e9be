"""Processes that are killed at crash points (`services.faults`), for tests of what they leave behind.

A test module names the points that it covers in ``CRASH_POINTS``, and runs a test for each of them::

    CRASH_POINTS = ("store.appended", "store.sealed")

    @pytest.mark.parametrize("point", CRASH_POINTS)
    def test_a_crash_leaves_the_store_whole(point: str, tmp_path: Path) -> None:
        crash(point, "from pathlib import Path; ...", str(tmp_path))
        ...  # open it again, in this process: what must be there, and what must not
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from services.faults import CRASH_AT

ROOT = Path(__file__).parents[2]


def environment(point: str = "", times: int = 1, **more: str) -> dict[str, str]:
    """That of a process which is to die at a crash point when it passes it for the `times`-th time."""
    return {**os.environ, **more, CRASH_AT: f"{point}:{times}" if point else ""}


def crash(point: str, code: str, *arguments: str, times: int = 1, **more: str) -> str:
    """Runs Python code in a process of its own, until it kills itself at a crash point.

    Args:
        point: where; the test fails if the code does not come there.
        code: what to run, from the project's root; ``sys.argv[1:]`` are the arguments.
        arguments: of it.
        times: how often it comes there until it dies.
        more: of the environment.

    Returns:
        What it printed before.
    """
    command = [sys.executable, "-c", code, *arguments]
    ran = subprocess.run(
        command,
        env=environment(point, times, **more),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, f"{point} was not reached ({ran.returncode}): {ran.stderr[-2000:]}"
    return ran.stdout


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Lets this process write nothing into files, as on a disk that is full, and anybody may do it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # Python ignores SIGXFSZ: writing raises OSError
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def served_process(
    *arguments: str, point: str = "", stderr: str = "/dev/null"
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs `dengar serve`, to die at a crash point if one is named; yields the process and its address."""
    command = [
        sys.executable,
        "-m",
        "services.cli.main",
        "serve",
        "--port",
        "0",
        "--json",
        "--threads",
        "1",
        *arguments,
    ]
    with (
        Path(stderr).open("w") as errors,
        subprocess.Popen(
            command, env=environment(point), cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the server did not start ({process.wait(60)})"
            ready = json.loads(line)
            yield process, f"{ready['host']}:{ready['port']}"
        finally:
            process.kill()
