"""Spoken digits named as in the Free Spoken Digit Dataset: ``DIGIT_SPEAKER_TAKE.ext``, in a folder or a tar."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import AUDIO_SUFFIXES
from asr.errors import InputError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAME = re.compile(r"([0-9])_(.+)_(\d+)")
_LAYOUT = "a folder or tar of files named DIGIT_SPEAKER_TAKE.wav, such as 7_jackson_32.wav"


def read(source: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:  # noqa: ARG001
    """Yields the digits of a folder (searched through) or of a tar; other audio files are `Problem`s."""
    found = False
    for ref in _audio_files(source):
        found = True
        name = PurePosixPath(ref.member or ref.path.as_posix()).stem
        match = _NAME.fullmatch(name)
        if match is None:
            yield Problem(str(ref), "is not named DIGIT_SPEAKER_TAKE")
            continue
        digit, speaker, _ = match.groups()
        yield RawItem(ref, WORDS[int(digit)], str(ref), id=name, speaker=speaker, corpus="digits")
    if not found:
        raise InputError(f"{source}: holds no audio files; expected {_LAYOUT}")


def _audio_files(source: Path) -> Iterator[AudioRef]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in AUDIO_SUFFIXES:
                yield AudioRef(path)
        return
    try:
        with tarfile.open(source, "r:") as tar:  # not compressed: each member is read by its place
            names = sorted(member.name.removeprefix("./") for member in tar.getmembers() if member.isfile())
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{source}: is neither a folder nor a plain tar ({error}); expected {_LAYOUT}") from error
    for name in names:
        if PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES:
            yield AudioRef(source, name)


RECIPE = Recipe("spoken digits, DIGIT_SPEAKER_TAKE.ext, a folder or a tar", read, shared_sentences=True)
