"""Which words were heard, mistaken, dropped and made up: the alignment behind every rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jiwer


@dataclass(frozen=True, slots=True)
class Counts:
    """Edit operations of one alignment, in words or in characters.

    Attributes:
        hits: tokens of the reference that were recognised.
        substitutions: tokens of the reference recognised as another token.
        deletions: tokens of the reference that were dropped.
        insertions: tokens of the hypothesis that nothing in the reference stands for.
    """

    hits: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def length(self) -> int:
        """Tokens in the reference."""
        return self.hits + self.substitutions + self.deletions


@dataclass(frozen=True, slots=True)
class Alignment:
    """One utterance's reference against its hypothesis.

    Attributes:
        pairs: (reference word, hypothesis word) in order; "" stands for the missing side of a deletion or insertion.
        words: counts over words.
        characters: counts over characters, spaces included, as `jiwer.cer` has them.
    """

    pairs: tuple[tuple[str, str], ...]
    words: Counts
    characters: Counts


def align(references: Sequence[str], hypotheses: Sequence[str]) -> list[Alignment]:
    """Aligns each reference with its hypothesis by minimum edit distance (jiwer, all costs 1)."""
    if not references:
        return []
    words = jiwer.process_words(list(references), list(hypotheses))
    characters = jiwer.process_characters(list(references), list(hypotheses))
    return [
        Alignment(tuple(_pairs(reference, hypothesis, chunks)), _counts(chunks), _counts(character_chunks))
        for reference, hypothesis, chunks, character_chunks in zip(
            words.references, words.hypotheses, words.alignments, characters.alignments, strict=True
        )
    ]


def _pairs(
    reference: list[str], hypothesis: list[str], chunks: list[jiwer.AlignmentChunk]
) -> Iterator[tuple[str, str]]:
    for chunk in chunks:
        spoken = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        length = max(len(spoken), len(heard))
        yield from zip(spoken or [""] * length, heard or [""] * length, strict=True)


def _counts(chunks: list[jiwer.AlignmentChunk]) -> Counts:
    lengths = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        lengths[chunk.type] += max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
    return Counts(lengths["equal"], lengths["substitute"], lengths["delete"], lengths["insert"])
