"""Logs of a server: what stands in them, and above all what never does."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from asr.errors import ConfigError
from services.dengar.v1 import speech_pb2 as pb
from services.logs import QUEUED_LINES, LogConfig, Logs, log_config
from services.recognizer.status import status_of
from tests.services.conftest import ToneRecognizer, ToneStream
from tests.services.crashing import full_disk
from tests.services.loopback import running, transcript

SECRET = "xylophonequartz"
log = logging.getLogger("dengar.test")


@pytest.fixture
def written() -> Iterator[Any]:
    """Logs in JSON at every level; call it for the records so far."""
    stream = io.StringIO()
    logs = Logs(LogConfig(format="json", level="debug"), stream)

    def records() -> list[dict[str, Any]]:
        logs.close()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    records.stream = stream
    records.logs = logs
    yield records
    logs.close()


def test_a_record_is_one_line_with_its_fields(written: Any) -> None:
    log.info(
        "call\nfrom %s lasted %.2f s", "10.0.0.1", 1.234, extra={"stream": 7, "rtf": float("inf"), "path": Path("/a")}
    )
    (record,) = written()
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "dengar.test",
        "message": "call\nfrom 10.0.0.1 lasted 1.23 s",
        "stream": 7,
        "rtf": "inf",
        "path": "/a",
    }
    assert written.stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    "value",
    [
        pb.SpeechRecognitionAlternative(transcript=SECRET),
        SECRET.encode(),
        np.frombuffer(SECRET.encode(), np.uint8),
        ValueError(SECRET),
        {"transcript": SECRET, "words": [SECRET], "deep": {"text": SECRET}},
        [pb.SpeechRecognitionAlternative(transcript=SECRET)],
    ],
)
def test_values_that_hold_content_appear_as_their_type(written: Any, value: Any) -> None:
    log.debug("got %s", value, extra={"value": value, "transcript": SECRET, "Hypothesis": SECRET})
    log.error(value)
    (first, second) = written()
    assert SECRET not in written.stream.getvalue()
    assert "transcript" not in first
    assert first["message"].startswith("got ")
    assert second["level"] == "error"


class SecretStream(ToneStream):
    """Hears one word, whatever comes; and may fail with it."""

    fails = False

    def _tone(self, window: np.ndarray) -> str:
        return SECRET if super()._tone(window) else ""

    def finish(self) -> list[Any]:
        if self.fails:
            try:
                {}[SECRET]
            except KeyError as error:
                raise ValueError(f"cannot finish {SECRET}") from error
        return super().finish()


class FailingStream(SecretStream):
    fails = True


class SecretRecognizer(ToneRecognizer):
    def __init__(self, kind: type[SecretStream]) -> None:
        self._kind = kind

    def stream(self, nbest: int = 1, hints: object = None, **_: object) -> ToneStream:  # noqa: ARG002
        return self._kind(nbest)


async def test_no_transcript_in_the_logs_of_a_served_call_at_debug(written: Any) -> None:
    logging.getLogger().setLevel(logging.DEBUG)  # libraries too
    written.logs.watch(asyncio.get_running_loop())
    async with (
        running(recognizer=SecretRecognizer(SecretStream)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert set((await transcript(channel)).split()) == {SECRET}
    async with (
        running(recognizer=SecretRecognizer(FailingStream)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await transcript(channel)
    records = written()
    assert SECRET not in written.stream.getvalue()
    (failure,) = [record for record in records if "error" in record]
    assert failure["reference"] in caught.value.details()
    assert failure["error"]["type"] == "ValueError"
    assert failure["error"]["cause"]["type"] == "KeyError"
    assert "test_logs.py" in failure["error"]["at"][-1]
    assert len(records) >= 2


async def test_what_fails_in_the_event_loop_is_logged_without_its_words(written: Any) -> None:
    loop = asyncio.get_running_loop()
    written.logs.watch(loop)

    def fail() -> None:
        raise ValueError(SECRET)

    async def lost() -> None:
        raise ValueError(SECRET)

    loop.call_soon(fail)
    task = asyncio.ensure_future(lost())
    await asyncio.sleep(0.01)
    assert task.done()
    del task
    await asyncio.sleep(0)
    records = written()
    assert [record["error"]["type"] for record in records] == ["ValueError", "ValueError"]
    assert SECRET not in written.stream.getvalue()


def test_an_exception_is_described_once_and_referred_to_afterwards(written: Any) -> None:
    error = ValueError(SECRET)
    _, sentence = status_of(error)
    log.error("again", exc_info=error)
    first, second = written()
    assert first["error"]["type"] == "ValueError"
    assert first["reference"] == second["reference"]
    assert first["reference"] in sentence
    assert "error" not in second


def test_exceptions_about_the_machine_keep_their_words(written: Any) -> None:
    log.error("first: %s", OSError(28, "No space left on device"), exc_info=ConfigError("no such bundle"))
    (record,) = written()
    assert "No space left" in record["message"]
    assert record["error"]["message"] == "no such bundle"


def test_threads_that_end_with_an_exception_are_logged(written: Any) -> None:
    def work() -> None:
        raise RuntimeError(SECRET)

    thread = threading.Thread(target=work, name="worker-7")
    thread.start()
    thread.join()
    (record,) = written()
    assert (record["level"], record["error"]["type"]) == ("critical", "RuntimeError")
    assert "worker-7" in record["message"]
    assert SECRET not in json.dumps(record)


def test_a_process_that_ends_with_an_exception_logs_it_once() -> None:
    program = (
        f"from services.logs import Logs, LogConfig; logs = Logs(LogConfig(format='json')); print({{}}['{SECRET}'])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert SECRET not in ended.stderr
    (line,) = ended.stderr.splitlines()
    assert json.loads(line)["error"]["type"] == "KeyError"


def test_text_for_people_is_one_line_and_nobody_can_forge_another() -> None:
    stream = io.StringIO()
    with Logs(LogConfig(format="text", level="info"), stream):
        log.info("hello\n2026 forged", extra={"peer": "a\r\nb", "count": 3})
        log.debug("not this")
        logging.getLogger("somelibrary").info("nor this")
        log.error("failed", exc_info=ConfigError("why"))
    first, second, *rest = stream.getvalue().splitlines()
    assert first.endswith(r"info    dengar.test hello\n2026 forged count=3 peer=a\r\nb") or "count=3" in first
    assert " error " in second
    assert "reference=" in second
    assert rest == ["    asr.errors.ConfigError: why"]


def test_keys_never_appear(written: Any) -> None:
    key = "dgr_0123abcd_" + "Zq-9_" * 9
    log.info("with %s", key, extra={"where": f"header {key}", "authorization": key})
    written()
    assert "Zq-9" not in written.stream.getvalue()


def test_wrong_format_strings_end_nothing(written: Any) -> None:
    root = logging.getLogger()
    root.handlers[:] = root.handlers[:1]  # without pytest's own, which raise
    log.info("%d words", "no number")
    (record,) = written()
    assert "test_logs.py" in record["message"]


class Slow(io.StringIO):
    """A destination that takes nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def write(self, text: str) -> int:
        self.gate.wait(20)
        return super().write(text)


def test_a_slow_reader_delays_nobody_and_losses_are_told() -> None:
    stream = Slow()
    logs = Logs(LogConfig(format="json"), stream)
    for number in range(QUEUED_LINES + 100):
        log.info("line", extra={"number": number})
    assert 98 <= logs.dropped <= 100
    stream.gate.set()
    logs.close()
    lines = stream.getvalue().splitlines()
    assert sum("lines were lost" in line for line in lines) == 1


def test_wrong_settings_are_one_sentence() -> None:
    assert log_config(format="json", level="debug") == LogConfig(format="json", level="debug")
    with pytest.raises(ConfigError, match=r"log level: .*found 'loud'"):
        log_config(level="loud")


def test_closing_puts_logging_back() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, logging.getLogger("dengar").level)
    with Logs(LogConfig(), io.StringIO()):
        assert root.handlers != before[0]
    after = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, logging.getLogger("dengar").level)
    assert after == before


def test_lines_that_a_full_disk_refuses_are_counted_and_told_of_later(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream, Logs(LogConfig(), stream) as logs:
        with full_disk():
            log.warning("nobody reads this")
            wait_until(lambda: logs.dropped == 1)
        log.warning("there is room again")
        wait_until(lambda: "room again" in (tmp_path / "log").read_text())
    assert "1 lines were lost" in (tmp_path / "log").read_text()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
