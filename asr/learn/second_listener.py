"""A second listener: a large offline recogniser that proposes transcripts for consented recordings.

It is optional, and what it proposes is marked: the rows' ``source`` is `SOURCE`.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any, Protocol

from asr.audio import Samples
from asr.corpus.manifest import AudioReader, Manifest, Utterance
from asr.corpus.text import normalise
from asr.errors import ConfigError, DengarError, MissingDependencyError

SOURCE = "second-listener"


class SecondListener(Protocol):
    """Any recogniser of finished recordings."""

    name: str

    def transcribe(self, samples: Samples) -> str:
        """The words of samples of shape (T,) at 16 kHz, as people write them; empty if none are heard."""
        ...


class FasterWhisper:
    """A folder of a Whisper model in CTranslate2's form, run by the Python package ``faster-whisper``.

    Args:
        folder: with ``model.bin``, ``config.json`` and the tokeniser.
        threads: of the processor.
        beam: width of its search.

    Raises:
        MissingDependencyError: faster-whisper is not installed.
        ConfigError: not such a folder.
    """

    def __init__(self, folder: Path, *, threads: int = 1, beam: int = 5) -> None:
        if not (folder / "model.bin").is_file():
            raise ConfigError(
                f"{folder}: is no faster-whisper model; it needs model.bin, config.json and tokenizer.json"
            )
        try:
            package: Any = importlib.import_module("faster_whisper")
        except ImportError as error:
            raise MissingDependencyError(
                "a faster-whisper model as second listener needs that package; run: pip install faster-whisper"
            ) from error
        self.name = f"faster-whisper {folder.name}"
        self._beam = beam
        try:
            self._model = package.WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
        except (RuntimeError, ValueError, OSError) as error:
            raise ConfigError(f"{folder}: faster-whisper cannot open it ({error})") from error

    def transcribe(self, samples: Samples) -> str:
        """See `SecondListener.transcribe`."""
        segments, _ = self._model.transcribe(samples, language="en", beam_size=self._beam)
        return " ".join(segment.text.strip() for segment in segments)


def open_listener(folder: str | Path) -> SecondListener:
    """The second listener of a configuration: today a faster-whisper folder. Raises as `FasterWhisper`."""
    return FasterWhisper(Path(folder))


def propose(manifest: Manifest, listener: SecondListener) -> tuple[list[Utterance], list[str]]:
    """Transcripts for recordings.

    Args:
        manifest: what to hear.
        listener: who hears it.

    Returns:
        The rows with their proposed transcripts, marked; and what gave none, with the reasons.
    """
    reader = AudioReader(manifest.root)
    found: list[Utterance] = []
    problems: list[str] = []
    for row in manifest.utterances:
        try:
            heard = listener.transcribe(reader.read(row))
            if not heard.strip():
                problems.append(f"{reader.name(row)}: {listener.name} heard no words")
                continue
            found.append(dataclasses.replace(row, text=normalise(heard), source=SOURCE))
        except DengarError as error:
            problems.append(f"{reader.name(row)}: {error}")
    return found, problems
