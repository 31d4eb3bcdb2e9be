"""Words that the recogniser does not know: where they were said, how they are spelled, which names they may be.

::

    stream = recognizer.stream(keep_posteriors=True)
    ...
    best = stream.finish()[0]
    for span in find_unknown(stream.posteriors, best, recognizer.decoder):
        proposals = rescore(stream.posteriors, span, catalogue.propose(span, 50), recognizer.bundle.tokens)

See docs/unknown-words.md.
"""

from asr.unknown.catalogue import Catalogue, CatalogueConfig
from asr.unknown.config import UnknownConfig
from asr.unknown.find import find_unknown
from asr.unknown.letters import pronounce
from asr.unknown.rescore import RescoreConfig, rescore
from asr.unknown.sound import sound_distance
from asr.unknown.types import Entity, Proposal, Spelling, UnknownSpan

__all__ = [
    "Catalogue",
    "CatalogueConfig",
    "Entity",
    "Proposal",
    "RescoreConfig",
    "Spelling",
    "UnknownConfig",
    "UnknownSpan",
    "find_unknown",
    "pronounce",
    "rescore",
    "sound_distance",
]
