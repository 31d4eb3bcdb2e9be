"""What a recogniser said about each item, saved so that comparing and reporting never run it again.

A results folder holds ``results.jsonl``, one item a line with the manifest's keys (see `asr.corpus.manifest`),
``manifest`` and ``condition``, and either ``pred_text`` (NeMo's key for the hypothesis), ``words``, ``confidence``,
``audio_s`` and ``processor_s`` or ``error``; and ``settings.json``, which says how they came about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asr.corpus.manifest import Problem, Utterance, parse_line
from asr.decode import Word
from asr.errors import InputError, ManifestError
from asr.evaluate.slices import noise_condition

RESULTS_FILE = "results.jsonl"
SETTINGS_FILE = "settings.json"
_OWN_KEYS = ("pred_text", "words", "confidence", "audio_s", "processor_s", "error", "manifest", "condition")


@dataclass(frozen=True, slots=True)
class ScoredUtterance:
    """One item of a test and what was heard.

    Attributes:
        utterance: the manifest's line; `augmentation` holds the draws if noise was added for the test.
        hypothesis: the recognised text, "" if nothing was heard or the item failed.
        words: the recognised words with their times and confidences.
        confidence: of the whole hypothesis, in [0, 1].
        audio_s: seconds of audio decoded.
        processor_s: processor seconds (all threads) that recognition took, without reading and decoding the file.
        error: why the item could not be recognised, or None; such an item is counted apart and in no rate.
        manifest: path of the manifest it came from, to find the audio again; "" if unknown.
        condition: which of the run's noise conditions it was heard in, to make the audio again.
    """

    utterance: Utterance
    hypothesis: str = ""
    words: tuple[Word, ...] = ()
    confidence: float = 0.0
    audio_s: float = 0.0
    processor_s: float = 0.0
    error: str | None = None
    manifest: str = ""
    condition: int = 0

    @property
    def item(self) -> str:
        """Names the recording, the same for several noisy versions of it."""
        utterance = self.utterance
        inside = f"{utterance.shard}:{utterance.audio_filepath}" if utterance.shard else utterance.audio_filepath
        return utterance.id or inside

    @property
    def key(self) -> str:
        """Names the item within a test: its recording and the noise it was heard in."""
        noise = noise_condition(self.utterance.augmentation)
        return self.item if noise is None else f"{self.item} @ {noise}"

    def to_json(self) -> dict[str, Any]:
        """One line of ``results.jsonl``."""
        row = self.utterance.to_json()
        row |= {"manifest": self.manifest, "condition": self.condition}
        if self.error is not None:
            return {**row, "error": self.error}
        return {
            **row,
            "pred_text": self.hypothesis,
            "words": [asdict(word) for word in self.words],
            "confidence": self.confidence,
            "audio_s": self.audio_s,
            "processor_s": self.processor_s,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any], where: str) -> ScoredUtterance:
        """Reads one row; raises `ManifestError` naming `where` if a key is missing or wrong."""
        own = {key: row[key] for key in _OWN_KEYS if key in row}
        utterance = parse_line(json.dumps({key: value for key, value in row.items() if key not in own}), where)
        try:
            hypothesis = "" if own.get("error") is not None else own["pred_text"]
            words = tuple(Word(**word) for word in own.get("words", ()))
            if not isinstance(hypothesis, str):
                raise TypeError(f"'pred_text' must be a string, found {hypothesis!r}")
            return cls(
                utterance,
                hypothesis,
                words,
                confidence=float(own.get("confidence", 0.0)),
                audio_s=float(own.get("audio_s", 0.0)),
                processor_s=float(own.get("processor_s", 0.0)),
                error=own.get("error"),
                manifest=str(own.get("manifest", "")),
                condition=int(own.get("condition", 0)),
            )
        except KeyError as error:
            raise ManifestError(f"{where}: key {error} is missing; it is not a result of `dengar evaluate`") from error
        except (TypeError, ValueError) as error:
            raise ManifestError(f"{where}: {error}") from error


@dataclass(frozen=True, slots=True)
class Results:
    """All items of one run.

    Attributes:
        items: in the order in which they were recognised.
        left_out: manifest lines that could not be used, and why.
        settings: how the run was made: bundle, its hash, mode, noise, seed.
    """

    items: tuple[ScoredUtterance, ...]
    left_out: tuple[Problem, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: str | Path) -> None:
        """Writes the results folder, making it where needed."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_lines(folder / RESULTS_FILE, (item.to_json() for item in self.items))
            settings = {**self.settings, "left_out": [asdict(problem) for problem in self.left_out]}
            (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", "utf-8")
        except OSError as error:
            raise InputError(f"{folder}: results cannot be written there ({error.strerror or error})") from error

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """Reads a results folder.

        Raises:
            InputError: it is none, or a line of it cannot be read.
        """
        path = Path(folder) / RESULTS_FILE
        settings_path = Path(folder) / SETTINGS_FILE
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            settings = json.loads(settings_path.read_text(encoding="utf-8")) if settings_path.exists() else {}
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: is not a folder with results of `dengar evaluate -o` ({error})") from error
        items = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                items.append(ScoredUtterance.from_json(_object(line, f"{path}:{number}"), f"{path}:{number}"))
        left_out = tuple(Problem(**problem) for problem in settings.pop("left_out", ()))
        return cls(tuple(items), left_out, settings)


def is_results_folder(path: str | Path) -> bool:
    """Tells a results folder from anything else, such as a bundle."""
    return (Path(path) / RESULTS_FILE).is_file()


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ManifestError(f"{where}: not a JSON object ({error})") from error
    if not isinstance(row, dict):
        raise ManifestError(f"{where}: not a JSON object but {type(row).__name__}")
    return row


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.replace(path)
