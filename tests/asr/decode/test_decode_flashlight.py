"""Beam search against flashlight-text, an independent decoder."""

import math

import numpy as np
import pytest

from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.bench import simulate
from asr.decode.lm_build import estimate, write_arpa

# The oracle has wheels for Python 3.11 and 3.12 only.
flashlight = pytest.importorskip("flashlight.lib.text.decoder")
KenLM = pytest.importorskip("flashlight.lib.text.decoder.kenlm").KenLM
Dictionary = pytest.importorskip("flashlight.lib.text.dictionary").Dictionary

TOKENS = Tokens.characters()
SPACE = TOKENS.encode("a b")[1]
TEXTS = ["play jazz", "play some jazz music", "call mom", "what's the time", "call the cab", "play rock music"]


def sum_by_text(results):
    totals = {}
    for result in results:
        merged = [t for t, before in zip(result.tokens, [-1, *result.tokens[:-1]], strict=True) if t != before]
        text = TOKENS.decode(merged)
        totals[text] = np.logaddexp(totals.get(text, -math.inf), result.score)
    return totals


@pytest.mark.parametrize("seed", range(6))
def test_acoustic_search_agrees(seed):
    log_probs = simulate(TEXTS[seed], TOKENS, np.random.default_rng(seed), noise=1.5, spacing=3)
    options = flashlight.LexiconFreeDecoderOptions(
        beam_size=800, beam_size_token=29, beam_threshold=60.0, lm_weight=0.0, sil_score=0.0, log_add=True,
        criterion_type=flashlight.CriterionType.CTC,
    )  # fmt: skip
    oracle = flashlight.LexiconFreeDecoder(options, flashlight.ZeroLM(), SPACE, 0, [])
    totals = sum_by_text(oracle.decode(log_probs.ctypes.data, *log_probs.shape))
    config = DecoderConfig(beam_width=400, token_prune_log=-40.0)
    found = Decoder(TOKENS, config, 0.02).decode(log_probs, nbest=10)
    # Both prune, at different places, so sums differ a little and near ties may swap.
    assert [h.score for h in found[:3]] == pytest.approx([totals[h.text] for h in found[:3]], abs=0.05)
    assert [h.score for h in found[:3]] == pytest.approx(sorted(totals.values(), reverse=True)[:3], abs=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_search_with_lexicon_and_language_model_agrees(tmp_path, seed):
    arpa = tmp_path / "lm.arpa"
    write_arpa(estimate(TEXTS * 2 + ["play the cab", "what's jazz"], order=2), arpa)
    lm = LanguageModel.load(arpa)
    weight, bonus = 0.8, 0.4
    # A word of the oracle ends with its separator, so the audio does too.
    log_probs = simulate(TEXTS[seed], TOKENS, np.random.default_rng(100 + seed), noise=2.0)
    ending = np.full((2, 29), -14.0, np.float32)
    ending[:, SPACE] = -1e-5
    log_probs = np.concatenate([log_probs, ending])

    words = Dictionary()
    for word in [*lm.words, "<unk>"]:
        words.add_entry(word)
    trie = flashlight.Trie(29, SPACE)
    for word in lm.words:
        trie.insert([*TOKENS.encode(word), SPACE], words.get_index(word), 0.0)
    options = flashlight.LexiconDecoderOptions(
        beam_size=800, beam_size_token=29, beam_threshold=80.0, lm_weight=weight * math.log(10), word_score=bonus,
        unk_score=-math.inf, sil_score=0.0, log_add=True, criterion_type=flashlight.CriterionType.CTC,
    )  # fmt: skip
    oracle = flashlight.LexiconDecoder(
        options, trie, KenLM(str(arpa), words), SPACE, 0, words.get_index("<unk>"), [], False
    )
    result = oracle.decode(log_probs.ctypes.data, *log_probs.shape)[0]
    expected = " ".join(words.get_entry(index) for index in result.words if index >= 0)
    config = DecoderConfig(
        beam_width=400, token_prune_log=-40.0, lm_weight=weight, word_bonus=bonus, unknown_cost=1000.0
    )
    found = Decoder(TOKENS, config, 0.02, lm).decode(log_probs)[0]
    assert found.text == expected
    assert found.score == pytest.approx(result.score, abs=0.1)
