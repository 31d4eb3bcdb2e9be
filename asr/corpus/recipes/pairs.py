"""A folder of recordings with a text file beside each: ``hello.wav`` and ``hello.txt``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.items import AudioRef, RawItem, Recipe, RecipeOptions
from asr.corpus.manifest import Problem
from asr.corpus.recipes._files import AUDIO_SUFFIXES, require_folder
from asr.errors import InputError

_LAYOUT = "a folder of audio files, each with a text file of the same name beside it, such as hello.wav and hello.txt"


def read(folder: Path, options: RecipeOptions) -> Iterator[RawItem | Problem]:  # noqa: ARG001
    """Yields the recordings of a folder, searched through; the sub-folder of a recording names its speaker.

    A recording without a text file, and a text file that cannot be read, is a `Problem`.
    """
    require_folder(folder, _LAYOUT)
    found = False
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        found = True
        name = path.relative_to(folder).with_suffix("")
        text = path.with_suffix(".txt")
        try:
            words = " ".join(text.read_text(encoding="utf-8-sig").split())
        except FileNotFoundError:
            yield Problem(str(path), f"has no text file beside it; expected {text.name}")
        except (OSError, UnicodeDecodeError) as error:
            yield Problem(str(text), f"cannot be read as UTF-8 text ({error})")
        else:
            speaker = "" if name.parent == Path() else name.parent.as_posix()
            yield RawItem(AudioRef(path), words, str(path), id=name.as_posix(), speaker=speaker, corpus=folder.name)
    if not found:
        raise InputError(f"{folder}: holds no audio files; expected {_LAYOUT}")


RECIPE = Recipe("a folder of recordings with a text file beside each", read)
