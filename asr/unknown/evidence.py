"""What speaks for an unknown word at each word of the best hypothesis.

A hypothesis is cut into units, one for each word with the frames around it. For each the lexical reading (the word, by
beam and language model) is held against the spelled reading (the greedy letters of the same frames): how they differ in
letters and in sound, how much better the frames like the spelled one, how sure the recogniser is of the word, and
how much it surprises the language model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from asr.decode import Decoder, LanguageModel, Tokens, Word
from asr.decode.types import LogProbs
from asr.errors import TextError
from asr.unknown.config import EvidenceWeights
from asr.unknown.ctc import forward
from asr.unknown.letters import pronounce
from asr.unknown.phones import distances, phone_distance
from asr.unknown.spell import Letters, greedy_ids, lexicon_only

Floats = npt.NDArray[np.float64]

FEATURES = tuple(field.name for field in fields(EvidenceWeights) if field.name != "bias")
"""The columns of `evidence`."""
_SURE = 1e-4
_LONGEST = 16.0
_WORST_GAP, _WORST_PER_LETTER = 60.0, 10.0
_PLAIN = (1.0 - np.eye(28)).astype(np.float32)  # a to z, all else, and no letter


@dataclass(frozen=True, slots=True)
class Unit:
    """One word of the hypothesis, or none at all, with its frames.

    Attributes:
        word: None where the hypothesis is empty.
        first: frame.
        last: the frame after the last.
        spelled: the greedy letters of the frames.
    """

    word: Word | None
    first: int
    last: int
    spelled: str


def units(log_probs: LogProbs, words: Sequence[Word], tokens: Tokens, frame_s: float) -> list[Unit]:
    """Cuts the frames between the words, where a separator is likeliest.

    Args:
        log_probs: (T, V) natural-log posteriors.
        words: of the best hypothesis, with times; those behind the last frame are left out.
        tokens: the symbols.
        frame_s: seconds from one frame to the next.
    """
    heard = [word for word in words if round(word.start_s / frame_s) < len(log_probs)]
    separates = np.array(tokens.begins_word)
    between = log_probs[:, separates].max(axis=1) if len(log_probs) else np.zeros(0)
    cuts = [0]
    for word, following in itertools.pairwise(heard):
        end, start = round(word.end_s / frame_s), round(following.start_s / frame_s)
        if start > end:
            cuts.append(max(cuts[-1], end + int(between[end:start].argmax())))
        else:
            cuts.append(max(cuts[-1], start))
    cuts.append(len(log_probs))
    found = [(word, cuts[place], cuts[place + 1]) for place, word in enumerate(heard)]
    whole: list[tuple[Word | None, int, int]] = [*found] if found else [(None, 0, len(log_probs))]
    spelled = (tokens.decode(greedy_ids(log_probs[first:last])) if last > first else "" for _, first, last in whole)
    return [Unit(*place, text) for place, text in zip(whole, spelled, strict=True)]


def knows(word: str, decoder: Decoder, known: Collection[str] = ()) -> bool:
    """Whether a word, or the stem of a possessive, is in the decoder's lexicon or among `known`."""
    assert decoder.lm is not None
    return any(form in decoder.lm or form in known for form in (word, word.removesuffix("'s")))


def evidence(
    log_probs: LogProbs, found: Sequence[Unit], decoder: Decoder, letters: Letters, known: Collection[str] = ()
) -> Floats:
    """The features of each unit, shape (N, len(`FEATURES`)).

    Args:
        log_probs: (T, V) natural-log posteriors.
        found: the units.
        decoder: with a language model.
        letters: of its lexicon.
        known: words that count as known beside the lexicon's.
    """
    assert decoder.lm is not None
    surprises, lexicon = _surprises(found, decoder.lm), lexicon_only(decoder)
    rows = []
    for unit, (surprise, following, opening, rarity) in zip(found, surprises, strict=True):
        word = unit.word.word if unit.word else ""
        spelled = unit.spelled.split()
        length = sum(map(len, spelled))
        frames = log_probs[unit.first : unit.last]
        greedy = forward(frames, greedy_ids(frames))
        nats = _gap(greedy, frames, word, decoder.tokens)
        lexical = _lexical_gap(greedy, frames, lexicon)
        is_known = [knows(part, decoder, known) for part in spelled]
        rows.append(
            {
                "doubt": -_logit(unit.word.confidence) if unit.word else 0.0,
                "spelled": float(bool(word) and not knows(word, decoder, known)),
                "surprise": surprise,
                "surprise_next": following,
                "opening": opening,
                "rarity": rarity,
                "disagreement": _edits("".join(spelled), word),
                "off_sound": phone_distance(pronounce(unit.spelled)[0], pronounce(word)[0]),
                "gap": min(nats / max(1, length), _WORST_PER_LETTER),
                "gap_total": math.log1p(nats),
                "lexicon_gap": min(lexical / max(1, length), _WORST_PER_LETTER),
                "lexicon_gap_total": math.log1p(lexical),
                "clarity": _clarity(frames),
                "letters": math.log1p(length),
                "spelled_known": sum(is_known) / len(is_known) if spelled else 1.0,
                "oddity": -sum(map(letters.word, spelled)) / (length + len(spelled)) if spelled else 0.0,
            }
        )
    for name, column in (("neighbours_doubt", "doubt"), ("neighbours_gap", "gap")):
        for place, row in enumerate(rows):
            beside = [rows[other][column] for other in (place - 1, place + 1) if 0 <= other < len(rows)]
            row[name] = sum(beside) / len(beside) if beside else 0.0
    doubts = sum(row["doubt"] for row in rows)
    for row in rows:
        row["others_doubt"] = (doubts - row["doubt"]) / max(1, len(rows) - 1)
        row["length"] = math.log(len(rows))
    return np.array([[row[name] for name in FEATURES] for row in rows], np.float64).reshape(-1, len(FEATURES))


def _surprises(found: Sequence[Unit], lm: LanguageModel) -> list[tuple[float, float, float, float]]:
    """For each unit the surprise at its word, at what follows, the opening for an unknown word, the word's rarity."""
    state, empty = lm.start(), lm.empty()
    unknown = lm.score(empty, "<unk>")[0]
    logs, openings, rarities = [], [], []
    for unit in found:
        word = unit.word.word if unit.word else "<unk>"
        openings.append(lm.score(state, "<unk>")[0] - unknown)
        rarities.append(min(-lm.score(empty, word)[0], _LONGEST))
        score, state = lm.score(state, word)
        logs.append(min(-score, _LONGEST))
    logs.append(min(-lm.end(state), _LONGEST))
    return [(logs[place], logs[place + 1], openings[place], rarities[place]) for place in range(len(found))]


def _lexical_gap(greedy: float, log_probs: LogProbs, lexicon: Decoder) -> float:
    """The nats by which the frames prefer their greedy letters, of that log-probability, to any known words."""
    if not len(log_probs) or not np.isfinite(greedy):
        return 0.0
    return min(max(0.0, greedy - lexicon.decode(log_probs)[0].score), _WORST_GAP)


def _gap(greedy: float, log_probs: LogProbs, word: str, tokens: Tokens) -> float:
    """The same against one word; separators around it cost nothing."""
    if not np.isfinite(greedy):
        return 0.0
    try:
        ids = tokens.encode(word)
    except TextError:
        return _WORST_GAP
    bare = next((index for index, piece in enumerate(tokens.pieces) if index and not piece), None)
    around = [()] if bare is None else [(), (bare,)]
    ways = [forward(log_probs, [*before, *ids, *after]) for before in around for after in around]
    return min(max(0.0, greedy - float(np.logaddexp.reduce(ways))), _WORST_GAP)


def _clarity(log_probs: LogProbs) -> float:
    """The mean of the greedy letters' natural-log probabilities at their peaks, no lower than -3; 0 of none."""
    best = log_probs.argmax(axis=1)
    starts = np.flatnonzero(np.diff(best, prepend=-1)) if len(best) else np.zeros(0, np.int64)
    spoken = best[starts] > 0
    if not spoken.any():
        return 0.0
    return max(-3.0, float(np.maximum.reduceat(log_probs.max(axis=1), starts)[spoken].mean()))


def _edits(one: str, other: str) -> float:
    """The normalised edit distance of two strings of letters: 0 for the same, 1 for nothing in common."""
    query, string = (np.array([min(ord(char) - 97, 26) % 27 for char in text], np.int8) for text in (one, other))
    return float(distances(query, string, np.array([0, len(string)]), np.zeros(1, np.int64), _PLAIN)[0])


def _logit(p: float) -> float:
    p = min(max(p, _SURE), 1.0 - _SURE)
    return math.log(p) - math.log1p(-p)
