"""People's names to be spoken, and which of them no training may meet.

A test of names that a recogniser has never been taught needs people whom no training text or speech has named.
`held_out_names` chooses them by a rule, not by a list: a name is held out if its last word (the surname, or the only
name) stands in no text that is known, and if a hash of the name falls below `HELD_OUT_SHARE`. With fewer texts the
rule holds out more names and never fewer, so a recipe that knows only its own texts is on the safe side of a test
whose names were chosen with all of them.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asr.corpus.text import normalise
from asr.errors import InputError, TextError

HELD_OUT_SHARE = 0.5
_NUMERAL = re.compile(r"[IVX]{2,}")
_WORD = re.compile(r"[a-z']+")
_INITIAL = re.compile(r"\b([A-Z])\.")
_SYNTAX = re.compile(r"[{}|]")


@dataclass(frozen=True, slots=True)
class Name:
    """One person: as spoken (a to z, apostrophe and blanks), and as written."""

    text: str
    written: str


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a list, without repetition, in its order, and how many were left out for which reason."""

    names: tuple[Name, ...]
    left_out: Counter[str] = field(default_factory=Counter)


def read_names(path: str | Path, column: str = "name") -> Names:
    """Reads a list of names: a name a line, or a column of a table (``.csv``, ``.tsv``).

    Lines that begin with ``#`` are remarks. Names that cannot be spoken in English, and those of kings and popes with
    Roman numerals ("Albert II", which people say in several ways), are left out and counted.

    Raises:
        InputError: the file cannot be read, has no such column, or holds no name that can be spoken.
    """
    path = Path(path)
    found: dict[str, Name] = {}
    left_out: Counter[str] = Counter()
    for line in _rows(path, column):
        written = " ".join(line.split())
        if not written or written.startswith("#"):
            continue
        if any(_NUMERAL.fullmatch(word) for word in written.split()):
            left_out["Roman numeral"] += 1
            continue
        try:
            text = normalise(_INITIAL.sub(r"\1 ", written))
        except TextError:
            left_out["cannot be spoken"] += 1
            continue
        if _SYNTAX.search(written):
            left_out["cannot be spoken"] += 1
        elif text in found:
            left_out["twice"] += 1
        else:
            found[text] = Name(text, written)
    if not found:
        raise InputError(
            f"{path}: holds no name that can be spoken; expected a name a line, or a table with {column!r}"
        )
    return Names(tuple(found.values()), left_out)


def held_out_names(names: Iterable[str], texts: Iterable[str], share: float = HELD_OUT_SHARE) -> list[str]:
    """The names that no training may meet, in their order.

    Args:
        names: spoken forms.
        texts: sentences that are or may be trained on.
        share: of the names whose last word stands in none of `texts`; which they are follows from each name alone.
    """
    known = {word.removesuffix("'s") for text in texts for word in _WORD.findall(text.lower())}
    return [name for name in names if name.split()[-1] not in known and _position(name) < share]


def mentions(text: str, names: Collection[str]) -> bool:
    """Whether one of `names` stands in `text`, word for word; "ana li's song" mentions "ana li"."""
    if not names:
        return False
    words = text.replace("'s ", " ").removesuffix("'s").split()
    longest = max(name.count(" ") + 1 for name in names)
    return any(
        " ".join(words[start : start + length]) in names
        for length in range(1, min(longest, len(words)) + 1)
        for start in range(len(words) - length + 1)
    )


def _position(name: str) -> float:
    """Uniform in [0, 1), and unrelated to the hash that splits sentences."""
    return int.from_bytes(hashlib.sha256(f"name:{name}".encode()).digest()[:8], "big") / 2**64


def _rows(path: Path, column: str) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix not in (".csv", ".tsv"):
                return file.read().splitlines()
            table = csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t")
            if column not in (table.fieldnames or ()):
                raise InputError(f"{path}: no column {column!r}; the table has {', '.join(table.fieldnames or ())}")
            return [row[column] or "" for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a list of names ({error})") from error
