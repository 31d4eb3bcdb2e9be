"""The measurement of phrase hints."""

import itertools

import numpy as np
import pytest

from asr.decode import DecoderConfig, LanguageModel, Tokens
from asr.decode.bench import simulate
from asr.decode.lm_build import estimate, write_arpa
from asr.errors import InputError
from asr.evaluate.heard import Heard
from asr.evaluate.hints import Item, bench_of, change_interval, hints_of, is_rare, outcome, pool, prepare
from asr.evaluate.names import Names

TOKENS = Tokens.characters()
NAMES = Names.of(["Nina", "Lionel", "Brexley Ann", "Rose*", *(f"Zo{a}{b}" for a in "bcdfgh" for b in "aeiou")])
QUERIES = ["call nina simone now", "stop the music", "call lionel", "play the music now"]


def heard(text, seed=0):
    log_probs = simulate(text, TOKENS, np.random.default_rng(seed), noise=1.5)
    return Heard(text, "read", log_probs.astype(np.float16))


def item(text, hinted):
    words = tuple(text.split())
    return Item(words, tuple(word in hinted for word in words), (), np.zeros((0, 29), np.float32))


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "toy.arpa"
    write_arpa(estimate(["call nina now", "stop the music", "play the music now"] * 4, order=2), path)
    return LanguageModel.load(path)


def test_rare_words_and_the_names_beside_them_are_one_hint(lm):
    (found,) = prepare([heard("call nina simone now nina")], is_rare(lm), NAMES)
    assert found.phrases == (("nina", "simone"),)
    assert found.hinted == (False, True, True, False, False)
    assert found.log_probs.dtype == np.float32
    (none,) = prepare([heard("stop the music")], is_rare(lm), NAMES)
    assert none.phrases == ()
    assert not any(none.hinted)


def test_distractors_are_never_said_and_the_more_hold_the_fewer(lm):
    items = prepare(map(heard, QUERIES), is_rare(lm), NAMES)
    distractors = pool(items, NAMES, [*lm.words, "zebra"], is_rare(lm))
    assert ("lionel",) in distractors[0]
    assert distractors[1] == [("zebra",)]
    draws = [set(hints_of(items[0], distractors, count, np.random.default_rng(3))) for count in (0, 10, 20, 34)]
    assert draws[0] == {("nina", "simone")}
    for fewer, more in itertools.pairwise(draws):
        assert fewer < more
    assert [len(draw) - 1 for draw in draws] == [0, 10, 20, 34]
    assert not {"call", "nina", "simone", "now"} & {word for phrase in draws[3] - draws[0] for word in phrase}
    assert ("zebra",) in draws[3]
    with pytest.raises(InputError, match="99 distractors are wanted, but there are only 34"):
        hints_of(items[0], distractors, 99, np.random.default_rng(0))


def test_errors_are_counted_where_they_belong():
    said = item("call nina simone now", {"nina", "simone"})
    for text, right, elsewhere in (
        ("call nina simone now", 2, 0),
        ("call nina simon now", 1, 0),
        ("call nina sim on now", 1, 0),  # the missed word heard as two
        ("all nina simone", 2, 2),
        ("call nina simone and now", 2, 1),
        ("oh call nina simone now", 2, 1),
        ("", 0, 2),
    ):
        found = outcome([said], [text])
        assert (found.hinted, found.hinted_right, found.elsewhere, found.elsewhere_errors) == (2, right, 2, elsewhere)
    both = outcome([said, item("stop", set())], ["call nina simon now", "stop it"])
    assert (both.recall, both.missed, both.elsewhere_wer) == (0.5, 1, pytest.approx(1 / 3))
    assert outcome([], []).recall == 0.0


def test_hints_are_worth_something_among_distractors(lm):
    config = DecoderConfig(unknown_cost=20.0)
    bench = bench_of([heard(text, seed) for seed, text in enumerate(QUERIES * 2)], lm, NAMES, TOKENS, config, 0.02)
    without, _ = bench.run(None)
    told = []
    for count in (0, 20):
        found, texts = bench.run(count, lambda: told.append(1))
        assert found.missed <= without.missed / 2
        assert found.elsewhere_errors <= without.elsewhere_errors
        assert texts[0] == "call nina simone now"
    assert len(told) == 2 * len(bench.items)
    ratio, rtf, compile_s = bench.time_ratio(20, most=2, rounds=1)
    assert 0.1 < ratio < 10
    assert rtf > 0
    assert compile_s > 0


def test_the_interval_of_the_change_elsewhere_holds_it():
    words = ("play", "some", "music", "now")
    item = Item(words, (False,) * 4, (), np.zeros((1, 1), np.float32))
    before = ["play some music now"] * 40
    worse = ["play sum music now"] * 10 + before[10:]
    low, high = change_interval([item] * 40, before, worse)
    assert 0.0 < low < 10 / 160 < high < 0.12
    assert change_interval([item] * 40, before, before) == (0.0, 0.0)
    assert change_interval([], [], []) == (0.0, 0.0)
