"""How the words sound that the recogniser knows: pronounced once, kept on disk, and followed as the lexicon changes.

Pronouncing a lexicon of 46,000 words takes seconds of processor time, and a promotion changes a handful of them. So
only words that are new are pronounced, and the rest is read from a file in the worker's folder, whichever lexicon that
was written for. A file that cannot be read, or was made by other rules, is as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from asr.unknown import letters, phones
from services.learner.similar import SoundIndex

FILE = "known-sounds.npz"
"""In the worker's folder."""
log = logging.getLogger("dengar.learner")


class KnownSounds:
    """Known words by sound. Not to be shared between threads.

    Args:
        folder: of the file, made if need be; None keeps nothing.

    Attributes:
        pronounced: words that were pronounced so far, in place of being read.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.pronounced = 0
        self._path = folder / FILE if folder is not None else None
        self._index: SoundIndex | None = None
        self._words: Collection[str] = ()

    def follow(self, words: Collection[str]) -> None:
        """Knows these words from now on; the first call, and that after a change, may take seconds."""
        if self._index is not None and words is self._words:
            return
        if self._index is None:
            self._index = self._read()
        wanted, there = set(words), self._index.keys()
        new, gone = sorted(wanted - there), there - wanted
        for word in gone:
            self._index.set(word, ())
        for word in new:
            self._index.set(word, (word,))
        self.pronounced += len(new)
        self._words = words
        if self._path is not None and self._index.keys() != there:  # some words have no sound
            self._write(self._index, self._path)

    def near(self, text: str, limit: float) -> str:
        """The word that sounds nearest, no further than the limit; empty if none does."""
        found = self._index.near(text, limit) if self._index is not None else []
        return found[0][1] if found else ""

    def _read(self) -> SoundIndex:
        if self._path is None:
            return SoundIndex()
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = dict(content)
            if str(arrays.pop("rules")) == _rules():
                return SoundIndex.of_arrays(arrays)
        except FileNotFoundError:
            pass
        except Exception as error:  # whatever is in the file: it is made anew
            log.warning("%s cannot be read and is made anew: %s", self._path, error)
        return SoundIndex()

    @staticmethod
    def _write(index: SoundIndex, path: Path) -> None:
        """Writes the file whole or not at all; without it the next start takes longer, and nothing else."""
        temporary = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(descriptor, "wb") as file:
                content: dict[str, Any] = {"rules": np.array(_rules()), **index.arrays()}
                np.savez(file, **content)
            os.replace(temporary, path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _rules() -> str:
    """A digest of what turns letters into phones, and of what phones cost."""
    digest = hashlib.sha256(phones.COSTS.tobytes())
    for module in (letters, phones):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()
