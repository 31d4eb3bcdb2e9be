"""Phones as the IPA that espeak-ng writes and Kokoro reads: from ARPAbet, and from one character a phone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from asr.errors import TextError

_VOWELS = {
    "AA": "ɑː", "AE": "æ", "AH": "ʌ", "AO": "ɔː", "AW": "a^ʊ", "AY": "a^ɪ", "EH": "ɛ", "ER": "ɜː", "EY": "e^ɪ",
    "IH": "ɪ", "IY": "iː", "OW": "o^ʊ", "OY": "ɔ^ɪ", "UH": "ʊ", "UW": "uː",
}  # fmt: skip
_UNSTRESSED = {"AH": "ə", "ER": "ɚ", "IY": "i"}
_CONSONANTS = {
    "B": "b", "CH": "t^ʃ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "d^ʒ", "K": "k", "L": "l",
    "M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v", "W": "w",
    "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
_PLAIN = {
    "aɪ": "a^ɪ", "aʊ": "a^ʊ", "ɔɪ": "ɔ^ɪ", "a": "ɑː", "e": "e^ɪ", "i": "iː", "o": "o^ʊ", "u": "uː", "ɑ": "ɑː",
    "ɔ": "ɔː", "ɜ": "ɜː", "r": "ɹ", "ʧ": "t^ʃ", "ʤ": "d^ʒ",
}  # fmt: skip
_SOUND = re.compile("|".join(sorted(_PLAIN, key=len, reverse=True)) + "|.")
_PLAIN_VOWEL = re.compile("[aeiouæɑɔəɛɜɪʊʌ]")
_STRESS = {"1": "ˈ", "2": "ˌ"}
_PHONE = re.compile(r"([A-Z]{1,2})([012]?)")


def is_arpabet(pronunciation: str) -> bool:
    """Whether a pronunciation is written in ARPAbet, such as ``K OW0 V AA1 L S K IY0``."""
    return bool(pronunciation.split()) and all(_known(phone) for phone in pronunciation.split())


def to_ipa(phones: Iterable[str]) -> str:
    """ARPAbet as IPA; a vowel without a stress number is unstressed.

    Raises:
        TextError: not a phone.
    """
    spelled: list[str] = []
    for phone in phones:
        match = _PHONE.fullmatch(phone)
        if not match or not _known(phone):
            raise TextError(f"{phone!r} is no phone of the ARPAbet; write K OW0 V AA1 L S K IY0 or IPA")
        name, stress = match.groups()
        if name in _CONSONANTS:
            spelled.append(_CONSONANTS[name])
            continue
        vowel = _VOWELS[name] if stress in _STRESS else _UNSTRESSED.get(name, _VOWELS[name])
        spelled.append(_STRESS.get(stress, "") + vowel)
    return "".join(spelled)


def _known(phone: str) -> bool:
    match = _PHONE.fullmatch(phone)
    return match is not None and (match[1] in _VOWELS or (match[1] in _CONSONANTS and not match[2]))


def plain_to_ipa(phones: str) -> str:
    """A word in one character a phone (`asr.unknown.phones`), unmarked for stress, as IPA.

    The last vowel but one is stressed, as in most names that English borrows; in shorter words the only one.
    """
    sounds = _SOUND.findall(phones)
    vowels = [place for place, sound in enumerate(sounds) if _PLAIN_VOWEL.match(sound)]
    stressed = vowels[max(0, len(vowels) - 2)] if vowels else -1
    return "".join(("ˈ" if place == stressed else "") + _PLAIN.get(s, s) for place, s in enumerate(sounds))
