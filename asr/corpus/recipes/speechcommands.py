"""Google's Speech Commands (Warden 2018): one folder a word, ``SPEAKER_nohash_TAKE.wav``, lists of held-out files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import read_lines, require_folder
from asr.corpus.recipes._torchaudio import datasets
from asr.errors import InputError

_LAYOUT = "Speech Commands' tree: WORD/SPEAKER_nohash_TAKE.wav"
_LISTS = {"validation_list.txt": "dev", "testing_list.txt": "test"}


def read(folder: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:  # noqa: ARG001
    """Yields the words; the corpus's own lists say which are for dev and test. Background noise is left alone."""
    require_folder(folder, _LAYOUT)
    heldout = {
        line.strip(): split
        for name, split in _LISTS.items()
        if (folder / name).is_file()
        for _, line in read_lines(folder / name, "")
    }
    files = sorted(folder.glob("*/*_nohash_*.wav"))
    if not files:
        raise InputError(f"{folder}: holds no words; expected {_LAYOUT}")
    for path in files:
        name = f"{path.parent.name}/{path.name}"
        split = heldout.get(name, "train" if heldout else "")
        speaker = path.name.partition("_nohash_")[0]
        identity = f"{path.parent.name}-{path.stem}"
        yield RawItem(
            AudioRef(path),
            path.parent.name,
            str(path),
            id=identity,
            speaker=speaker,
            split=split,
            corpus="speechcommands",
        )


def download(folder: Path, subset: str) -> Path:
    """Fetches the corpus by torchaudio (`subset`: its version, by default ``speech_commands_v0.02``)."""
    folder.mkdir(parents=True, exist_ok=True)
    version = subset or "speech_commands_v0.02"
    try:
        datasets().SPEECHCOMMANDS(folder, url=version, download=True)
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"Speech Commands {version}: cannot be downloaded ({error})") from error
    return folder / "SpeechCommands" / version


RECIPE = Recipe("Google's Speech Commands (--download)", read, download, shared_sentences=True)
