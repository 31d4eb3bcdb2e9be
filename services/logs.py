"""Logs of a server: one line a record, as text or JSON, written beside the work and never with what was said.

Three things keep content out. Fields with the name of content (`text`, `audio` ...) are dropped. Arguments and fields
that are not plain values (messages, arrays, bytes) appear as their type. Exceptions appear as their type and the
places they passed; their own words only where those cannot quote a query (operating system, configuration, bundles).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import queue
import re
import sys
import threading
import traceback
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import Any, Literal, TextIO

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asr.errors import BundleError, ConfigError, MissingDependencyError

OWN_LOGGERS = ("dengar", "services", "asr")
CONTENT = frozenset({
    "alternative", "alternatives", "audio", "audio_content", "authorization", "content", "final", "heard", "hints",
    "hypotheses", "hypothesis", "interim", "partial", "phrase", "phrases", "query", "request", "response", "result",
    "results", "samples", "secret", "sentence", "sentences", "speech_contexts", "spoken", "text", "texts", "token",
    "tokens", "transcript", "transcripts", "utterance", "word", "words", "written", "x-api-key",
})  # fmt: skip
"""Names of fields that are left out of every record."""

QUOTABLE = (OSError, MemoryError, ConfigError, BundleError, MissingDependencyError)
"""Exceptions whose words are about the machine or its set-up, not about a query."""

MAX_TEXT = 4000
MAX_ITEMS = 50
MAX_FRAMES = 40
QUEUED_LINES = 10_000
_API_KEY = re.compile(r"dgr_[0-9a-f]{8}_[\w-]+")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_REFERENCE = "_dengar_reference"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LogConfig:
    """How a server logs.

    Attributes:
        format: `text` for people, `json` for programs.
        level: of Dengar's own records; those of libraries come from `warning` on.
    """

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


def without_content(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of a record that holds nothing of what was said, and an exception's details only the first time."""
    kept = logging.makeLogRecord({name: value for name, value in record.__dict__.items() if name in _STANDARD})
    if isinstance(record.args, tuple):
        kept.args = tuple(_plain(each) for each in record.args)
    elif isinstance(record.args, Mapping):
        kept.args = {name: _plain(value, name) for name, value in record.args.items()}
    kept.msg = record.msg if isinstance(record.msg, str) else str(_plain(record.msg))
    for name in record.__dict__.keys() - _STANDARD:
        if name.lower() not in CONTENT:
            setattr(kept, name, _plain(record.__dict__[name], name))
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is not None:
        known = getattr(error, _REFERENCE, None)
        reference = known or getattr(record, "reference", None) or uuid.uuid4().hex[:12]
        with contextlib.suppress(AttributeError, TypeError):
            setattr(error, _REFERENCE, reference)
        kept.__dict__.update(reference=reference, error=None if known else _described(error))
    kept.exc_info = kept.exc_text = kept.stack_info = None
    return kept


def log_config(**values: Any) -> LogConfig:
    """Builds a `LogConfig`, or raises `ConfigError` with one sentence about the first wrong value."""
    try:
        return TypeAdapter(LogConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"log {'.'.join(map(str, first['loc']))}: {first['msg']}, found {first['input']!r}"
        ) from error


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, then the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """A record from `without_content`, as one line."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in _fields(record).items():
            line[f"{name}_" if name in line else name] = value
        return json.dumps(line, ensure_ascii=False, allow_nan=False)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, name=value; an exception's places on lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """A record from `without_content`."""
        fields = _fields(record)
        error = fields.pop("error", None)
        named = "".join(f" {name}={_escaped(str(value))}" for name, value in fields.items())
        text = f"{_time(record)} {record.levelname.lower():7} {record.name} {_escaped(_message(record))}{named}"
        while isinstance(error, dict):
            text += f"\n    {error['type']}: {_escaped(error['message'])}"
            text += "".join(f"\n      {place}" for place in error["at"])
            error = error.get("cause")
        return text


class LineWriter(logging.Handler):
    """Writes from a thread of its own, so that a slow reader of the log delays nobody.

    Args:
        stream: where lines go.
        formatter: makes them, in the thread that logs.

    Attributes:
        dropped: lines lost since the start, because `QUEUED_LINES` were waiting or the destination took no more.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.dropped = 0
        self.setFormatter(formatter)
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUED_LINES)
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queues the line."""
        try:
            line = self.format(without_content(record))
        except Exception:  # a wrong format string must not end a call
            line = self.format(
                _made(f"a record of {record.name} cannot be formatted: {record.pathname}:{record.lineno}")
            )
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Writes what waits, for at most two seconds."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=1)
        self._thread.join(timeout=2)
        super().close()

    def _write(self) -> None:
        told = 0
        while (line := self._lines.get()) is not None:
            dropped = self.dropped
            try:
                if dropped > told:
                    lost = dropped - told
                    told_of = f"{lost} lines were lost: the log is read too slowly, or its disk is full"
                    self._stream.write(self.format(_made(told_of)) + "\n")
                self._stream.write(line + "\n")
                self._stream.flush()
                told = dropped
            except (OSError, ValueError):  # a closed or full destination
                self.dropped += 1


class Logs:
    """Logging as a server wants it, from here to `close`; a context manager.

    Args:
        config: format and level.
        stream: where lines go; stderr if None.
    """

    def __init__(self, config: LogConfig, stream: TextIO | None = None) -> None:
        formatter = JsonFormatter() if config.format == "json" else TextFormatter()
        self._writer = LineWriter(stream or sys.stderr, formatter)
        level = logging.getLevelNamesMapping()[config.level.upper()]
        root = logging.getLogger()
        self._levels = {name: logging.getLogger(name).level for name in (None, *OWN_LOGGERS)}
        self._handlers = root.handlers[:]
        root.handlers[:] = [self._writer]
        root.setLevel(max(level, logging.WARNING))
        for name in OWN_LOGGERS:
            logging.getLogger(name).setLevel(level)
        self._hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
        sys.excepthook = _on_exception
        threading.excepthook = lambda given: _on_exception(given.exc_type, given.exc_value, given.exc_traceback)
        sys.unraisablehook = lambda given: _on_exception(given.exc_type, given.exc_value, given.exc_traceback)
        logging.captureWarnings(True)

    @property
    def dropped(self) -> int:
        """Lines lost because the log was read too slowly."""
        return self._writer.dropped

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Also logs what goes wrong in `loop` where nobody waits for it."""
        loop.set_exception_handler(_on_loop_exception)

    def close(self) -> None:
        """Writes what waits and puts logging back as it was."""
        logging.captureWarnings(False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        root = logging.getLogger()
        since = [handler for handler in root.handlers if handler not in (self._writer, *self._handlers)]
        root.handlers[:] = [*self._handlers, *since]
        self._writer.close()

    def __enter__(self) -> Logs:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()


def _on_exception(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    error = error or kind()
    where = threading.current_thread().name
    logging.getLogger("dengar").critical("uncaught in thread %s", where, exc_info=(kind, error, trace))


def _on_loop_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Not asyncio's own handler: it prints the task, and with it the exception's words.
    error = context.get("exception")
    logging.getLogger("dengar").error("uncaught in the event loop: %s", context.get("message"), exc_info=error)


def _plain(value: Any, name: str = "", depth: int = 3) -> Any:
    """A value as a log may hold it."""
    if name.lower() in CONTENT:
        return "<left out>"
    plain: Any = f"<{type(value).__name__}>"
    if isinstance(value, Enum):
        plain = value.name
    elif value is None or isinstance(value, (bool, int)):
        plain = value
    elif isinstance(value, float):
        plain = value if math.isfinite(value) else str(value)
    elif isinstance(value, (str, os.PathLike)):
        plain = _cut(str(value))
    elif isinstance(value, datetime):
        plain = value.isoformat()
    elif isinstance(value, BaseException):
        plain = _words(value)
    elif depth and isinstance(value, Mapping):
        items = [(str(key), each) for key, each in list(value.items())[:MAX_ITEMS]]
        plain = {key: _plain(each, key, depth - 1) for key, each in items if key.lower() not in CONTENT}
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        plain = [_plain(each, "", depth - 1) for each in list(value)[:MAX_ITEMS]]
    return plain


def _words(error: BaseException) -> str:
    """What an exception says, where that cannot quote a query; otherwise its type."""
    return _cut(str(error)) if isinstance(error, QUOTABLE) else f"<{type(error).__name__}>"


def _described(error: BaseException, depth: int = 5) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    kind = type(error)
    described: dict[str, Any] = {
        "type": kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
        "message": _words(error),
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth:
        described["cause"] = _described(cause, depth - 1)
    return described


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: value
        for name, value in record.__dict__.items()
        if name not in _STANDARD and not name.startswith("_") and value is not None
    }


def _message(record: logging.LogRecord) -> str:
    return _cut(record.getMessage())


def _cut(text: str) -> str:
    text = _API_KEY.sub("dgr_...", text)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text)} characters)"


def _escaped(text: str) -> str:
    """Without line breaks and other control characters, so that nobody writes lines of their own into the log."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _made(message: str) -> logging.LogRecord:
    return logging.LogRecord("dengar", logging.WARNING, __file__, 0, message, None, None)
