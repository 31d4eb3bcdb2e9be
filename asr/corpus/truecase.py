"""Capitals for names: people and places by the lists in ``data/names``, days, months and street types by rule.

Each list holds one name a line, written as people write it; a trailing ``*`` marks a name that is also an
ordinary word (Will, Rose, Turkey), which is capitalised only beside another name. A new list is a new file.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from asr.errors import ConfigError

NAMES = Path(__file__).parents[2] / "data" / "names"

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("january", "february", "april", "june", "july", "september", "october", "november", "december")
_ALWAYS = {
    **{day: day.title() for day in _DAYS},
    **{month: month.title() for month in _MONTHS},
    **{word: word.replace("i", "I", 1) for word in ("i", "i'm", "i'll", "i've", "i'd")},
}
_MONTHS_BEFORE_DAY = {"march": "March", "may": "May", "august": "August"}
_TITLES = {"mr.": "Mr.", "mrs.": "Mrs.", "dr.": "Dr.", "st.": "St."}
_STREET_TYPES = ("avenue", "street", "road", "boulevard", "drive", "lane", "place", "court", "highway", "square")
_STREETS = {word: word.title() for word in _STREET_TYPES}
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)")


def truecase(text: str) -> str:
    """Capitalises the names in `text` (lower case, otherwise in written form); the rest stays as it is."""
    words = text.split()
    phrases, ambiguous, longest = _names()
    out: list[str] = []
    named: list[bool] = []
    index = 0
    while index < len(words):
        for length in range(min(longest, len(words) - index), 0, -1):
            found = phrases.get(" ".join(words[index : index + length]))
            if found is not None:
                out += found.split()
                named += [True] * length
                index += length
                break
        else:
            out.append(_by_rule(words, index))
            named.append(out[-1] in _TITLES.values())
            index += 1
    for position, word in enumerate(words):
        neighbours = named[max(0, position - 1) : position] + named[position + 1 : position + 2]
        if not named[position] and word in ambiguous and any(neighbours):
            out[position] = ambiguous[word]
        elif word in _STREETS and position and (named[position - 1] or _ORDINAL.fullmatch(words[position - 1])):
            out[position] = _STREETS[word]
        elif word in _STREETS and position > 1 and words[position - 2].isdigit():  # 123 Main Street
            out[position - 1 : position + 1] = [words[position - 1].title(), _STREETS[word]]
    return " ".join(out)


def _by_rule(words: list[str], index: int) -> str:
    word = words[index]
    following = words[index + 1] if index + 1 < len(words) else ""
    if word in _MONTHS_BEFORE_DAY and following[:1].isdigit():
        return _MONTHS_BEFORE_DAY[word]
    possessive = word.removesuffix("'s")
    phrases, _, _ = _names()
    if possessive != word and possessive in phrases:
        return phrases[possessive] + "'s"
    return _TITLES.get(word) or _ALWAYS.get(word, word)


@functools.cache
def _names() -> tuple[dict[str, str], dict[str, str], int]:
    """Names by their lower-case form, those that are also words, and the most words of one name."""
    files = sorted(NAMES.glob("*.txt"))
    if not files:
        raise ConfigError(f"{NAMES}: holds no list of names (*.txt, one name a line)")
    plain: dict[str, str] = {}
    ambiguous: dict[str, str] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            name = line.partition("#")[0].strip()
            if name.endswith("*"):
                name = name.rstrip("* ")
                ambiguous[name.lower()] = name
            elif name:
                plain[name.lower()] = name
    for word in set(plain) & set(ambiguous):  # one list says that it is also an ordinary word
        del plain[word]
    return plain, ambiguous, max(len(name.split()) for name in plain)
