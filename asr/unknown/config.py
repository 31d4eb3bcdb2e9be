"""Settings of the search for unknown words; the weights are fitted by `dengar bench unknown --fit`."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Weight = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EvidenceWeights:
    """How the log odds that a word stands for an unknown one depend on it; see `asr.unknown.evidence`.

    Attributes:
        bias: the log odds where all else is 0.
        doubt: of minus the logit of the word's confidence.
        spelled: added for a word that the lexicon does not know: the decoder spelled it.
        surprise: of minus the natural-log probability of the word after those before it.
        surprise_next: of the same of the word behind it, or of the end.
        opening: of how much likelier than anywhere an unknown word is after the words before.
        rarity: of minus the natural-log probability of the word alone.
        disagreement: of the normalised edit distance of the word from the letters that are spelled there.
        off_sound: of their distance in sound.
        gap: of the nats by which the frames prefer the spelled letters to the word, for each letter.
        gap_total: of the natural log of one more than these nats.
        lexicon_gap: of the nats by which they prefer them to whatever known words fit best, for each letter.
        lexicon_gap_total: of the natural log of one more than these nats.
        clarity: of the mean natural-log probability of the spelled letters at their peaks: good acoustics.
        letters: of the natural log of one more than the number of spelled letters.
        spelled_known: of the share of the spelled words that the lexicon knows.
        oddity: of minus the natural-log probability of a letter of the spelled words, by the lexicon's letter 4-gram.
        neighbours_doubt: of the mean `doubt` of the words beside it.
        neighbours_gap: of the mean `gap` of the words beside it.
        others_doubt: of the mean `doubt` of all other words: where everything is unclear, little is unknown.
        length: of the natural log of the number of words: short queries hold more names than dictated sentences.
    """

    bias: Weight = -3.7248
    doubt: Weight = 0.1001
    spelled: Weight = 0.2324
    surprise: Weight = 0.2022
    surprise_next: Weight = 0.0632
    opening: Weight = 0.4898
    rarity: Weight = 0.0005
    disagreement: Weight = -1.4739
    off_sound: Weight = 1.1205
    gap: Weight = 1.0692
    gap_total: Weight = -0.5297
    lexicon_gap: Weight = -0.6768
    lexicon_gap_total: Weight = 3.2635
    clarity: Weight = -2.1377
    letters: Weight = -2.7804
    spelled_known: Weight = -0.6762
    oddity: Weight = 0.0333
    neighbours_doubt: Weight = 0.2318
    neighbours_gap: Weight = 0.6054
    others_doubt: Weight = -0.2542
    length: Weight = -0.4927


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SpanWeights:
    """How the log odds that a span holds an unknown word depend on the log odds of its words.

    Attributes:
        bias: the log odds where all else is 0.
        strongest: of the log odds of the word that is most likely unknown.
        others: of the log odds that one of the others is, were they independent; without others, of `strongest`.
        words: of the natural log of the number of words.
    """

    bias: Weight = -0.2034
    strongest: Weight = 0.8255
    others: Weight = 0.1405
    words: Weight = 0.665


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UnknownConfig:
    """Settings of `asr.unknown.find_unknown`.

    Attributes:
        threshold: spans with a lower score are left out.
        seed: a span begins at a word that is unknown with this probability at least.
        join: words beside it join from this probability.
        most_words: longest span, in words of the hypothesis.
        spellings: that are given for a span.
        beam_width: prefixes kept in the search for them.
        letter_weight: of the letter 4-gram beside the posteriors in that search.
        margin_s: a span's frames reach so far beyond its words, if no other word is there.
        evidence: how likely a word is unknown.
        span: how likely a span holds one.
    """

    threshold: Share = 0.25
    seed: Share = 0.05
    join: Share = 0.05
    most_words: Annotated[int, Field(ge=1, le=20)] = 6
    spellings: Annotated[int, Field(ge=1, le=50)] = 8
    beam_width: Annotated[int, Field(ge=1, le=256)] = 24
    letter_weight: Annotated[float, Field(ge=0, le=5)] = 0.3
    margin_s: Annotated[float, Field(ge=0, le=2)] = 0.2
    evidence: EvidenceWeights = Field(default_factory=EvidenceWeights)
    span: SpanWeights = Field(default_factory=SpanWeights)
