"""Mozilla Common Voice: ``clips/`` beside ``train.tsv``, ``dev.tsv``, ``test.tsv`` (or ``validated.tsv``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import read_table, require_folder
from asr.errors import InputError

_SPLITS = ("train", "dev", "test")
_LAYOUT = "Common Voice's layout: train.tsv, dev.tsv or test.tsv beside clips/"


def read(folder: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:
    """Yields the clips of the official splits, or of the one table named by `subset` (such as ``validated``)."""
    require_folder(folder, _LAYOUT)
    names = [options.subset] if options.subset else [name for name in _SPLITS if (folder / f"{name}.tsv").is_file()]
    if not names:
        raise InputError(f"{folder}: expected {_LAYOUT}; for another table give --subset, such as validated")
    for name in names:
        for row in read_table(folder / f"{name}.tsv"):
            if isinstance(row, Problem):
                yield row
                continue
            where, cells = row
            if not cells.get("path") or "sentence" not in cells:
                yield Problem(where, "has no 'path' or no 'sentence'")
                continue
            clip = Path(cells["path"])
            yield RawItem(
                AudioRef(folder / "clips" / (clip if clip.suffix else clip.with_suffix(".mp3"))),
                cells["sentence"],
                where,
                id=clip.stem,
                speaker=cells.get("client_id", "")[:16],
                gender=cells.get("gender", ""),
                age=cells.get("age", ""),
                accent=cells.get("accents", "") or cells.get("accent", ""),
                split=name if name in _SPLITS else "",
                corpus="common_voice",
            )


def download(folder: Path, subset: str) -> Path:  # noqa: ARG001
    """Always raises: Common Voice is handed out only to those who accept its terms."""
    raise InputError(
        "Common Voice cannot be fetched by a program; accept its terms at commonvoice.mozilla.org, unpack the archive "
        "and give its folder"
    )


RECIPE = Recipe("Mozilla Common Voice's clips and tables", read, download)
