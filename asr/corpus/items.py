"""What a recipe yields: where a recording lies and what is said about it, unchecked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from asr import audio
from asr.corpus.manifest import AudioReader, Problem, Utterance
from asr.errors import AudioError


@dataclass(frozen=True, slots=True)
class AudioRef:
    """One recording: a file, a file in a tar, or a stretch of either.

    Attributes:
        path: the file, or the tar.
        member: the name inside the tar; empty for a plain file.
        start_s: where the utterance starts in the recording.
        end_s: where it ends; None: at the end of the recording.
    """

    path: Path
    member: str = ""
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def is_segment(self) -> bool:
        """Whether only a part of the recording is meant."""
        return self.start_s > 0.0 or self.end_s is not None

    def __str__(self) -> str:
        inside = f":{self.member}" if self.member else ""
        part = f" from {self.start_s:g} s" if self.is_segment else ""
        return f"{self.path}{inside}{part}"


@dataclass(frozen=True, slots=True)
class RawItem:
    """One utterance as its corpus describes it; `text` is as written there, `where` names the line it came from."""

    audio: AudioRef
    text: str
    where: str
    id: str = ""
    speaker: str = ""
    gender: str = ""
    age: str = ""
    accent: str = ""
    split: str = ""
    corpus: str = ""
    written: str = ""
    consent: str = ""
    source: str = ""


class RecipeOptions(BaseModel):
    """What a recipe can be told.

    Attributes:
        columns: for `table`: which column holds each of audio, text, id, speaker, gender, age, accent, split.
        table: for `table`: the table's path inside the corpus folder, where there are several.
        subset: for a corpus with named parts (LibriSpeech ``train-clean-100``): only this one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, str] = {}
    table: str = ""
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of corpus is laid out.

    Attributes:
        summary: one line for people.
        read: yields the items of a corpus; a line that cannot be understood is a `Problem`.
        download: fetches the subset into a folder and returns the corpus's folder; None where there is no download.
        shared_sentences: whether splits share sentences by nature, as ten digits do.
    """

    summary: str
    read: Callable[[Path, RecipeOptions], Iterator[RawItem | Problem]]
    download: Callable[[Path, str], Path] | None = None
    shared_sentences: bool = False


@dataclass(slots=True)
class RefReader:
    """Reads what `AudioRef`s point to; keeps the table of contents of each tar."""

    _tars: dict[Path, AudioReader] = field(default_factory=dict)

    def read_bytes(self, ref: AudioRef) -> bytes:
        """The whole file as stored; raises `AudioError`."""
        if not ref.member:
            try:
                return ref.path.read_bytes()
            except OSError as error:
                raise AudioError(f"{ref.path}: cannot be read ({error.strerror or error})") from error
        reader = self._tars.setdefault(ref.path.parent, AudioReader(ref.path.parent))
        return reader.read_bytes(Utterance(ref.member, 1.0, "", shard=ref.path.name))

    def read(self, ref: AudioRef) -> audio.Samples:
        """Decoded samples of the stretch, shape (T,), mono float32 at 16 kHz; raises `AudioError`."""
        name = f"{ref.path}:{ref.member}" if ref.member else str(ref.path)
        samples = audio.decode(self.read_bytes(ref), name)
        if not ref.is_segment:
            return samples
        end_s = len(samples) / audio.SAMPLE_RATE_HZ if ref.end_s is None else ref.end_s
        if not 0.0 <= ref.start_s < end_s <= len(samples) / audio.SAMPLE_RATE_HZ + 0.05:
            raise AudioError(
                f"{name}: the segment {ref.start_s:g} to {end_s:g} s lies outside the recording of "
                f"{len(samples) / audio.SAMPLE_RATE_HZ:.2f} s"
            )
        return samples[round(ref.start_s * audio.SAMPLE_RATE_HZ) : round(end_s * audio.SAMPLE_RATE_HZ)]
