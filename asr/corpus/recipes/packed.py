"""Manifests as sources: Dengar's own, with audio in files or in tar shards, and any NeMo manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import read_lines
from asr.errors import InputError

_COPIED = ("id", "speaker", "gender", "age", "accent", "corpus", "split", "written", "consent", "source")
_LAYOUT = "JSON lines with audio_filepath and text"


def read(source: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:
    """Yields the lines of a manifest, or of all ``*.jsonl`` and ``*.json`` in a folder (`subset`: only SUBSET.jsonl).

    Keys that Dengar does not know are left aside, as NeMo's manifests carry many. NeMo's ``offset`` and
    ``duration`` cut a stretch out of a longer recording.
    """
    manifests = [source]
    if source.is_dir():
        manifests = sorted(path for path in source.iterdir() if path.suffix in (".jsonl", ".json"))
        if options.subset:
            manifests = [path for path in manifests if path.stem == options.subset]
    if not manifests:
        raise InputError(f"{source}: holds no manifest; expected {_LAYOUT}")
    for manifest in manifests:
        for where, line in read_lines(manifest, f"expected {_LAYOUT}"):
            try:
                row = json.loads(line)
                yield _item(manifest.parent, row, where)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                yield Problem(where, f"not a line of a manifest, {_LAYOUT} ({error})")


def _item(root: Path, row: dict[str, Any], where: str) -> RawItem:
    name, shard = str(row["audio_filepath"]), str(row.get("shard") or "")
    start_s = float(row.get("offset") or 0.0)
    end_s = start_s + float(row["duration"]) if "offset" in row and row.get("duration") else None
    path = root / shard if shard else root / name
    copied = {key: str(row[key]) for key in _COPIED if row.get(key)}
    if "speaker" not in copied and row.get("speaker_id"):
        copied["speaker"] = str(row["speaker_id"])
    return RawItem(AudioRef(path, name if shard else "", start_s, end_s), str(row["text"]), where, **copied)


PACKED = Recipe("a folder of manifests with audio in tar shards", read)
MANIFEST = Recipe("one manifest of Dengar's or NeMo's", read)
