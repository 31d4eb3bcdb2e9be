"""An n-gram language model over words, read by KenLM (Heafield 2011), with its vocabulary known."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import kenlm

from asr.errors import BundleError

_BINARY_MAGIC = b"mmap lm http://kheafield.com/code format version"
_SPECIAL = frozenset({"<unk>", "<s>", "</s>"})
_PACKED = {".gz": gzip.decompress, ".bz2": bz2.decompress}
_LN_10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a model predicts a text.

    Attributes:
        perplexity: per known word and end of sentence; words the model does not know are left out.
        oov_rate: share of the words that it does not know.
    """

    sentences: int
    words: int
    perplexity: float
    oov_rate: float


class LanguageModel:
    """An immutable back-off n-gram; states are KenLM's, probabilities natural logs.

    Attributes:
        words: the vocabulary without ``<unk>``, ``<s>`` and ``</s>``, sorted.
        order: n.
        phrases: what the model expects as a whole, with boosts in nats: phrase hints of every stream.
    """

    phrases: tuple[tuple[str, float], ...] = ()

    def __init__(self, model: kenlm.Model, words: Iterable[str]) -> None:
        self._model = model
        self.words = tuple(sorted(set(words) - _SPECIAL))
        self.order: int = model.order

    @classmethod
    def load(cls, path: str | Path) -> LanguageModel:
        """Reads a KenLM binary or an ARPA file (plain, .gz or .bz2).

        Raises:
            BundleError: missing, not a language model, or a binary from another KenLM.
        """
        path = Path(path)
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            if path.suffix in _PACKED:  # KenLM reads them only where it was compiled with the libraries for it
                arpa = _PACKED[path.suffix](path.read_bytes())
                with tempfile.NamedTemporaryFile(suffix=".arpa") as plain:
                    plain.write(arpa)
                    plain.flush()
                    return cls(kenlm.Model(plain.name, config), _arpa_words(arpa))
            words = _binary_words(path) if _is_binary(path) else _arpa_words(path.read_bytes())
            return cls(kenlm.Model(str(path), config), words)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise BundleError(f"{path}: cannot be read as a KenLM binary or ARPA file ({error})") from error

    @property
    def lexicon(self) -> tuple[str, ...]:
        """The words that a text may hold, sorted; `words` may have more that are written otherwise (`spans`)."""
        return self.words

    def spans(self, words: Sequence[str]) -> list[tuple[int, int, str]]:
        """Where words stand for others that should be written (see `asr.decode.respell.Span`); none here."""
        del words
        return []

    def __contains__(self, word: str) -> bool:
        return word not in _SPECIAL and word in self._model

    def start(self) -> kenlm.State:
        """The state at the beginning of a sentence."""
        state = kenlm.State()
        self._model.BeginSentenceWrite(state)
        return state

    def empty(self) -> kenlm.State:
        """The state without any context."""
        state = kenlm.State()
        self._model.NullContextWrite(state)
        return state

    def score(self, state: kenlm.State, word: str) -> tuple[float, kenlm.State]:
        """The natural log of p(word | state), and the state after the word; an unknown one scores as ``<unk>``."""
        after = kenlm.State()
        return _LN_10 * self._model.BaseScore(state, word, after), after

    def end(self, state: kenlm.State) -> float:
        """The natural log of p(end of sentence | state)."""
        return float(_LN_10 * self._model.BaseScore(state, "</s>", kenlm.State()))

    def fit(self, sentences: Iterable[str]) -> Fit:
        """Perplexity and out-of-vocabulary rate over sentences of single-spaced words."""
        total, predicted, unknown, count = 0.0, 0, 0, 0
        for sentence in sentences:
            count += 1
            for log10, _, oov in self._model.full_scores(sentence):
                unknown += oov
                predicted += not oov
                total += 0.0 if oov else log10
        words = predicted + unknown - count
        return Fit(count, words, 10 ** (-total / max(1, predicted)), unknown / max(1, words))


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BINARY_MAGIC)) == _BINARY_MAGIC


def _binary_words(path: Path) -> list[str]:
    """The words of a KenLM binary: zero-terminated at its end, beginning with ``<unk>``."""
    data = path.read_bytes()
    start = data.rfind(b"<unk>\0")
    if start < 0:
        raise ValueError("the binary was built without its vocabulary")
    return [word.decode("utf-8") for word in data[start:].rstrip(b"\0").split(b"\0")]


def _arpa_words(data: bytes) -> list[str]:
    words: list[str] = []
    inside = False
    for line in io.BytesIO(data):
        if line.startswith(b"\\"):
            if inside:
                return words
            inside = line.strip() == b"\\1-grams:"
        elif inside and line.strip():
            words.append(line.split(b"\t")[1].strip().decode("utf-8"))
    raise ValueError("no complete 1-grams section")
