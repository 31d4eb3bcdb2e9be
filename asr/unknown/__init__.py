"""Words that the recogniser does not know: where they were said, how they are spelled, which names they may be."""

from asr.unknown.types import Entity, Proposal, Spelling, UnknownSpan

__all__ = ["Entity", "Proposal", "Spelling", "UnknownSpan"]
