"""A server in a process of its own, and what it costs the machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.errors import DengarError

STOP_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STARTED = "process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used.

    Attributes:
        cpu_s: processor seconds of all its threads, since it started.
        memory_bytes: resident.
    """

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that serves.

    Attributes:
        pid: of it.
        started: clock ticks from the start of the machine to its own, as the kernel has it.
        told: when it started by its own account, asked over HTTP, in seconds since 1970; None if it does not say.
    """

    pid: int
    started: int
    told: float | None


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts calls.

    Attributes:
        address: host and port.
        pid: of its process.
        bundle: hash of what it serves.
        metrics_url: where Prometheus would ask; None if it does not say.
    """

    address: str
    pid: int
    bundle: str
    metrics_url: str | None = None

    def usage(self) -> Usage:
        """What it has used so far; raises `DengarError` if it is gone."""
        fields = self._stat()
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except OSError as error:
            raise self._gone() from error
        return Usage((int(fields[11]) + int(fields[12])) / _TICKS_PER_S, pages * _PAGE_BYTES)

    def identity(self) -> Identity:
        """Which process it is: no other has the same, and one that was started again has another.

        Raises:
            DengarError: it is gone, or does not answer at its metrics' address.
        """
        started = int(self._stat()[19])
        if self.metrics_url is None:
            return Identity(self.pid, started, None)
        try:
            told = scrape(self.metrics_url)[_STARTED]
        except (OSError, KeyError) as error:
            raise DengarError(f"the server at {self.address} does not say at {self.metrics_url} who it is") from error
        return Identity(self.pid, started, told)

    def _stat(self) -> list[str]:
        """The fields of its process from the state on (proc(5)); raises `DengarError` if it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError as error:
            raise self._gone() from error
        if fields[0] in "ZX":  # ended, and not waited for yet
            raise self._gone()
        return fields

    def _gone(self) -> DengarError:
        return DengarError(f"the server at {self.address} (process {self.pid}) is gone")

    def stages(self) -> dict[str, float]:
        """Processor seconds so far by stage, as the server measures them itself; empty if it does not say."""
        if self.metrics_url is None:
            return {}
        found = scrape(self.metrics_url)
        named = (re.fullmatch(r'dengar_processor_seconds_total\{stage="(\w+)"\}', name) for name in found)
        return {match[1]: found[match[0]] for match in named if match}


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[Running]:
    """Runs `dengar serve` on a free port with further options, and stops it as SIGTERM does.

    Raises:
        DengarError: it did not start, or did not stop cleanly; its own words are in the message.
    """
    command = [sys.executable, "-m", "services.cli.main", "serve", "--port", "0", "--json"]
    command += ["--metrics-port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                _, errors = process.communicate(timeout=STOP_S)
                reason = errors.strip().removeprefix("error: ")[-400:] or "it said nothing"
                raise DengarError(f"the server did not start: {reason}")
            ready = json.loads(line)
            url = f"http://127.0.0.1:{ready['metrics_port']}/metrics"
            yield Running(f"{ready['host']}:{ready['port']}", process.pid, ready["bundle"], url)
        finally:
            process.terminate()
            try:
                _, errors = process.communicate(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise DengarError(f"the server did not stop within {STOP_S:g} s of SIGTERM") from None
        if process.returncode != 0:
            raise DengarError(f"the server ended with code {process.returncode}: {errors.strip()[-400:]}")


def scrape(url: str) -> dict[str, float]:
    """The samples of a Prometheus endpoint, keyed by name and labels as they stand in its text."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode("utf-8")
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"([^#\s][^\s{]*(?:\{.*\})?) (\S+)(?: \d+)?", line):
            found[match[1]] = float(match[2])
    return found
