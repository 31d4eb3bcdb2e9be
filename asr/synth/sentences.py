"""Sentences of a text, to be spoken: read, cleaned, of one split, in a random but reproducible order."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asr.corpus.text import normalise
from asr.errors import InputError, TextError
from asr.synth.queries import Query, split_of


@functools.lru_cache(maxsize=4)
def read_sentences(path: Path) -> tuple[tuple[str, str], ...]:
    """The sentences of a file as (tag, sentence), as they stand there.

    A line is a sentence, or ``tag<TAB>sentence`` (``snips<TAB>play some jazz``); of a manifest (``.jsonl``) each
    line's ``text``, with its corpus as the tag. ``.gz`` is unpacked. Blank lines are passed over.

    Raises:
        InputError: the file cannot be read, or holds no sentence.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    inner = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file if line.strip()]
        if inner == ".jsonl":
            rows = [json.loads(line) for line in lines]
            found = [(str(row.get("corpus", "")), str(row["text"])) for row in rows if row["text"]]
        else:
            found = [(tag, sentence.strip()) for tag, _, sentence in (line.rpartition("\t") for line in lines)]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as text ({reason})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not a manifest ({error})") from error
    if not found:
        raise InputError(f"{path}: holds no sentence")
    return tuple(found)


def draw_sentences(
    path: Path,
    rng: np.random.Generator,
    split: str,
    left_out: Counter[str],
    *,
    tags: tuple[str, ...] = (),
    words: tuple[int, int] = (1, 30),
    drop: str = "",
) -> Iterator[Query]:
    """Draws different sentences of one split until there are no more.

    A sentence is normalised to its spoken form (`asr.corpus.text.normalise`) when it is drawn, and belongs to a split
    by the hash of that form, as the sentences of grammars do.

    Args:
        path: see `read_sentences`.
        rng: decides the order.
        split: train, dev or test.
        left_out: counts what was drawn and not given, by reason; sentences of other splits are no loss and not counted.
        tags: only sentences with one of these tags; empty for all.
        words: fewest and most words.
        drop: a regular expression; sentences in which it is found are left out.

    Raises:
        InputError: the file cannot be read, or no sentence has one of `tags`.
    """
    rows = read_sentences(path)
    known = sorted({tag for tag, _ in rows})
    unknown = sorted(set(tags) - set(known))
    if unknown:
        raise InputError(f"{path}: no sentence is tagged {unknown[0]!r}; tags: {', '.join(filter(None, known))}")
    rows = tuple(row for row in rows if not tags or row[0] in tags)
    pattern = re.compile(drop) if drop else None
    seen: set[str] = set()
    for index in rng.permutation(len(rows)):
        tag, sentence = rows[index]
        if pattern and pattern.search(sentence):
            left_out["dropped by pattern"] += 1
            continue
        try:
            text = normalise(sentence)
        except TextError:
            left_out["cannot be spoken"] += 1
            continue
        if split_of(text) != split:
            continue
        if text in seen:
            left_out["twice"] += 1
        elif not words[0] <= len(text.split()) <= words[1]:
            left_out["too short or too long"] += 1
        else:
            seen.add(text)
            written = " ".join(sentence.split())
            yield Query(text, written if written != text else "", ":".join(filter(None, (path.name, tag))))
