"""Puts proposed names in order by the acoustics: how well the frames of a span bear their letters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from asr.decode import Tokens
from asr.decode.types import LogProbs
from asr.errors import TextError
from asr.unknown.ctc import spot
from asr.unknown.forms import forms
from asr.unknown.types import Proposal, UnknownSpan


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RescoreConfig:
    """How acoustics and distance become a probability.

    Attributes:
        before_s: a name may begin so long before the span.
        after_s: and end so long behind it.
        floor: posteriors are mixed with so much of the uniform distribution: a model is not as sure as it says.
        left_over: nats that each frame with a letter costs which lies within the span and outside of the name.
        part: nats that a part of a name costs against the full one.
        acoustic: weight of the log-likelihood ratio.
        sound: weight of the distance.
        none: what the ratio is worth if it is none of the proposals, in the same units.
    """

    before_s: Annotated[float, Field(ge=0, le=10)] = 1.2
    after_s: Annotated[float, Field(ge=0, le=10)] = 0.6
    floor: Annotated[float, Field(gt=0, lt=1)] = 0.03
    left_over: Annotated[float, Field(ge=0)] = 1.0
    part: Annotated[float, Field(ge=0)] = 1.0
    acoustic: Annotated[float, Field(ge=0)] = 0.218
    sound: Annotated[float, Field(ge=0)] = 22.51
    none: Annotated[float, Field(allow_inf_nan=False)] = -11.946


_DEFAULT = RescoreConfig()


def rescore(
    log_probs: LogProbs,
    span: UnknownSpan,
    proposals: Sequence[Proposal],
    tokens: Tokens,
    config: RescoreConfig = _DEFAULT,
) -> list[Proposal]:
    """The same proposals with probabilities by acoustics, distance and prior together, likeliest first.

    Args:
        log_probs: (T, V) natural-log posteriors of the whole utterance, as `asr.unknown.find_unknown` saw them.
        span: one of its spans.
        proposals: from `asr.unknown.Catalogue.propose`; it pays to ask it for 50 or so.
        tokens: the symbols.
        config: weights, fitted to the shipped bundle.
    """
    ratios = ratio(log_probs, span, [proposal.name for proposal in proposals], tokens, config)
    logs = [
        config.acoustic * nats - config.sound * proposal.distance + proposal.prior
        for nats, proposal in zip(ratios, proposals, strict=True)
    ]
    total = float(np.logaddexp.reduce([*logs, config.none]))
    found = [
        replace(proposal, probability=math.exp(log - total)) for log, proposal in zip(logs, proposals, strict=True)
    ]
    return sorted(found, key=lambda proposal: (-proposal.probability, proposal.distance, proposal.name))


def ratio(
    log_probs: LogProbs, span: UnknownSpan, names: Sequence[str], tokens: Tokens, config: RescoreConfig = _DEFAULT
) -> npt.NDArray[np.float64]:
    """The natural log of how much likelier the frames are with each name in them than as their greedy spelling.

    Before and behind the name a filler follows the best symbol of each frame, as a keyword spotter's does; within the
    span it pays for every letter that the name leaves over. A name is tried in full and in parts.

    Returns:
        Shape (N,), about 0 at best (sums over alignments beat the best path a little); -100 at worst, and for a name
        that the symbols cannot spell.
    """
    start = max(0, round((span.start_s - config.before_s) / span.frame_s))
    end = round((span.end_s + config.after_s) / span.frame_s)
    mixed = np.log((1 - config.floor) * np.exp(log_probs[start:end]) + config.floor / len(tokens)).astype(np.float32)
    best = mixed.max(axis=1) if len(mixed) else np.zeros(0, np.float32)
    seconds = (start + np.arange(len(mixed)) + 0.5) * span.frame_s
    within = (seconds >= span.start_s) & (seconds < span.end_s)
    spoken = np.array([bool(piece) for piece in tokens.pieces])
    lost = within & spoken[mixed.argmax(axis=1)] if len(mixed) else within
    filler = best - config.left_over * lost.astype(np.float32)
    free = float(best.sum())
    found = np.full(len(names), -100.0)
    for place, name in enumerate(names):
        for form in forms(name.split()):
            try:
                ids = tokens.encode(form.text)
            except TextError:
                continue
            nats = spot(mixed, filler, ids) - free - (0.0 if form.whole else config.part)
            found[place] = max(found[place], nats)
    return found
