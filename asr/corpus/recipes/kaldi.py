"""A Kaldi data directory: ``wav.scp``, ``text`` and, where present, ``segments``, ``utt2spk``, ``spk2gender``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import read_lines, require_folder

_LAYOUT = "a Kaldi data directory with wav.scp and text"


def read(folder: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:  # noqa: ARG001
    """Yields the utterances of ``text``; paths in wav.scp are as they stand or relative to the directory.

    A recording given as a command (a line that ends in ``|``) is not run: it becomes a `Problem`.
    """
    require_folder(folder, _LAYOUT)
    recordings = _mapping(folder / "wav.scp", f"expected {_LAYOUT}")
    segments = _mapping(folder / "segments") if (folder / "segments").is_file() else None
    speakers = _mapping(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
    genders = _mapping(folder / "spk2gender") if (folder / "spk2gender").is_file() else {}
    for where, line in read_lines(folder / "text", f"expected {_LAYOUT}"):
        name, _, text = line.strip().partition(" ")
        ref = _audio(folder, name, recordings, segments)
        if isinstance(ref, str):
            yield Problem(where, ref)
            continue
        speaker = speakers.get(name, "")
        yield RawItem(ref, text, where, id=name, speaker=speaker, gender=genders.get(speaker, ""))


def _audio(folder: Path, name: str, recordings: dict[str, str], segments: dict[str, str] | None) -> AudioRef | str:
    """Where an utterance's audio is, or what is wrong."""
    recording, start_s, end_s = name, 0.0, None
    if segments is not None:
        if name not in segments:
            return f"{name} is not in segments"
        try:
            recording, start, end = segments[name].split()[:3]
            start_s, end_s = float(start), float(end)
        except ValueError:
            return f"segments: {name} {segments[name]!r} is not RECORDING START END"
        if end_s < 0:  # Kaldi's way to say: up to the end
            end_s = None
    if recording not in recordings:
        return f"{recording} is not in wav.scp"
    path = recordings[recording]
    if path.endswith("|"):
        return f"wav.scp gives {recording} as a command, which is not run; write its output to a file"
    return AudioRef(folder / path, start_s=start_s, end_s=end_s)


def _mapping(path: Path, what: str = "") -> dict[str, str]:
    pairs = (line.strip().partition(" ") for _, line in read_lines(path, what))
    return {key: value.strip() for key, _, value in pairs}


RECIPE = Recipe("a Kaldi data directory (wav.scp, text, utt2spk, segments)", read)
