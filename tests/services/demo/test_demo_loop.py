"""The demo's server is the same process from the first query to the last, or the demo says that it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from asr.errors import DengarError
from services.demo.loop import _is_still
from services.load.server import Running

METRICS = (
    "import sys, time; from prometheus_client import start_http_server\n"
    "server, _ = start_http_server(int(sys.argv[1]), '127.0.0.1')\n"
    "print(server.server_port, flush=True); time.sleep(600)"
)


@pytest.fixture
def start() -> Iterator[Callable[[int], Running]]:
    """Starts processes that tell Prometheus when they started, on a port or a free one."""
    running: list[subprocess.Popen[str]] = []

    def run(port: int = 0) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-c", METRICS, str(port)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        running.append(process)
        assert process.stdout is not None
        port = int(process.stdout.readline())
        return Running("127.0.0.1:0", process.pid, "bundle", f"http://127.0.0.1:{port}/metrics")

    yield run
    for process in running:
        process.kill()
        process.communicate()


def test_a_server_is_the_same_until_it_ends(start: Callable[[int], Running]) -> None:
    server = start(0)
    first = server.identity()
    assert _is_still(server, first)
    subprocess.run(["kill", "-9", str(server.pid)], check=True)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert not _is_still(server, first)
    with pytest.raises(DengarError, match=f"process {server.pid}\\) is gone"):
        server.identity()  # a process that has ended and was not waited for is gone too
    with pytest.raises(DengarError, match="is gone"):
        server.usage()


def test_another_process_in_its_place_is_not_the_same(start: Callable[[int], Running]) -> None:
    server, other = start(0), start(0)
    assert not _is_still(other, server.identity())
    answered_by_other = Running(server.address, server.pid, server.bundle, other.metrics_url)
    assert not _is_still(answered_by_other, server.identity())
