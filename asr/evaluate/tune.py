"""Tunes the decoder's weights: the acoustic model runs once, the search many times over its posteriors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jiwer

from asr.config import config_to_json, make_config
from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.types import LogProbs

GRID: dict[str, tuple[float, ...]] = {
    "lm_weight": (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0),
    "word_bonus": (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    "unknown_cost": (5.0, 7.0, 9.0, 11.0, 14.0),
}


@dataclass(frozen=True)
class Heard:
    """One utterance after the acoustic model.

    Attributes:
        text: the reference.
        log_probs: natural-log posteriors, shape (T, V).
    """

    text: str
    log_probs: LogProbs


@dataclass(frozen=True)
class Trial:
    """One setting and its word error rate, a fraction."""

    config: DecoderConfig
    wer: float


def word_error_rate(heard: Sequence[Heard], decoder: Decoder) -> float:
    """Of all utterances together."""
    return float(jiwer.wer([item.text for item in heard], [decoder.decode(item.log_probs)[0].text for item in heard]))


def tune(
    heard: Sequence[Heard],
    tokens: Tokens,
    start: DecoderConfig,
    frame_s: float,
    lm: LanguageModel,
    *,
    rounds: int = 2,
    report: Callable[[Trial], None] = lambda _: None,
) -> Trial:
    """Coordinate descent over `GRID`: one weight at a time, from the best setting so far.

    Args:
        heard: utterances to tune on; report figures on others.
        tokens: of the acoustic model.
        start: settings to begin with; the beam stays as it is.
        frame_s: seconds per frame.
        lm: language model.
        rounds: passes over all weights; it stops early when one brings nothing.
        report: told of every trial.
    """

    def trial(config: DecoderConfig) -> Trial:
        result = Trial(config, word_error_rate(heard, Decoder(tokens, config, frame_s, lm)))
        report(result)
        return result

    best = trial(start)
    for _ in range(rounds):
        before = best.wer
        for name, values in GRID.items():
            best = min([best, *map(trial, _variants(best.config, name, values))], key=lambda t: t.wer)
        if best.wer == before:
            break
    return best


def _variants(config: DecoderConfig, name: str, values: tuple[float, ...]) -> Iterator[DecoderConfig]:
    for value in values:
        if value != getattr(config, name):
            yield make_config(DecoderConfig, {**config_to_json(config), name: value}, name)
