"""The decoder's settings, as they stand in a bundle's ``decoder.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Weight = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WordWeights:
    """How the log odds that a word is right depend on it.

    Attributes:
        bias: the log odds where all else is 0.
        posterior: of the logit of the raw confidence.
        letters: of the natural log of the number of letters.
        pace: of the natural log of the seconds for each letter.
        unknown: added for a word that the language model does not know.
    """

    bias: Weight
    posterior: Weight
    letters: Weight
    pace: Weight
    unknown: Weight


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TextWeights:
    """How the log odds that a whole text is right depend on it.

    Attributes:
        bias: the log odds where all else is 0.
        posterior: of the logit of the raw confidence.
        words: of the natural log of one more than the number of words.
        weakest: of the logit of the least probable word, calibrated; 0 where there is none.
    """

    bias: Weight
    posterior: Weight
    words: Weight
    weakest: Weight


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Calibration:
    """How confidences become probabilities (see `asr.decode.confidence`); `dengar bundle tune` fits the weights.

    Attributes:
        word: weights for the words of final results.
        interim: for those of interim results, whose raw confidences ignore the rivals.
        text: for final results as a whole.
    """

    word: WordWeights
    interim: WordWeights
    text: TextWeights


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StabilityWeights:
    """How the log odds that an interim result stands depend on it (see `asr.decode.stability`).

    Attributes:
        bias: the log odds where all else is 0.
        agreement: of the logit of the share of the beam's probability that begins with all its words.
        agreement_before: of that for its words without the last one.
        weakest: of the logit of the least confidence of its words.
        last: of that of its last word.
        age: of ``ln(1 + t / 0.1 s)`` of the audio for which its words have stood, 1 s at most.
        young: of ``ln(1 + n)`` of those of its words that have stood for less than a second.
        words: of the same of all its words.
        silence: of the same as the age of the time since the last spoken token, 1 s at most.
        glimpsed: added where it rests on a part of a chunk.
    """

    bias: Weight = -0.4558
    agreement: Weight = 0.2732
    agreement_before: Weight = -0.0796
    weakest: Weight = 0.2716
    last: Weight = 0.3301
    age: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0899
    young: Annotated[float, Field(le=0, allow_inf_nan=False)] = -0.9218
    words: Weight = 0.4532
    silence: Weight = 1.2989
    glimpsed: Weight = -0.1119


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DecoderConfig:
    """Settings of the decoder.

    With a language model the score of a text is ``ln p(text | audio) + lm_weight * ln p_LM(text) + word_bonus *
    words + spellings``, where words the model does not know take no part in ``p_LM``: the probability that it gives
    to ``<unk>`` is replaced by a spelling's ``spelling_weight * ln p(letters) + unknown_context * (ln p_LM(<unk> |
    words before) - ln p_LM(<unk>)) - unknown_cost``, in which ``p`` is a letter 4-gram of the lexicon (see
    `asr.decode.spelling`). Without a language model all terms but the first are absent.

    Attributes:
        kind: ``greedy`` takes the best symbol of each frame and ignores the language model; ``beam`` searches.
        beam_width: prefixes kept after each frame.
        token_prune_log: symbols whose log-posterior in a frame is lower are skipped in it (the best never is).
        lm_weight: of the language model's natural-log probability.
        word_bonus: added for each word, in nats; makes up for the model's preference for short texts.
        unknown_cost: taken off for each word that the language model does not know, in nats.
        spelling_weight: of the natural-log probability of such a word's letters; 0 makes all spellings cost the same.
        unknown_context: weight of how much likelier a new word is after these words than anywhere: high behind
            "call", low behind "what's the"; the absolute probability of ``<unk>`` says nothing, the cost is tuned.
        hint_boost: what a phrase hint without a boost of its own is worth, in nats.
        hint_word_cost: within a phrase hint no word scores less than minus this, in nats; so a word that the language
            model does not know, or hardly ever saw, is not charged for that where it is expected.
        hint_crowd_cost: added to that for each natural-log unit of the number of words that phrases can begin with.
        settled_symbols: readings that differ from the best one further back than so many symbols are dropped, so that a
            stream may last for ever; 500 are half a minute of speech.
        nbest: alternatives returned when the caller does not say.
        calibration: makes probabilities of confidences; None leaves them raw.
        stability: makes probabilities of the stabilities of interim results; the defaults are those of the default
            bundle (``dengar bench stability``).
    """

    kind: Literal["greedy", "beam"] = "beam"
    beam_width: Annotated[int, Field(ge=1, le=1024)] = 32
    token_prune_log: Annotated[float, Field(lt=0)] = -7.0
    lm_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    word_bonus: Annotated[float, Field(allow_inf_nan=False)] = 1.5
    unknown_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    spelling_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    unknown_context: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    hint_boost: Annotated[float, Field(gt=0, le=20)] = 1.0
    hint_word_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    hint_crowd_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    settled_symbols: Annotated[int, Field(ge=20)] = 500
    nbest: Annotated[int, Field(ge=1, le=100)] = 1
    calibration: Calibration | None = None
    stability: StabilityWeights = StabilityWeights()
