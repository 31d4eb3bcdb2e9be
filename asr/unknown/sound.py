"""Whether two spellings sound alike."""

from __future__ import annotations

from asr.unknown.letters import pronounce
from asr.unknown.phones import phone_distance


def sound_distance(a: str, b: str) -> float:
    """How far two spellings are apart in sound: the least distance of any of their readings.

    Args:
        a: a spelling in letters.
        b: another.

    Returns:
        0 for the same sound, 1 if nothing of one is in the other; symmetric. Between single readings it is a metric
        (see `asr.unknown.phones`); as the readings nearest to each other are taken, a detour may be a little shorter.
    """
    return min(phone_distance(one, other) for one in pronounce(a) for other in pronounce(b))
