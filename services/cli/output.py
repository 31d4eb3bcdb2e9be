"""What every command shares: where results, messages and progress go, and how an error ends the process."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console()
"""Results for people, on stdout."""

messages = Console(stderr=True)
"""Progress, warnings and errors, on stderr."""


def emit_json(value: Any) -> None:
    """Prints one JSON value on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Prints one line ``warning: ...`` on stderr."""
    messages.print(f"[yellow]warning:[/yellow] {_escape(text)}", highlight=False, soft_wrap=True)


def fail(text: str) -> None:
    """Prints one line ``error: ...`` on stderr; the caller exits."""
    messages.print(f"[red]error:[/red] {_escape(text)}", highlight=False, soft_wrap=True)


def progress() -> Progress:
    """A progress display on stderr that is silent when stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=messages,
        disable=not messages.is_terminal,
    )


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
