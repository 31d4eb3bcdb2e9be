"""What every decoder promises of a stream, and greedy decoding."""

import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.bench import simulate
from asr.decode.lm_build import estimate, write_arpa
from asr.errors import ConfigError, InputError

FRAME_S = 0.02
TOKENS = Tokens.characters()
TEXTS = ["call mom", "play jazz", "what's the time", "call the cab", "play the radio", "stop"]
KINDS = ["greedy", "beam", "beam+lm"]


@pytest.fixture(scope="module")
def decoders(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "toy.arpa.gz"
    write_arpa(estimate(TEXTS, order=2), path)
    lm = LanguageModel.load(path)
    return {
        "greedy": Decoder(TOKENS, DecoderConfig(kind="greedy"), FRAME_S),
        "beam": Decoder(TOKENS, DecoderConfig(), FRAME_S),
        "beam+lm": Decoder(TOKENS, DecoderConfig(), FRAME_S, lm),
    }


def speech(seed, text="call mom", noise=2.0):
    return simulate(text, TOKENS, np.random.default_rng(seed), noise=noise)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000), text=st.sampled_from(TEXTS), cuts=st.lists(st.integers(0, 60), max_size=8))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_chunks_never_matter(decoders, kind, seed, text, cuts):
    log_probs = speech(seed, text)
    whole = decoders[kind].stream()
    whole.accept(log_probs)
    pieces = decoders[kind].stream()
    for start, end in itertools.pairwise([0, *sorted(cuts), len(log_probs)]):
        pieces.accept(log_probs[start:end])
        pieces.best()
        if end % 2:
            pieces.finish()
    assert pieces.best() == whole.best()
    assert pieces.finish(5) == whole.finish(5)
    assert pieces.trailing_silence_s == whole.trailing_silence_s
    assert pieces.duration_s == whole.duration_s == pytest.approx(len(log_probs) * FRAME_S)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000), text=st.sampled_from(TEXTS), noise=st.sampled_from([1.0, 3.0]))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_hypotheses_are_well_formed(decoders, kind, seed, text, noise):
    log_probs = speech(seed, text, noise)
    stream = decoders[kind].stream()
    stream.accept(log_probs)
    found = stream.finish(8)
    texts = [hypothesis.text for hypothesis in found]
    assert 1 <= len(found) <= 8
    assert len(set(texts)) == len(texts)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)
    for hypothesis in [*found, stream.best()]:
        assert hypothesis.text.split() == [word.word for word in hypothesis.words]
        assert 0.0 <= hypothesis.confidence <= 1.0
        for word in hypothesis.words:
            assert 0.0 <= word.confidence <= 1.0
            assert 0.0 <= word.start_s < word.end_s <= stream.duration_s
        for before, after in itertools.pairwise(hypothesis.words):
            assert before.end_s <= after.start_s


@pytest.mark.parametrize("kind", KINDS)
def test_clear_speech_is_read_right_with_times_and_high_confidence(decoders, kind):
    log_probs = speech(0, "call mom", noise=0.1)
    best = decoders[kind].decode(log_probs)[0]
    assert best.text == "call mom"
    call, mom = best.words
    # One symbol every four frames, the first at frame 4; a symbol's peak is one frame long.
    assert (call.start_s, call.end_s) == pytest.approx((4 * FRAME_S, 17 * FRAME_S))
    assert (mom.start_s, mom.end_s) == pytest.approx((24 * FRAME_S, 33 * FRAME_S))
    assert min(call.confidence, mom.confidence, best.confidence) > 0.9


def test_confidence_falls_where_the_sound_is_ambiguous(decoders):
    log_probs = speech(0, "call mom", noise=0.1)
    frame = 4 * 8  # the last m of mom
    assert log_probs[frame].argmax() == TOKENS.encode("m")[0]
    log_probs[frame, [TOKENS.encode("m")[0], TOKENS.encode("p")[0]]] = np.log(0.55), np.log(0.44)
    for kind in KINDS:
        call, mom = decoders[kind].decode(log_probs)[0].words
        assert mom.confidence < call.confidence - 0.1
    assert decoders["beam"].decode(log_probs)[0].words[1].confidence < 0.6


def reference_greedy(log_probs):
    merged = [token for token, _ in itertools.groupby(log_probs.argmax(axis=1).tolist())]
    return TOKENS.decode(token for token in merged if token)


@given(seed=st.integers(0, 10_000), frames=st.integers(1, 40))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_greedy_is_the_best_symbol_of_each_frame(decoders, seed, frames):
    logits = np.random.default_rng(seed).normal(0, 2, (frames, 29))
    logits[:, 0] += 3.0
    log_probs = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    best = decoders["greedy"].decode(log_probs)[0]
    assert best.text == reference_greedy(log_probs)
    assert best.score == pytest.approx(log_probs.max(axis=1).sum(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_no_frames_and_silence_give_one_empty_text(decoders, kind):
    silence = np.full((30, 29), -9.0, np.float32)
    silence[:, 0] = -0.01
    for log_probs in (silence[:0], silence):
        stream = decoders[kind].stream()
        stream.accept(log_probs)
        assert stream.best().text == ""
        assert stream.finish()[0].text == ""
        assert stream.finish()[0].words == ()
        assert stream.trailing_silence_s == pytest.approx(len(log_probs) * FRAME_S)


@pytest.mark.parametrize("kind", KINDS)
def test_trailing_silence_counts_from_the_last_spoken_frame(decoders, kind):
    log_probs = speech(0, "stop", noise=0.1)
    stream = decoders[kind].stream()
    stream.accept(log_probs)
    assert stream.trailing_silence_s == pytest.approx((len(log_probs) - 1 - 16) * FRAME_S)


def test_a_broken_acoustic_model_is_named(decoders):
    stream = decoders["beam"].stream()
    with pytest.raises(InputError, match=r"shape \(3, 28\)"):
        stream.accept(np.zeros((3, 28), np.float32))
    with pytest.raises(InputError, match="NaN"):
        stream.accept(np.full((3, 29), np.nan, np.float32))
    with pytest.raises(InputError, match="without any probability"):
        stream.accept(np.full((3, 29), -np.inf, np.float32))
    with pytest.raises(ConfigError, match="frame_s"):
        Decoder(TOKENS, DecoderConfig(), 20.0)


def test_long_streams_outgrow_their_first_buffers(decoders):
    """Thirty seconds in one call and frame by frame."""
    text = " ".join(TEXTS * 8)
    log_probs = speech(1, text, noise=0.5)
    assert len(log_probs) > 1000
    stream = decoders["beam+lm"].stream()
    for frame in log_probs:
        stream.accept(frame[None])
    assert stream.finish() == decoders["beam+lm"].decode(log_probs)
    assert stream.finish()[0].text == text


@pytest.mark.parametrize("seed", range(5))
def test_a_narrow_beam_finds_what_a_wide_one_does(decoders, seed):
    log_probs = speech(seed, "what's the time", noise=2.0)
    lm = decoders["beam+lm"].lm
    wide = Decoder(TOKENS, DecoderConfig(beam_width=400, token_prune_log=-12), FRAME_S, lm).decode(log_probs)[0]
    narrow = decoders["beam+lm"].decode(log_probs)[0]
    assert narrow.text == wide.text == "what's the time"
    assert wide.score - 0.5 < narrow.score <= wide.score + 1e-6


def test_threads_share_one_decoder(decoders):
    inputs = [speech(seed, text) for seed, text in enumerate(TEXTS * 4)]
    alone = [decoders["beam+lm"].decode(log_probs, 3) for log_probs in inputs]
    together = [None] * len(inputs)

    def work(index):
        together[index] = decoders["beam+lm"].decode(inputs[index], 3)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_importing_decode_is_light():
    code = "import sys, asr.decode; print([m for m in ('torch', 'numba', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
