"""What the recipes share: reading tables and finding files, with errors that say what was looked for."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from asr.corpus.manifest import Problem
from asr.errors import InputError

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".webm", ".m4a", ".mp4", ".aac", ".g722", ".sph"})


def require_folder(path: Path, layout: str) -> Path:
    """Returns `path` if it is a folder; `layout` says in a few words what should be in it."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected {layout}")
    return path


def read_lines(path: Path, what: str) -> Iterator[tuple[str, str]]:
    """Yields (where, line) for each line that is not blank; raises `InputError` if the file cannot be read."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", line.rstrip("\r\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def read_table(path: Path) -> Iterator[tuple[str, dict[str, str]] | Problem]:
    """Yields (where, row) of a CSV, TSV or JSONL table with a header (or keys); values are strings.

    A line that is not a row of it becomes a `Problem`.
    """
    lines = read_lines(path, "expected a table (.csv, .tsv or .jsonl)")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a table (.csv, .tsv or .jsonl)")
    if path.suffix in (".jsonl", ".json"):
        for where, line in lines:
            try:
                row = json.loads(line)
            except ValueError as error:
                yield Problem(where, f"not a JSON object ({error})")
                continue
            if isinstance(row, dict):
                yield where, {str(key): "" if value is None else str(value) for key, value in row.items()}
            else:
                yield Problem(where, f"not a JSON object but {type(row).__name__}")
        return
    tabs = path.suffix in (".tsv", ".tab", ".txt")
    # Tab-separated tables (Common Voice) hold bare quotes; CSV quotes may span lines, so the file is read as a whole.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(
            file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
        )
        header: list[str] | None = None
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if not any(cells):
                continue
            if header is None:
                header = [name.strip() for name in cells]
            elif len(cells) != len(header):
                yield Problem(where, f"has {len(cells)} cells where the header names {len(header)} columns")
            else:
                yield where, dict(zip(header, cells, strict=True))
