"""A folder of audio with a table (CSV, TSV or JSONL) that says what is spoken in each file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import read_table, require_folder
from asr.errors import ConfigError, InputError

_USUAL = {  # field: names that tables usually give its column, the first found is taken
    "audio": ("audio", "audio_filepath", "path", "file", "filename", "file_name", "wav"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "id": ("id", "utterance_id", "utt_id"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "gender": ("gender", "sex"),
    "age": ("age",),
    "accent": ("accent", "accents", "dialect"),
    "split": ("split", "subset"),
    "corpus": ("corpus",),
    "written": ("written",),
    "consent": ("consent",),
    "source": ("source",),
}
_LAYOUT = "a folder of audio files with a table (.csv, .tsv or .jsonl)"


def read(folder: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:
    """Yields the rows of the folder's table; audio paths are relative to the table."""
    unknown = sorted(set(options.columns) - set(_USUAL))
    if unknown:
        raise ConfigError(f"columns: unknown field {unknown[0]!r}; known: {', '.join(_USUAL)}")
    table = _find_table(folder, options.table)
    matched: dict[tuple[str, ...], dict[str, str]] = {}  # the rows of a JSONL table may have different keys
    for row in read_table(table):
        if isinstance(row, Problem):
            yield row
            continue
        where, cells = row
        header = tuple(cells)
        try:
            if header not in matched:
                matched[header] = _match_columns(table, header, options.columns)
        except InputError as error:
            if not matched:
                raise
            yield Problem(where, str(error))
            continue
        columns = matched[header]
        values = {field: cells.get(column, "").strip() for field, column in columns.items()}
        audio = values.pop("audio")
        if not audio:
            yield Problem(where, f"column {columns['audio']!r} is empty")
            continue
        yield RawItem(AudioRef(table.parent / audio), where=where, **values)


def _find_table(folder: Path, name: str) -> Path:
    if folder.is_file() and not name:
        return folder
    require_folder(folder, _LAYOUT)
    if name:
        return folder / name
    tables = sorted(path for path in folder.iterdir() if path.suffix in (".csv", ".tsv", ".jsonl"))
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise InputError(f"{folder}: expected one table (.csv, .tsv or .jsonl), found {found}; name it with --table")
    return tables[0]


def _match_columns(table: Path, header: Sequence[str], wanted: dict[str, str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for field, usual in _USUAL.items():
        names = (wanted[field],) if field in wanted else usual
        found = next((name for name in names if name in header), None)
        if found is not None:
            columns[field] = found
        elif field in wanted or field in ("audio", "text"):
            raise InputError(
                f"{table}: no column {' or '.join(map(repr, names))} for {field}; the table has {', '.join(header)} "
                f"(choose with --column {field}=NAME)"
            )
    return columns


RECIPE = Recipe("a folder of audio with a CSV, TSV or JSONL table", read)
