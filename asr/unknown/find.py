"""Finds the stretches of an utterance that hold words the recogniser does not know."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import astuple

import numpy as np

from asr.decode import Decoder, Hypothesis
from asr.decode.confidence import probabilities
from asr.decode.types import LogProbs
from asr.errors import InputError
from asr.unknown.config import UnknownConfig
from asr.unknown.evidence import Floats, Unit, evidence, units
from asr.unknown.letters import pronounce
from asr.unknown.spell import letters_of, spellings
from asr.unknown.types import UnknownSpan

CONTEXT = 3
"""Words on either side that a span carries."""
_SURE = 1e-6

_DEFAULT = UnknownConfig()


def find_unknown(
    log_probs: LogProbs,
    hypothesis: Hypothesis,
    decoder: Decoder,
    config: UnknownConfig = _DEFAULT,
    *,
    known: Collection[str] = (),
) -> list[UnknownSpan]:
    """Finds spans that probably hold words unknown to the lexicon, in the order of their times.

    Args:
        log_probs: (T, V) natural-log posteriors of the utterance, frame 0 at the start of its audio; words of the
            hypothesis that lie behind the last frame are not looked at.
        hypothesis: the best one, from `decoder`, with calibrated confidences.
        decoder: with a language model, whose vocabulary is the lexicon; without one nothing is unknown.
        config: weights and thresholds; the defaults are fitted to the shipped bundle.
        known: words that count as known beside the lexicon's, such as those of phrase hints.

    Raises:
        InputError: posteriors of another number of symbols than the decoder's.
    """
    if log_probs.ndim != 2 or log_probs.shape[1] != len(decoder.tokens):
        raise InputError(f"log_probs: shape {log_probs.shape} is not (frames, {len(decoder.tokens)} symbols)")
    if decoder.lm is None or not len(log_probs):
        return []
    log_probs = np.asarray(log_probs, np.float32)
    found = units(log_probs, hypothesis.words, decoder.tokens, decoder.frame_s)
    if not any(unit.word or unit.spelled for unit in found):
        return []
    features = evidence(log_probs, found, decoder, letters_of(decoder), frozenset(known))
    return mark(log_probs, found, features, decoder, config)


def mark(
    log_probs: LogProbs, found: Sequence[Unit], features: Floats, decoder: Decoder, config: UnknownConfig
) -> list[UnknownSpan]:
    """The spans of an utterance whose units (N,) and features (N, F) are known; see `find_unknown`."""
    scores = probabilities(features, astuple(config.evidence))
    words = [unit.word.word for unit in found if unit.word]
    spans = []
    for first, last in cover(scores, config):
        score = float(probabilities(span_features(scores[first:last])[None], astuple(config.span))[0])
        if score < config.threshold:
            continue
        start, end = _frames(found, first, last, decoder.frame_s, config.margin_s)
        spelled = spellings(
            log_probs[start:end], decoder.tokens, letters_of(decoder),
            count=config.spellings, width=config.beam_width, weight=config.letter_weight,
        )  # fmt: skip
        if not spelled:
            continue
        spans.append(
            UnknownSpan(
                start_s=start * decoder.frame_s,
                end_s=end * decoder.frame_s,
                heard=tuple(words[first:last]),
                before=tuple(words[max(0, first - CONTEXT) : first]),
                after=tuple(words[last : last + CONTEXT]),
                spellings=spelled,
                phones=pronounce(spelled[0].text)[0],
                score=score,
                frame_s=decoder.frame_s,
            )
        )
    return spans


def cover(scores: Floats, config: UnknownConfig) -> list[tuple[int, int]]:
    """Groups units into spans, each (first, the one after the last), in order, without overlap.

    A span grows from the unit that is most likely unknown to those beside it, likelier first, as long as they reach
    `UnknownConfig.join`; then the next begins.
    """
    taken = np.zeros(len(scores), bool)
    found: list[tuple[int, int]] = []
    for seed in np.argsort(-scores, kind="stable").tolist():
        if taken[seed] or scores[seed] < config.seed:
            continue
        first, last = seed, seed + 1
        while last - first < config.most_words:
            beside = [place for place in (first - 1, last) if 0 <= place < len(scores) and not taken[place]]
            beside = [place for place in beside if scores[place] >= config.join]
            if not beside:
                break
            place = max(beside, key=lambda place: scores[place])
            first, last = min(first, place), max(last, place + 1)
        taken[first:last] = True
        found.append((first, last))
    return sorted(found)


def span_features(scores: Floats) -> Floats:
    """Shape (3,), in the order of `SpanWeights` after its bias, of the scores (N,) of a span's units."""
    ranked = np.clip(np.sort(scores)[::-1], _SURE, 1.0 - _SURE)
    strongest = math.log(ranked[0] / (1.0 - ranked[0]))
    none = float(np.log1p(-ranked[1:]).sum())
    others = math.log(-math.expm1(none)) - none if len(ranked) > 1 else strongest
    return np.array([strongest, others, math.log(len(ranked))])


def _frames(found: Sequence[Unit], first: int, last: int, frame_s: float, margin_s: float) -> tuple[int, int]:
    """The frames of some units; at the ends of the audio only a margin around what was heard."""
    start, end = found[first].first, found[last - 1].last
    margin = round(margin_s / frame_s)
    if (word := found[first].word) is not None and first == 0:
        start = max(start, round(word.start_s / frame_s) - margin)
    if (word := found[last - 1].word) is not None and last == len(found):
        end = min(end, round(word.end_s / frame_s) + margin)
    return start, end
