"""Slices of a test: each dimension puts every item into exactly one slice, so the slices' errors sum to the whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.corpus.manifest import Utterance

UNKNOWN = "unknown"
CLEAN = "clean"
SNR_STEP_DB = 5
LENGTH_EDGES_S = (1, 2, 4, 8, 16)
_DECADES = {
    "teens": 10, "twenties": 20, "thirties": 30, "fourties": 40, "forties": 40, "fifties": 50,
    "sixties": 60, "seventies": 70, "eighties": 80, "nineties": 90,
}  # fmt: skip


_GENDERS = {"f": "female", "m": "male"}


@dataclass(frozen=True, slots=True)
class NoiseCondition:
    """The noise that was added to an item.

    Attributes:
        kind: "cabin", "babble", "file:STEM" ...
        snr_db: or None if the draws do not say.
    """

    kind: str
    snr_db: float | None

    def __str__(self) -> str:
        return self.kind if self.snr_db is None else f"{self.kind} {self.snr_db:g} dB"


def noise_condition(augmentation: Mapping[str, Any] | None) -> NoiseCondition | None:
    """Reads an utterance's noise from its draws (as `asr.augment` writes them), or None if none was added."""
    draws = augmentation or {}
    kind, snr_db = draws.get("noise"), draws.get("snr_db")
    if not isinstance(kind, str) or kind in ("", "none"):
        return None
    return NoiseCondition(kind, float(snr_db) if isinstance(snr_db, int | float) else None)


def _noise(utterance: Utterance) -> str:
    condition = noise_condition(utterance.augmentation)
    return CLEAN if condition is None else condition.kind


def _snr(utterance: Utterance) -> str:
    """The nearest multiple of 5 dB."""
    condition = noise_condition(utterance.augmentation)
    if condition is None:
        return CLEAN
    if condition.snr_db is None:
        return UNKNOWN
    return f"{round(condition.snr_db / SNR_STEP_DB) * SNR_STEP_DB} dB"


def _length(utterance: Utterance) -> str:
    low = 0
    for high in LENGTH_EDGES_S:
        if utterance.duration < high:
            return f"{low} to {high} s"
        low = high
    return f"{low} s and longer"


def _age(utterance: Utterance) -> str:
    """Decades; ages in years and Common Voice's words ("twenties") mean the same slices."""
    text = utterance.age.strip().lower()
    if text in _DECADES:
        decade = _DECADES[text]
    elif re.fullmatch(r"\d{1,3}(\.\d+)?", text):
        decade = int(float(text)) // 10 * 10
    else:
        return text or UNKNOWN
    return f"{decade} to {decade + 9}"


DIMENSIONS: dict[str, Callable[[Utterance], str]] = {
    "corpus": lambda utterance: utterance.corpus or UNKNOWN,
    "speaker": lambda utterance: utterance.speaker or UNKNOWN,
    "gender": lambda utterance: _GENDERS.get(utterance.gender.lower(), utterance.gender) or UNKNOWN,
    "accent": lambda utterance: utterance.accent or UNKNOWN,
    "age": _age,
    "noise": _noise,
    "snr": _snr,
    "length": _length,
}


def has_unknown_word(text: str, vocabulary: Collection[str]) -> bool:
    """Whether a word of `text` is outside the vocabulary."""
    return any(word not in vocabulary for word in text.split())


def slices(
    utterances: Sequence[Utterance], vocabulary: Collection[str] | None = None
) -> dict[str, dict[str, npt.NDArray[np.int64]]]:
    """Divides a test along every dimension about which something is known.

    Args:
        utterances: the items.
        vocabulary: known words; adds the dimension "vocabulary".

    Returns:
        dimension -> slice -> indices into `utterances`. Within a dimension the indices are a partition; slices
        stand in natural order (clean first, then from quiet to loud noise, by number, by name).
    """
    dimensions = dict(DIMENSIONS)
    if vocabulary is not None:
        dimensions["vocabulary"] = lambda utterance: (
            "with unknown words" if has_unknown_word(utterance.text, vocabulary) else "known words only"
        )
    found: dict[str, dict[str, npt.NDArray[np.int64]]] = {}
    for name, label in dimensions.items():
        labels = np.array([label(utterance) for utterance in utterances], dtype=object)
        values = sorted(set(labels), key=_order)
        if values and values not in ([UNKNOWN], [CLEAN]):
            found[name] = {value: np.flatnonzero(labels == value) for value in values}
    return found


def _order(label: str) -> tuple[int, float, str]:
    number = re.match(r"-?\d+", label)
    rank = 0 if label == CLEAN else 3 if label == UNKNOWN else 1 if number else 2
    value = float(number[0]) if number else 0.0
    return rank, -value if label.endswith(" dB") else value, label
