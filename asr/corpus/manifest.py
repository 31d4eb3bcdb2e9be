"""The manifest: JSON lines, one utterance each, with NeMo's keys so that other toolkits read it too."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from asr import audio
from asr.errors import AudioError, ManifestError


@dataclass(frozen=True, slots=True)
class Utterance:
    """One line of a manifest.

    Attributes:
        audio_filepath: relative to the manifest's folder, or the member's name inside `shard`.
        duration: seconds.
        text: the spoken form, lower case, in the recogniser's alphabet; empty if unknown.
        shard: a tar beside the manifest that holds the file.
        written: the written form ("5th Avenue") where it differs from the spoken one.
        augmentation: every draw that made this audio from another, or None.
        source: where the audio came from (a recipe, a synthesis engine, a log).
    """

    audio_filepath: str
    duration: float
    text: str
    id: str = ""
    speaker: str = ""
    gender: str = ""
    age: str = ""
    accent: str = ""
    corpus: str = ""
    split: str = ""
    shard: str = ""
    written: str = ""
    augmentation: dict[str, Any] | None = None
    consent: str = ""
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """The line as a dict, without empty optional keys."""
        row = dataclasses.asdict(self)
        required = ("audio_filepath", "duration", "text")
        return {key: value for key, value in row.items() if key in required or value not in ("", None)}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that was left out, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read: its good lines, and what was wrong with the others."""

    path: Path
    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def root(self) -> Path:
        """The folder to which audio paths are relative."""
        return self.path.parent

    @property
    def duration_s(self) -> float:
        """Length of all utterances together."""
        return sum(utterance.duration for utterance in self.utterances)


_LONGEST_S = 1e9
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # neither a path nor UTF-8 can hold them
_FIELDS = {field.name for field in dataclasses.fields(Utterance)}
_STRING_FIELDS = _FIELDS - {"duration", "augmentation"}
_NUMBERS_ALLOWED = {"age", "id", "speaker"}


def parse_line(line: str, where: str) -> Utterance:
    """Parses one JSON line.

    Raises:
        ManifestError: not JSON, a missing or unknown key, a value of the wrong type.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: not a JSON object ({error})") from error
    if not isinstance(row, dict):
        raise ManifestError(f"{where}: not a JSON object but {type(row).__name__}")
    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        raise ManifestError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_FIELDS))}")
    missing = [key for key in ("audio_filepath", "duration", "text") if key not in row]
    if missing:
        raise ManifestError(f"{where}: key {missing[0]!r} is missing")
    for key in _STRING_FIELDS & set(row):
        # Toolkits write ages and speaker ids as numbers too.
        if isinstance(row[key], int) and not isinstance(row[key], bool) and key in _NUMBERS_ALLOWED:
            row[key] = str(row[key])
        if not isinstance(row[key], str):
            raise ManifestError(f"{where}: {key!r} must be a string, found {row[key]!r}")
        if _NO_TEXT.search(row[key]):
            raise ManifestError(f"{where}: {key!r} holds a character that is no text, {row[key]!r}")
    if not row["audio_filepath"]:
        raise ManifestError(f"{where}: 'audio_filepath' is empty")
    duration = row["duration"]
    if isinstance(duration, bool) or not isinstance(duration, (int, float)) or not 0 < duration < _LONGEST_S:
        raise ManifestError(f"{where}: 'duration' must be a positive number of seconds, found {duration!r}")
    if not isinstance(row.get("augmentation"), (dict, type(None))):
        raise ManifestError(f"{where}: 'augmentation' must be an object, found {row['augmentation']!r}")
    return Utterance(**{**row, "duration": float(duration)})


def read_manifest(path: str | Path) -> Manifest:
    """Reads a manifest; bad lines become `problems` and the good ones are kept.

    Raises:
        ManifestError: the file cannot be read, or not one line of it is good.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ManifestError(f"{path}: cannot be read as a manifest ({reason})") from error
    utterances: list[Utterance] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            utterances.append(parse_line(line, where))
        except ManifestError as error:
            problems.append(Problem(where, str(error).removeprefix(f"{where}: ")))
    if not utterances:
        detail = f"; first problem: {problems[0].where}: {problems[0].reason}" if problems else ""
        raise ManifestError(f"{path}: holds no usable utterance{detail}")
    return Manifest(path, tuple(utterances), tuple(problems))


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Writes a manifest beside its final place and renames it, so that a crash never leaves half of one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for utterance in utterances:
            file.write(json.dumps(utterance.to_json(), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class AudioReader:
    """Reads the audio of a manifest's utterances, from plain files or from tar shards.

    A shard's table of contents is read once; each member is then one seek and one read. Instances may be
    pickled into data-loader workers: file handles are opened again there.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._members: dict[str, dict[str, tuple[int, int]]] = {}

    def read_bytes(self, utterance: Utterance) -> bytes:
        """The file's bytes as stored.

        Raises:
            AudioError: the file, shard or member is missing.
        """
        try:
            if not utterance.shard:
                return (self.root / utterance.audio_filepath).read_bytes()
            offset, size = self._locate(utterance)
            with (self.root / utterance.shard).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            name = utterance.shard or utterance.audio_filepath
            raise AudioError(f"{self.root / name}: cannot be read ({error.strerror or error})") from error

    def read(self, utterance: Utterance) -> audio.Samples:
        """Decoded samples of shape (T,), mono float32 at 16 kHz; raises `AudioError`."""
        return audio.decode(self.read_bytes(utterance), self.name(utterance))

    def name(self, utterance: Utterance) -> str:
        """What to call the utterance's file in messages."""
        inside = f"{utterance.shard}:" if utterance.shard else ""
        return f"{self.root}/{inside}{utterance.audio_filepath}"

    def _locate(self, utterance: Utterance) -> tuple[int, int]:
        if utterance.shard not in self._members:
            try:
                with tarfile.open(self.root / utterance.shard) as tar:
                    self._members[utterance.shard] = {
                        member.name.removeprefix("./"): (member.offset_data, member.size)
                        for member in tar.getmembers()
                        if member.isfile()
                    }
            except tarfile.TarError as error:
                raise AudioError(f"{self.root / utterance.shard}: is not a readable tar ({error})") from error
        try:
            return self._members[utterance.shard][utterance.audio_filepath]
        except KeyError:
            raise AudioError(f"{self.name(utterance)}: no such file in the shard") from None


def measured_duration_s(path: str | Path) -> float:
    """Duration of a file by its header where libsndfile knows the format, else by decoding it."""
    try:
        return float(soundfile.info(str(path)).duration)
    except soundfile.LibsndfileError:
        return len(audio.load(path)) / audio.SAMPLE_RATE_HZ
