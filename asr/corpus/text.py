"""Text as it is spoken and text as it is written.

Spoken form is what the recogniser learns and answers: ``a`` to ``z``, apostrophe and space. Written form is
what people read: "5th Avenue", "Barack Obama". NeMo's weighted grammars (nemo_text_processing, on pynini) do
numbers, dates, money, times and abbreviations both ways; text of plain words never reaches them, so that a
plain transcript costs microseconds and no import. The grammars take about a minute to compile, once per
machine: `prepare` does it ahead of time and keeps them in the user's cache folder.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import logging
import re
import shutil
import tempfile
import threading
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from asr.corpus.truecase import truecase
from asr.errors import MissingDependencyError, TextError

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHABET = "abcdefghijklmnopqrstuvwxyz' "


def _words(text: str) -> list[str]:
    return text.split()


_FOLDED = str.maketrans(
    {
        **dict.fromkeys("‘’ʼ‛′`´", "'"),
        **dict.fromkeys("“”„«»″", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        "…": " ",
        "⁄": "/",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
        "ß": "ss",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "þ": "th",
        "ı": "i",
        "\ufeff": None,
        "\u00ad": None,
        "\u200b": None,
    }
)
_SILENT = re.compile(r'[.,!?;:"()\-/]+')
_SPOKEN_FIRST: tuple[tuple[re.Pattern[str], str], ...] = (  # what the grammar reads wrongly or not at all
    (re.compile(r"(?<=[A-Za-z0-9])&(?=[A-Za-z0-9])"), " and "),
    (re.compile(r"\bkm/h\b"), "kilometers per hour"),
    (re.compile(r"\b24/7\b"), "twenty four seven"),
    (re.compile(r"\bmrs\b\.?", re.IGNORECASE), "missus"),
    (re.compile(r"\bmr\b\.?", re.IGNORECASE), "mister"),
    (re.compile(r"\bave\b\.?", re.IGNORECASE), "avenue"),
    (re.compile(r"\bblvd\b\.?", re.IGNORECASE), "boulevard"),
    (re.compile(r"\bdr\b\.?(?=\s+[A-Za-z])", re.IGNORECASE), "doctor"),
)
_ABBREVIATIONS = frozenset(
    _words(
        "rd st prof jr sr vs etc inc ltd corp approx dept gov lt sgt capt rev ft mt hwy apt jan feb mar apr jun jul "
        "aug sep sept oct nov dec"
    )
)
_REWRITTEN = _ABBREVIATIONS | {"mrs", "mr", "ave", "blvd", "dr"}
_BARE = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")
_PLAIN = re.compile(r"[A-Za-z' ,!?;:\"()\-]*\.*[\s\")']*")

_UNITS = _words("one two three four five six seven eight nine")
_TEENS = _words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_SMALL_ORDINALS = ("first", "second", "third")
_ORDINALS = _words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth "
    "ninetieth hundredth thousandth"
)
_STREETS = frozenset(_words("avenue street road boulevard drive lane place court highway"))
_MONTHS = _words("january february march april may june july august september october november december")
_NUMBERS = frozenset(
    [*_UNITS, *_TEENS, *_TENS, *_ORDINALS, "zero", "hundred", "thousand", "million", "billion", "half"]
)
_WRITABLE = _NUMBERS | {"quarter", "dot", "o'clock", "mister", "missus", "doctor"}
_LONE_ORDINAL = re.compile(
    rf"(?<!\S)(?<!ty )(?:{'|'.join(_SMALL_ORDINALS)})(?!\S)"
    rf"(?! (?:{'|'.join(sorted(_STREETS))})\b)(?! of (?:{'|'.join(_MONTHS)})\b)"
)
_HALF_DAY = re.compile(r"(?<=\S )([ap])m(?!\S)")
_LEADING_ZERO = re.compile(r"\b0(\d:\d\d)")
_SPACE_BEFORE_PERCENT = re.compile(r"(?<=\d) %")
_WORDS_BEFORE, _WORDS_AFTER = 3, 4  # what a number's meaning may hang on: "march" before, "degrees celsius" after

_lock = threading.Lock()  # pynini's grammars are shared and not documented to be thread-safe


def normalise(text: str) -> str:
    """Returns the spoken form of `text`: lower case, in `ALPHABET`, single spaces.

    "Dr. Smith paid $5.50 on March 3rd" becomes "doctor smith paid five dollars fifty cents on march third".

    Raises:
        TextError: a character that cannot be spoken in English, or nothing to speak at all.
        MissingDependencyError: the text needs the grammar (it holds numbers or symbols) and it is not installed.
    """
    if _BARE.fullmatch(text) and _REWRITTEN.isdisjoint((lowered := text.lower()).split()):
        return lowered  # ten times faster, for lists of thousands of names
    folded = _fold(text)
    for pattern, spoken in _SPOKEN_FIRST:
        folded = pattern.sub(spoken, folded)
    foreign = sorted({character for character in folded if character.isalpha() and not character.isascii()})
    if not foreign and not _is_plain(folded):
        folded = _fold(_normaliser()(folded))
    spoken = " ".join(_SILENT.sub(" ", folded.lower()).split())
    spoken = " ".join(filter(None, map(_unquoted, spoken.split())))
    foreign = foreign or sorted(set(spoken) - set(ALPHABET))
    if foreign:
        names = ", ".join(f"{character!r}" for character in foreign[:3])
        raise TextError(f"{text!r} cannot be spoken: {names} has no reading in the alphabet a-z, apostrophe and space")
    if not spoken:
        raise TextError(f"{text!r} holds nothing to speak")
    return spoken


def needs_grammar(text: str) -> bool:
    """Whether `normalise` asks the grammar, milliseconds, and not rules of its own, microseconds."""
    if _BARE.fullmatch(text):
        return not _ABBREVIATIONS.isdisjoint(text.lower().split())
    return not _is_plain(_fold(text))


@functools.lru_cache(maxsize=4096)
def written_form(spoken: str) -> str:
    """Returns what people would write for `spoken`: "fifth avenue" becomes "5th Avenue".

    Numbers, dates, money and times by the inverse grammar, then names in capitals (`asr.corpus.truecase`). An
    ordinary use of first, second or third ("wait a second") stays as it is.

    Raises:
        MissingDependencyError: `spoken` holds numbers and the grammar is not installed.
    """
    words = spoken.split()
    if _WRITABLE.isdisjoint(words):
        return truecase(" ".join(words))
    text = _HALF_DAY.sub(r"\1 m", " ".join(words))
    parts: list[str] = []
    start = 0
    for kept in _LONE_ORDINAL.finditer(text):
        if text[: kept.start()].rstrip().rpartition(" ")[2] in _MONTHS:
            continue
        parts += [_written(text[start : kept.start()]), kept.group()]
        start = kept.end()
    parts.append(_written(text[start:]))
    written = _SPACE_BEFORE_PERCENT.sub("%", " ".join(filter(None, parts)))
    return truecase(_LEADING_ZERO.sub(r"\1", written))


def prepare() -> Path:
    """Compiles both grammars into the user's cache folder, or finds them there, and returns the folder."""
    _normaliser()
    _inverse_normaliser()
    return _cache_folder()


def _fold(text: str) -> str:
    """Compatibility forms to plain ones, accents off, one kind of quote and dash."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).translate(_FOLDED))
    return "".join(character for character in decomposed if not unicodedata.combining(character)).translate(_FOLDED)


def _unquoted(word: str) -> str:
    """Takes quotes off a word quoted by itself; a single apostrophe ('tis, students') belongs to it."""
    return word.strip("'") if word.startswith("'") and word.endswith("'") else word


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text)) and _ABBREVIATIONS.isdisjoint(re.findall(r"[a-z]+", text.lower()))


def _written(text: str) -> str:
    """Runs the grammar over the words around the numbers only: its time grows with the length."""
    words = text.split()
    places = [index for index, word in enumerate(words) if word in _WRITABLE]
    if not places:
        return " ".join(words)
    first, last = max(0, places[0] - _WORDS_BEFORE), places[-1] + 1 + _WORDS_AFTER
    return " ".join([*words[:first], _inverse_normaliser()(" ".join(words[first:last])), *words[last:]])


@functools.cache
def _normaliser() -> Callable[[str], str]:
    return _grammar("text_normalization.normalize", "Normalizer", input_case="cased")


@functools.cache
def _inverse_normaliser() -> Callable[[str], str]:
    return _grammar("inverse_text_normalization.inverse_normalize", "InverseNormalizer")


def _grammar(module: str, name: str, **options: Any) -> Callable[[str], str]:
    with _lock:
        try:
            grammars = importlib.import_module(f"nemo_text_processing.{module}")
        except ImportError as error:
            raise MissingDependencyError(
                f"numbers and symbols in text need nemo_text_processing ({error}); pip install 'dengar[train]'"
            ) from error
        logging.getLogger("NeMo-text-processing").setLevel(logging.ERROR)
        folder = _cache_folder() / name
        make = functools.partial(getattr(grammars, name), lang="en", overwrite_cache=False, **options)
        processor = make(cache_dir=str(folder)) if folder.is_dir() else _compiled(make, folder)

    def apply(text: str) -> str:
        with _lock:
            return str(processor.normalize(text, verbose=False))

    return apply


def _compiled(make: Callable[..., Any], folder: Path) -> Any:
    """Compiles into a folder beside `folder` and renames it, so that a crash never leaves half a grammar."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        processor = make(cache_dir=str(partial))
        if not folder.is_dir():  # another process may have been faster
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return processor


def _cache_folder() -> Path:
    version = importlib.metadata.version("nemo_text_processing")
    return Path(platformdirs.user_cache_dir("dengar")) / f"nemo-grammars-{version}"
