"""Many processes that are killed, for the price of one: their modules are imported once, and then they are forked.

As `tests.services.crashing`, which starts each process anew; the server that forks has one thread and no connection.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from tests.services.crashing import ROOT, environment

SERVER = """
import importlib, json, os, sys, traceback
from services import faults
for module in sys.argv[1:]:
    importlib.import_module(module)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    status = 1
    try:
        with open(asked["output"], "w") as sys.stdout:
            faults._armed = faults._armed_by(asked["crash_at"])
            sys.argv[1:] = asked["arguments"]
            exec(asked["code"], {"__name__": "__main__"})
        status = 0
    except BaseException:
        with open(asked["output"], "a") as file:
            traceback.print_exc(file=file)
    os._exit(status)
"""


class Forker:
    """Runs Python code in processes that have imported some modules already.

    Args:
        modules: by name.
    """

    def __init__(self, *modules: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, *modules],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def crash(self, point: str, code: str, *arguments: str, times: int = 1) -> str:
        """What `tests.services.crashing.crash` does: runs code until it dies at a crash point; what it printed."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        descriptor, output = tempfile.mkstemp()
        os.close(descriptor)
        try:
            asked = {"output": output, "crash_at": f"{point}:{times}", "code": code, "arguments": arguments}
            self._server.stdin.write(json.dumps(asked) + "\n")
            self._server.stdin.flush()
            status = int(self._server.stdout.readline())
            said = Path(output).read_text(encoding="utf-8")
        finally:
            Path(output).unlink()
        assert status == -signal.SIGKILL, f"{point} was not reached ({status}): {said[-2000:]}"
        return said

    def __enter__(self) -> Forker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.communicate(timeout=60)
