"""Phrase hints in beam search against enumeration of every alignment and a plain matcher of phrases."""

import itertools
import math
import threading
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.bench import simulate
from asr.decode.hint_graph import START, end_word, follow
from asr.decode.hint_text import NO_CONTEXTS, Contexts
from asr.decode.hints import Pricing, compile_hints, content_key
from asr.decode.lm_build import estimate, write_arpa
from asr.errors import ConfigError

FRAME_S = 0.02
TINY = Tokens(["<blank>", " ", "a", "b"])
SUBWORDS = Tokens(["<blank>", "▁", "▁a", "a", "ab"])
FULL = Tokens.characters()
WIDE = {"beam_width": 1000, "token_prune_log": -1e9}
TEXT = ["a", "a b", "b a", "ab a", "ab ab b", "b", "b b a", "ab", "a a", "b ab"]
SPOKEN = ["call mom", "play jazz", "what's the time", "call the cab", "play the radio", "stop"]
WORDS = ["a", "b", "ab", "ba", "bba"]

words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
boosts = st.sampled_from([-6.0, -0.5, 0.0, 1.5, 3.0, 12.0])
hint_lists = st.lists(st.tuples(words, boosts), max_size=5, unique_by=lambda hint: hint[0])
with_classes = st.lists(
    st.tuples(
        st.lists(st.sampled_from([*WORDS, "$X", "$Y"]), min_size=1, max_size=4).map(" ".join),
        boosts,
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda hint: hint[0],
)
in_contexts = st.builds(
    Contexts,
    words=st.lists(words, max_size=3).map(tuple),
    boost=st.sampled_from([0.0, 2.0, 7.0, 15.0]),
    texts=st.frozensets(words, max_size=4),
)
class_items = st.fixed_dictionaries({"X": st.lists(words, min_size=1, max_size=4), "Y": st.lists(words, min_size=1)})


def lm_of(tmp_path_factory, sentences, order):
    path = tmp_path_factory.mktemp("lm") / "toy.arpa"
    write_arpa(estimate(sentences, order=order), path)
    return LanguageModel.load(path)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return lm_of(tmp_path_factory, TEXT, 3)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    return Decoder(FULL, DecoderConfig(unknown_cost=20.0), FRAME_S, lm_of(tmp_path_factory, SPOKEN, 2))


def random_log_probs(seed, frames, tokens=TINY):
    logits = np.random.default_rng(seed).normal(0, 1.5, (frames, len(tokens)))
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def speech(seed, text, noise=2.0):
    return simulate(text, FULL, np.random.default_rng(seed), noise=noise)


def written_out(phrases, classes, default, contexts=NO_CONTEXTS):
    """Phrases as tuples of words with their boosts, every class and every context multiplied out."""
    plain = {tuple(text.split()): boost or default for text, boost in phrases if "$" not in text}
    found = {}
    for text, boost in phrases:
        if "$" in text:
            choices = [classes[word[1:]] if word[0] == "$" else [word] for word in text.split()]
            for choice in itertools.product(*choices):
                key = tuple(" ".join(choice).split())
                found[key] = max(found.get(key, -math.inf), boost or default)
        elif text in contexts.texts and 0 < (boost or default) < contexts.boost:
            for before in contexts.words:
                key = (*before.split(), *text.split())
                found[key] = max(found.get(key, -math.inf), contexts.boost)
    return found | plain


def worth(text, phrases, relief):
    """Of a text's phrases, leftmost-longest: boosts, and of positive ones the relief of their words."""
    said, place, total = text.split(), 0, 0.0
    while place < len(said):
        ends = [end for end in range(len(said), place, -1) if tuple(said[place:end]) in phrases]
        if ends:
            boost = phrases[tuple(said[place : ends[0]])]
            total += boost + (sum(map(relief, said[place : ends[0]])) if boost > 0 else 0.0)
        place = ends[0] if ends else place + 1
    return total


def walk(hints, text):
    """What the automaton grants for a text."""
    alphabet = sorted(set("".join(hints.tokens.pieces)))
    place, total = START, 0.0
    for number, word in enumerate(text.split()):
        if number:
            place, granted = end_word(hints.graph, place)
            total += granted
        for letter in word:
            place, granted = follow(hints.graph, place, alphabet.index(letter))
            total += granted
    return total + float(hints.graph.close[place])


@given(
    phrases=with_classes,
    classes=class_items,
    contexts=st.just(NO_CONTEXTS) | in_contexts,
    said=st.lists(st.sampled_from(WORDS), max_size=9),
)
@settings(derandomize=True, deadline=None, max_examples=250)
def test_the_automaton_matches_as_the_plain_matcher_does(phrases, classes, contexts, said):
    pricing = Pricing(2.0, 3.0, 0.0, lambda word: -7.0 if word in ("ba", "bba") else -1.0)
    text = " ".join(said)
    boosted = written_out(phrases, classes, 2.0, contexts)
    hints = compile_hints(phrases, classes, TINY, pricing, contexts)
    assert walk(hints, text) == pytest.approx(worth(text, boosted, lambda word: 4.0 * (word in ("ba", "bba"))))
    assert hints.unused == ()
    assert hints.phrases == len({text for text, _ in phrases})


@pytest.mark.parametrize(
    ("given_", "text", "expected"),
    [
        ([], "call zubin", 10.0),
        ([], "call zubin mehta now", 10.0),
        ([], "news about zubin", 10.0),
        ([], "about zubin", 2.0),
        ([], "zubin call zubin zubin", 2.0 + 10.0 + 2.0),
        ([], "call", 0.0),
        ([], "call mom", 0.0),
        ([("call mom", 3.0)], "call mom call zubin", 3.0 + 10.0),
        ([("call zubin", 1.0)], "call zubin", 1.0),  # what a request writes out comes first
        ([("call $WHO", 15.0)], "call zubin", 15.0),
        ([("call zubin mehta", 3.0)], "call zubin mehta", 3.0),  # the longest
        ([("zubin", 15.0)], "call zubin zubin", 15.0 + 15.0),  # worth more by itself
        ([("zubin", -5.0)], "call zubin zubin", -5.0 - 5.0),  # and not wanted anywhere
        ([("zubin", 0.0)], "call zubin zubin", 10.0 + 4.0),  # 0 is the default
    ],
)
def test_a_phrase_is_worth_more_behind_its_contexts_and_the_bare_boost_elsewhere(given_, text, expected):
    names = Contexts(("call", "news about", "", " ", "日本"), 10.0, frozenset({"zubin", "zubin mehta"}))
    own = [each for each in (("zubin", 2.0), ("zubin mehta", 2.0)) if each[0] not in dict(given_)]
    hints = compile_hints([*given_, *own], {"WHO": ["zubin", "mom"]}, FULL, Pricing(4.0, 100.0), names)
    assert walk(hints, text) == pytest.approx(expected)
    assert (hints.phrases, hints.unused) == (len(given_) + len(own), ())


def test_contexts_give_way_before_anything_that_was_asked_for(monkeypatch):
    monkeypatch.setattr("asr.decode.hints.MAX_PLACES", 3000)
    names = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmno" for c in "uvwxy"]
    phrases = [("ring $WHO", 3.0), *((name, 2.0) for name in names)]
    contexts = Contexts(("call", "who is"), 10.0, frozenset(names))
    people = {"WHO": [f"{a}{b}" for a in "mnopqrstuvwxyz" for b in "abcd"]}
    assert walk(compile_hints(phrases, people, FULL, Pricing(4.0, 100.0), contexts), "call aku") == 10.0
    people["WHO"] += [f"{name}ax" for name in names] + [f"{name}bx" for name in names[:100]]
    hints = compile_hints(phrases, people, FULL, Pricing(4.0, 100.0), contexts)
    assert (hints.unused, hints.phrases) == ((), len(phrases))
    assert walk(hints, "call aku ring na who is jox") == 2.0 + 3.0 + 2.0
    people["WHO"] += [f"{a}{b}yy" for a in names for b in "abc"]
    hints = compile_hints(phrases, people, FULL, Pricing(4.0, 100.0), contexts)
    assert [text for text, _ in hints.unused] == ["ring $WHO"]
    assert walk(hints, "call aku ring na") == 2.0


def language_scores(log_probs, tokens, config, lm):
    """Every text and its score without hints."""
    return {h.text: h.score for h in Decoder(tokens, config, FRAME_S, lm).decode(log_probs, nbest=10_000)}


@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 5),
    phrases=hint_lists,
    cost=st.sampled_from([0.0, 3.0]),
    crowd=st.sampled_from([0.0, 1.5]),
    spelling=st.sampled_from([0.0, 0.4]),
    tokens=st.sampled_from([TINY, SUBWORDS]),
    contexts=st.just(NO_CONTEXTS) | in_contexts,
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_scores_gain_exactly_what_their_phrases_are_worth(
    lm, seed, frames, phrases, cost, crowd, spelling, tokens, contexts
):
    """Whatever was begun and left again on the way; texts without a whole phrase keep their scores."""
    config = DecoderConfig(
        **WIDE,
        lm_weight=0.7,
        word_bonus=0.3,
        unknown_cost=8.0,
        spelling_weight=spelling,
        hint_word_cost=cost,
        hint_crowd_cost=crowd,
    )
    decoder = Decoder(tokens, config, FRAME_S, lm)
    boosted = written_out(phrases, {}, config.hint_boost, contexts)
    firsts = {words[0] for words in boosted}
    cost += crowd * math.log(max(1, len(firsts)))
    log_probs = random_log_probs(seed, frames if tokens is TINY else min(frames, 4), tokens)

    def relief(word):
        alone = 0.7 * lm.score(lm.empty(), word)[0] if word in lm else decoder._model.word_score(word)
        return max(0, round(-cost - alone))

    expected = {
        text: pytest.approx(score + worth(text, boosted, relief), abs=1e-4)
        for text, score in language_scores(log_probs, tokens, config, lm).items()
    }
    hints = compile_hints(phrases, {}, tokens, decoder._model.pricing, contexts)
    found = decoder.decode(log_probs, nbest=10_000, hints=hints)
    assert {h.text: h.score for h in found} == expected


@given(seed=st.integers(0, 10_000), frames=st.integers(1, 5), phrases=hint_lists)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_equals_enumeration_of_alignments_without_lm(seed, frames, phrases):
    log_probs = random_log_probs(seed, frames)
    sums = defaultdict(lambda: -math.inf)
    for path in itertools.product(range(4), repeat=frames):
        text = TINY.decode(token for token, _ in itertools.groupby(path))
        sums[text] = np.logaddexp(sums[text], math.fsum(log_probs[range(frames), path].tolist()))
    config = DecoderConfig(**WIDE)
    boosted = written_out(phrases, {}, config.hint_boost)
    expected = {text: pytest.approx(s + worth(text, boosted, lambda _: 0.0), abs=1e-5) for text, s in sums.items()}
    decoder = Decoder(TINY, config, FRAME_S)
    assert {h.text: h.score for h in decoder.decode(log_probs, 10_000, decoder.hints(phrases))} == expected


def test_the_score_of_an_unknown_word_equals_the_letter_model(lm):
    """The relief is reckoned from what the search itself would charge."""
    config = DecoderConfig(**WIDE, lm_weight=0.0, word_bonus=0.0, unknown_cost=8.0, spelling_weight=0.4)
    log_probs = random_log_probs(3, 5)
    scored = language_scores(log_probs, TINY, config, lm)
    plain = language_scores(log_probs, TINY, DecoderConfig(**WIDE), None)
    decoder = Decoder(TINY, config, FRAME_S, lm)
    unknown = [text for text in scored if text and " " not in text and text not in lm]
    assert len(unknown) > 3
    for text in unknown:
        assert scored[text] - plain[text] == pytest.approx(decoder._model.word_score(text), abs=1e-4)


@given(
    seed=st.integers(0, 1000),
    text=st.sampled_from(["call zubin", "play brexley now", "stop"]),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
@settings(derandomize=True, deadline=None, max_examples=20)
def test_chunks_and_the_order_of_phrases_never_matter(spoken, seed, text, cuts):
    log_probs = speech(seed, text)
    phrases = [("call $WHO", 0.0), ("brexley", 5.0), ("stop it", -3.0), ("zoe", 1.0)]
    classes = {"WHO": ["zubin", "zoe smith"]}
    whole = spoken.decode(log_probs, 5, spoken.hints(phrases, classes))
    stream = spoken.stream(spoken.hints(phrases[::-1], {"WHO": classes["WHO"][::-1]}))
    for start, end in itertools.pairwise([0, *sorted(cuts), len(log_probs)]):
        stream.accept(log_probs[start:end])
        stream.best()
        if end % 2:
            stream.finish()
    assert stream.finish(5) == whole


@pytest.mark.parametrize("seed", range(6))
def test_words_that_nobody_knows_are_heard_where_they_are_expected(spoken, seed):
    log_probs = speech(seed, "call zubin mehta", noise=1.5)
    assert spoken.decode(log_probs)[0].text != "call zubin mehta"
    for phrases, classes in (
        ([("zubin mehta", 0.0)], {}),
        ([("zubin", 0.0), ("mehta", 0.0)], {}),
        ([("call $WHO", 0.0)], {"WHO": ["Zubin Mehta", "Zoe"]}),
        ([(f"{a}{b}x", 0.0) for a in "abcdefghij" for b in "klmnopqrst"] + [("zubin mehta", 0.0)], {}),
    ):
        hints = spoken.hints(phrases, classes)
        best = spoken.decode(log_probs, hints=hints)[0]
        assert best.text == "call zubin mehta"
        stream = spoken.stream(hints)
        stream.accept(log_probs)
        assert stream.best().text == "call zubin mehta"


def test_part_of_a_phrase_leaves_no_trace(spoken):
    log_probs = speech(0, "call mom", noise=0.1)
    plain = spoken.decode(log_probs)[0]
    hinted = spoken.decode(log_probs, hints=spoken.hints([("call moment", 20.0), ("call mom now please", 20.0)]))[0]
    assert (hinted.text, hinted.score) == ("call mom", pytest.approx(plain.score, abs=1e-6))


def test_a_negative_boost_makes_a_phrase_less_likely(spoken):
    log_probs = speech(0, "call mom", noise=0.1)
    plain = {h.text: h.score for h in spoken.decode(log_probs, 10)}
    found = {h.text: h.score for h in spoken.decode(log_probs, 10, spoken.hints([("mom", -4.0)]))}
    assert found["call mom"] == pytest.approx(plain["call mom"] - 4.0, abs=1e-6)
    lenient = Decoder(FULL, DecoderConfig(unknown_cost=5.0), FRAME_S, spoken.lm)
    assert lenient.decode(log_probs)[0].text == "call mom"
    assert lenient.decode(log_probs, hints=lenient.hints([("call mom", -20.0)]))[0].text != "call mom"
    unknown = spoken.hints([("zubin", -1.0)])
    log_probs = speech(0, "call zubin", noise=0.1)
    plain = {h.text: h.score for h in spoken.decode(log_probs, 1000)}["call zubin"]
    hinted = {h.text: h.score for h in spoken.decode(log_probs, 1000, unknown)}["call zubin"]
    assert hinted == pytest.approx(plain - 1.0, abs=0.1)  # no relief for what is not wanted


def test_nothing_to_hint_changes_nothing(spoken):
    log_probs = speech(3, "call the cab")
    assert spoken.decode(log_probs, 5, spoken.hints([])) == spoken.decode(log_probs, 5)
    assert spoken.decode(log_probs, 5, spoken.hints([("日本", 0.0)])) == spoken.decode(log_probs, 5)


def test_classes_are_shared(spoken):
    names = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnop" for c in "uvwxy"]
    verbs = [f"{a}{b}all" for a in "bcdfg" for b in "hklmn"]
    one = spoken.hints([("call $WHO", 0.0)], {"WHO": names})
    many = spoken.hints([(f"{verb} $WHO", 0.0) for verb in verbs], {"WHO": names})
    after = spoken.hints([(f"{verb} $WHO tomorrow", 0.0) for verb in verbs], {"WHO": names})
    assert len(many.graph.fail) < 1.5 * len(one.graph.fail)
    assert len(after.graph.fail) < 1.5 * len(one.graph.fail)
    assert many.phrases == len(verbs)


def test_classes_that_multiply_are_left_out_and_the_rest_works(spoken):
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [f"{a}{b}{c}" for a in letters for b in letters for c in "ae"]
    phrases = [(f"{a} $WHO", float(index + 1) / 4) for index, a in enumerate(letters[:15])]
    phrases += [(f"{a} $WHO $WHO", float(index + 1) / 4) for index, a in enumerate(letters[:70])]
    phrases += [(f"{a}{b} $WHO", 1 + index / 10) for index, (a, b) in enumerate(itertools.product(letters, "xy"))]
    hints = spoken.hints([*phrases, ("zubin", 0.0)], {"WHO": names})
    assert hints.phrases >= 1
    assert hints.unused
    assert {reason for _, reason in hints.unused} == {
        "its classes multiply to more than the automaton holds; name fewer"
    }
    assert spoken.decode(speech(0, "call zubin"), hints=hints)[0].text == "call zubin"


def test_compiled_hints_are_immutable_and_named_by_content(spoken):
    hints = spoken.hints([("zubin", 1.0), ("mehta", 2.0)], {"X": ["a", "b"]})
    for array in hints.graph:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert hints.key == content_key([("mehta", 2.0), ("zubin", 1.0)], {"X": ["b", "a"]})
    assert hints.key != content_key([("mehta", 2.0), ("zubin", 1.5)], {"X": ["b", "a"]})


def test_threads_share_compiled_hints(spoken):
    texts = ["call zubin", "play brexley", "stop", "call the cab"] * 6
    inputs = [speech(seed, text) for seed, text in enumerate(texts)]
    hints = spoken.hints([("call $WHO", 0.0), ("brexley", 0.0)], {"WHO": ["zubin", "mom"]})
    alone = [spoken.decode(log_probs, 3, hints) for log_probs in inputs]
    together = [None] * len(inputs)

    def work(first):
        for index in range(first, len(inputs), 6):
            stream = spoken.stream(hints)
            for start in range(0, len(inputs[index]), 5):
                stream.accept(inputs[index][start : start + 5])
                stream.best()
            together[index] = stream.finish(3)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_greedy_decoders_and_other_symbols(spoken):
    greedy = Decoder(FULL, DecoderConfig(kind="greedy"), FRAME_S)
    hints = greedy.hints([("zubin", 0.0)])
    assert hints.unused == (("zubin", "greedy decoding takes no hints; set the decoder's kind to beam"),)
    log_probs = speech(0, "stop")
    assert greedy.decode(log_probs, hints=hints) == greedy.decode(log_probs)
    with pytest.raises(ConfigError, match="other symbols"):
        spoken.stream(Decoder(TINY, DecoderConfig(), FRAME_S).hints([("a", 0.0)]))
