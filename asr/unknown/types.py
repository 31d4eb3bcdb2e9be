"""What the search for unknown words gives: spans with spellings, and proposals of names."""

from __future__ import annotations

from dataclasses import dataclass

from asr.errors import InputError


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to spell what was said.

    Attributes:
        text: one word or several, single-spaced.
        log_prob: natural log of its share among the spellings of the list; their shares add up to 1.
    """

    text: str
    log_prob: float


@dataclass(frozen=True, slots=True)
class UnknownSpan:
    """A stretch of speech whose words the recogniser probably does not know.

    Attributes:
        start_s: seconds from the start of the audio.
        end_s: likewise.
        heard: the words of the best hypothesis that it covers; empty where the lexical reading heard nothing.
        before: up to three words of the hypothesis in front of it.
        after: up to three behind it.
        spellings: what the posteriors spell there, best first.
        phones: of the best spelling, by letter rules: one character for each phone (see `asr.unknown.phones`).
        score: in [0, 1], the probability that a word in it is unknown to the lexicon.
        frame_s: seconds from one frame of the posteriors to the next.
    """

    start_s: float
    end_s: float
    heard: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    spellings: tuple[Spelling, ...]
    phones: str
    score: float
    frame_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Entity:
    """Something that has a name: a contact, an artist, a place.

    Attributes:
        name: in the recogniser's alphabet, as `asr.corpus.text.normalise` gives it, or as it is written.
        kind: for the caller.
        weight: how often it is asked for, relative to others; a prior. Above 0.
        pronunciations: strings of phones as `asr.unknown.pronounce` gives them, beside those of the letter rules.
    """

    name: str
    kind: str = ""
    weight: float = 1.0
    pronunciations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.strip() or not 0 < self.weight < float("inf"):
            raise InputError(f"entity {self.name!r} with weight {self.weight!r}: needs a name and a weight above 0")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A name that was perhaps said.

    Attributes:
        name: of the entity.
        distance: 0 for the same sound, 1 for none in common (see `asr.unknown.sound_distance`).
        probability: among the proposals of the list and that it is none of them, by their weights and distances or,
            after `asr.unknown.rescore`, by the acoustics.
        prior: natural log of the entity's weight over the mean of the catalogue.
    """

    name: str
    distance: float
    probability: float
    prior: float = 0.0
