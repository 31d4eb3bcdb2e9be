"""CTC prefix beam search with an n-gram over words and an open vocabulary.

A word gets its language score when a separator ends it, or at the end of the audio. A word that the language model
does not know may be spelled all the same, at a cost. Until a word ends, its prefix is ranked by the best that can
become of it: the highest unigram score of the known words that begin so, or the cost of an unknown one with the
letters spelled so far (look-ahead, Ortmanns et al. 1996). That changes no final score; it keeps the beam for readings
that can win: on a half-trained model's posteriors a beam of 16 made 59.7 % word errors with it and 62.6 % with the
cost alone.

Phrase hints (`asr.decode.hints`) are ranked in the same way: by the part of a phrase's worth that has been followed,
and an open word that a hint may complete by what it scores within the phrase. What a text gains in the end are its
complete phrases only.
"""

from __future__ import annotations

from collections.abc import Iterator

import kenlm
import numpy as np
import numpy.typing as npt

from asr.decode import prefixes, search, settle
from asr.decode.config import DecoderConfig
from asr.decode.hints import Hints, Pricing
from asr.decode.lm import LanguageModel
from asr.decode.spelling import spelling_model
from asr.decode.trie import NO_WORD, best_below, build_trie
from asr.decode.types import Hypothesis, LogProbs, Tokens
from asr.decode.words import Alignment, Reader, Reading, interim, rank

_BLOCK_FRAMES = 64


class BeamModel:
    """What the streams of one decoder share: symbols as arrays and the vocabulary as a trie.

    Attributes:
        words_left_out: words of the language model that the symbols cannot spell and that can never be recognised.
    """

    def __init__(self, tokens: Tokens, config: DecoderConfig, lm: LanguageModel | None) -> None:
        self.tokens, self.config, self.lm = tokens, config, lm
        alphabet = {letter: index for index, letter in enumerate(sorted(set("".join(tokens.pieces))))}
        pieces = np.array([alphabet[letter] for piece in tokens.pieces for letter in piece], dtype=np.int32)
        piece_ends = np.cumsum([0, *(len(piece) for piece in tokens.pieces)], dtype=np.int32)
        words = lm.words if lm else ()
        self.words = tuple(word for word in words if alphabet.keys() >= set(word))
        self.words_left_out = len(words) - len(self.words)
        letters = np.array([alphabet[letter] for letter in "".join(self.words)], dtype=np.int32)
        offsets = np.cumsum([0, *(len(word) for word in self.words)], dtype=np.int64)
        trie, self.trie_words = build_trie(letters, offsets, max(1, len(alphabet)))
        ahead, ahead_off = np.zeros(len(trie)), 0.0
        if lm:
            context = lm.empty()
            ahead_off = config.word_bonus - config.unknown_cost
            alone = np.array([config.lm_weight * lm.score(context, word)[0] for word in self.words])
            scores = alone + config.word_bonus
            self._alone = dict(zip(self.words, alone.tolist(), strict=True))
            self.unknown_log_prob = lm.score(context, "<unk>")[0]
            ahead = best_below(trie, self.trie_words, scores)
        if lm and config.spelling_weight:
            spelling = np.float32(config.spelling_weight) * spelling_model(letters, offsets, len(alphabet))
        else:
            spelling = np.zeros((1, len(alphabet) + 1), np.float32)
        self.symbols = prefixes.Symbols(
            np.array(tokens.begins_word), pieces, piece_ends, trie, ahead, ahead_off, spelling
        )
        self._alphabet = alphabet

    @property
    def pricing(self) -> Pricing:
        """What hints cost. Made anew each time: kept here it would be a cycle, and a model that nobody uses any more
        would stay in memory until the garbage collector comes across it.
        """
        config = self.config
        score = self.word_score if self.lm else None
        return Pricing(config.hint_boost, config.hint_word_cost, config.word_bonus, score, config.hint_crowd_cost)

    def word_score(self, word: str) -> float:
        """What a word scores without context and without the bonus; an unknown one as it is spelled."""
        known: float | None = self._alone.get(word)
        if known is not None:
            return known
        contexts, base = self.symbols.spelling.shape
        letters, spelled = contexts - 1, 0.0
        for letter in map(self._alphabet.__getitem__, word):
            spelled += float(self.symbols.spelling[letters, letter])
            letters = (letters * base + letter) % contexts
        return spelled + float(self.symbols.spelling[letters, -1]) - self.config.unknown_cost


class BeamSearch:
    """The search state of one stream, whose size does not grow with the stream (see `asr.decode.settle`)."""

    def __init__(self, model: BeamModel, frame_s: float, hints: Hints | None = None) -> None:
        self._model, self._hints = model, hints
        width = model.config.beam_width
        self._nodes = np.zeros(0, prefixes.NODE)
        self._records = np.zeros(0, prefixes.RECORD)
        self._slot = np.zeros(0, np.int32)
        self._places = np.zeros(0, np.int32)
        self._granted = np.zeros(0)
        self._beam = np.zeros(width, prefixes.BEAM)
        self._wanted = np.zeros(width, np.int64)
        self._sizes = np.array([1, 1, 0, 0], np.int64)
        self._frames = 0
        self._states: list[kenlm.State] = [model.lm.start()] if model.lm else []
        self._reader = Reader(model.tokens, frame_s)
        self._best: Hypothesis | None = None
        self._resize(1)
        root = self._nodes[prefixes.ROOT]
        root["parent"] = root["token"] = root["child"] = root["sibling"] = -1
        root["after"] = prefixes.UNSCORED
        root["letters"] = len(model.symbols.spelling) - 1
        only = self._beam[0]
        only["record_b"] = only["record_n"] = only["last_b"] = only["last_n"] = -1
        only["symbol"] = only["best_n"] = -np.inf

    @property
    def settled(self) -> int:
        """How many of the first words nothing can change any more."""
        return len(self._reader.words)

    @property
    def nbytes(self) -> int:
        """Size of the tree in memory."""
        return sum(array.nbytes for array in (self._nodes, self._records, self._slot, self._places, self._granted))

    def accept(self, log_probs: LogProbs) -> None:
        """Takes frames of shape (T, V)."""
        for block in self._blocks(log_probs):
            self._make_room(len(block))
            self._advance(block)
            if self._frames % _BLOCK_FRAMES == 0 and (symbols := self._drop_distant()):
                self._compact(symbols)

    def preview(self, log_probs: LogProbs) -> tuple[Hypothesis, tuple[float, float]]:
        """`best` and `agreement` if these frames (T, V) came next; then all is as before."""
        self._make_room(len(log_probs))
        beam, sizes, frames, best = self._beam.copy(), self._sizes.copy(), self._frames, self._best
        try:
            for block in self._blocks(log_probs):
                self._advance(block)
                if self._frames % _BLOCK_FRAMES == 0:
                    self._drop_distant()
            return self.best(), self.agreement()
        finally:
            search.cut_back(self._nodes, int(sizes[0]), int(self._sizes[0]))
            self._reader.forget(int(sizes[2]))
            self._beam[:], self._sizes[:], self._frames, self._best = beam, sizes, frames, best

    def agreement(self) -> tuple[float, float]:
        """The share of probability in prefixes that begin with the words of `best`, and with all but the last."""
        ids, shares = search.agreement(self._arrays()[0])
        tokens = self._model.tokens
        end = len(ids)
        while end and not tokens.pieces[ids[end - 1]]:
            end -= 1
        begin = end
        while begin and not tokens.begins_word[ids[begin - 1]]:
            begin -= 1
        return float(shares[end - 1]) if end else 1.0, float(shares[begin - 2]) if begin > 1 else 1.0

    def best(self) -> Hypothesis:
        """The best prefix so far; an open last word counts as the best that can become of it."""
        if self._best is None:
            self._best = self._reader.whole(interim(self._read(0, float(self._beam[0]["total"]))))
        return self._best

    def finish(self, nbest: int) -> list[Hypothesis]:
        """The best texts if the audio ended here."""
        model = self._model
        cells = self._beam[: self._sizes[1]]
        ends = cells["node"].astype(np.int64)
        if model.lm:
            self._score_words(
                ends[(self._nodes["open"][ends] == 1) & (self._nodes["after"][ends] == prefixes.UNSCORED)]
            )
        nodes = self._nodes[ends]
        totals = np.logaddexp(cells["blank"], cells["symbol"]) + nodes["lm"]  # without what lies ahead
        if self._hints:
            totals += self._granted[ends] + self._hints.graph.close[self._places[ends]]
        if model.lm:
            states = np.where(nodes["open"] == 1, nodes["after"], nodes["state"]).tolist()
            closing = {state: model.lm.end(self._states[state]) for state in set(states)}
            totals += nodes["gain"] + model.config.lm_weight * np.array([closing[state] for state in states])
        readings = [self._read(index, total) for index, total in enumerate(totals.tolist())]
        return [self._reader.whole(hypothesis) for hypothesis in rank(readings, nbest)]

    def _blocks(self, log_probs: LogProbs) -> Iterator[LogProbs]:
        """Cut where the stream is a multiple of `_BLOCK_FRAMES` long, whatever the calls."""
        while len(log_probs):
            size = _BLOCK_FRAMES - self._frames % _BLOCK_FRAMES
            yield log_probs[:size]
            log_probs = log_probs[size:]

    def _arrays(self) -> tuple[prefixes.State, prefixes.Hinted | None]:
        state = prefixes.State(self._nodes, self._records, self._beam, self._sizes, self._wanted, self._slot)
        return state, prefixes.Hinted(self._hints.graph, self._places, self._granted) if self._hints else None

    def _advance(self, log_probs: LogProbs) -> None:
        """Takes frames for which there is room."""
        model, config = self._model, self._model.config
        state, hinted = self._arrays()
        self._best = None
        done = 0
        while done < len(log_probs):
            done += search.advance(
                log_probs[done:], self._frames + done, state, model.symbols, hinted,
                config.token_prune_log, model.lm is not None,
            )  # fmt: skip
            if self._sizes[3]:
                self._score_words(self._wanted[: self._sizes[3]])
        self._frames += len(log_probs)

    def _score_words(self, wanted: npt.NDArray[np.int64]) -> None:
        """Fills in what ending the open words of nodes (N,) gains, and the language model's states after them."""
        model, config, states = self._model, self._model.config, self._states
        assert model.lm is not None
        nodes = self._nodes[wanted]
        words = np.where(nodes["trie"] == prefixes.OFF_LEXICON, NO_WORD, model.trie_words[nodes["trie"]]).tolist()
        spelled = (nodes["spelled"] + model.symbols.spelling[nodes["letters"], -1]).tolist()
        unknown: dict[int, tuple[float, int]] = {}
        gains: list[float] = []
        afters: list[int] = []
        for before, word, letters in zip(nodes["state"].tolist(), words, spelled, strict=True):
            if word != NO_WORD:
                log_prob, after = model.lm.score(states[before], model.words[word])
                gain = config.lm_weight * log_prob
                afters.append(len(states))
                states.append(after)
            else:
                if before not in unknown:
                    log_prob, after = model.lm.score(states[before], "<unk>")
                    unknown[before] = config.unknown_context * (log_prob - model.unknown_log_prob), len(states)
                    states.append(after)
                context, after_unknown = unknown[before]
                gain = letters - config.unknown_cost + context
                afters.append(after_unknown)
            gains.append(gain + config.word_bonus)
        self._nodes["gain"][wanted], self._nodes["after"][wanted] = gains, afters

    def _read(self, index: int, score: float) -> Reading:
        cell = self._beam[index]
        end = "b" if cell["best_b"] >= cell["best_n"] else "n"
        *aligned, records = search.trace(
            self._nodes, self._records, cell["node"], cell[f"record_{end}"], cell[f"last_{end}"], cell[f"peak_{end}"]
        )
        return self._reader.read(Alignment(*aligned), records, score)

    def _drop_distant(self) -> int:
        return int(settle.drop_distant(self._arrays()[0], self._model.config.settled_symbols))

    def _make_room(self, frames: int) -> None:
        """Makes room for what `frames` more can add at most; first where what is dead lies."""
        most = frames * len(self._beam)
        if self._sizes[0] + most > len(self._nodes) or self._sizes[2] + most > len(self._records):
            self._compact(0)
            self._resize(most)

    def _compact(self, symbols: int) -> None:
        """Throws away what cannot matter any more, and settles at least so many symbols."""
        taken = settle.compact(*self._arrays(), symbols, len(self._states))
        self._states = [self._states[number] for number in taken.states.tolist()]
        self._reader.settle(Alignment(taken.ids, taken.starts, taken.ends, taken.peaks))

    def _resize(self, most: int) -> None:
        """Makes room for so many more, and for what is there once again: so compacting costs little for each frame."""
        self._nodes = _grown(self._nodes, 2 * int(self._sizes[0]) + most, 0)
        self._records = _grown(self._records, 2 * int(self._sizes[2]) + most, 0)
        self._slot = _grown(self._slot, len(self._nodes), -1)
        if self._hints:
            self._places = _grown(self._places, len(self._nodes), 0)
            self._granted = _grown(self._granted, len(self._nodes), 0)


def _grown(array: prefixes.Array, size: int, fill: int) -> prefixes.Array:
    if size <= len(array):
        return array
    size = max(size, len(array) * 3 // 2)  # not a little more every time
    larger = np.full(size, fill, array.dtype) if fill else np.zeros(size, array.dtype)
    larger[: len(array)] = array
    return larger
