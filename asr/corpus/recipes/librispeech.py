"""LibriSpeech (Panayotov et al. 2015): SUBSET/SPEAKER/CHAPTER/*.flac with one ``.trans.txt`` a chapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import read_lines, require_folder
from asr.corpus.recipes._torchaudio import datasets
from asr.errors import InputError

_LAYOUT = "LibriSpeech's tree: train-clean-100/SPEAKER/CHAPTER/*.flac"


def read(folder: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:
    """Yields the utterances below `folder` (the corpus, one subset or the folder that holds ``LibriSpeech``).

    The transcripts lead, and torchaudio's reader is not used: it gives up the corpus at the first gap.
    """
    require_folder(folder, _LAYOUT)
    root = folder / "LibriSpeech" if (folder / "LibriSpeech").is_dir() else folder
    genders = _genders(root)
    transcripts = sorted((root / options.subset if options.subset else root).rglob("*.trans.txt"))
    if not transcripts:
        raise InputError(f"{root}: holds no *.trans.txt; expected {_LAYOUT}")
    for transcript in transcripts:
        subset = transcript.parents[2].name
        for where, line in read_lines(transcript, "expected a chapter's transcripts"):
            name, _, text = line.partition(" ")
            speaker = name.split("-")[0]
            yield RawItem(
                AudioRef(transcript.parent / f"{name}.flac"), text, where, id=name, corpus="librispeech",
                speaker=f"librispeech-{speaker}", gender=genders.get(speaker, ""), split=subset.split("-")[0],
            )  # fmt: skip


def download(folder: Path, subset: str) -> Path:
    """Fetches a subset by torchaudio, which checks its hash, and returns the folder to read."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        datasets().LIBRISPEECH(folder, url=subset or "train-clean-100", download=True)
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"LibriSpeech {subset}: cannot be downloaded ({error})") from error
    return folder / "LibriSpeech"


def _genders(root: Path) -> dict[str, str]:
    table = next((path / "SPEAKERS.TXT" for path in (root, root.parent) if (path / "SPEAKERS.TXT").is_file()), None)
    if table is None:
        return {}
    rows = (line.split("|") for _, line in read_lines(table, "") if not line.startswith(";"))
    return {cells[0].strip(): cells[1].strip().lower() for cells in rows if len(cells) > 1}


RECIPE = Recipe("LibriSpeech's tree (--download SUBSET)", read, download)
