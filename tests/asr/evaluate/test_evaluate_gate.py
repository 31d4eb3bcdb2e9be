import numpy as np
import pytest

from asr.corpus.manifest import Utterance
from asr.evaluate import Results, ScoredUtterance
from asr.evaluate.gate import GateConfig, Pair, Sizes, Verdict, hits, judge

WORDS = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
CONFIG = GateConfig(resamples=500)


def general(seed, rate, count=400, cost=0.02, corpus_rates=None):
    """Digits of two corpora, misheard at a rate, or at one for each corpus."""
    texts, mistakes = np.random.default_rng(0), np.random.default_rng(seed)
    items = []
    for number in range(count):
        words = texts.choice(WORDS, size=5)
        corpus = "ab"[number % 2]
        heard = np.where(mistakes.random(5) < (corpus_rates or {}).get(corpus, rate), "uh", words)
        utterance = Utterance(f"{number}.wav", 2.0, " ".join(words), corpus=corpus)
        items.append(ScoredUtterance(utterance, " ".join(heard), audio_s=2.0, processor_s=2.0 * cost))
    return Results(tuple(items))


def named(name, right, count=20):
    """Queries with a name, the first `right` of them recognised."""
    items = [
        ScoredUtterance(Utterance(f"{name} {n}.wav", 2.0, f"who is {name}"), f"who is {name if n < right else 'uh'}")
        for n in range(count)
    ]
    return Results(tuple(items))


def verdict(**changes):
    given = {
        "general": [Pair("dev", general(1, 0.2), general(1, 0.2))],
        "new_names": ["ana li"],
        "names_quiet": Pair("names", named("ana li", 0), named("ana li", 19)),
        "names_car": Pair("names", named("ana li", 0), named("ana li", 17)),
        "sizes": Sizes(40_000_000, 41_000_000),
    } | changes
    return judge(CONFIG, **given)


def outcome(verdict, name):
    return next(check.outcome for check in verdict.checks if check.name == name)


def test_a_bundle_that_learned_and_forgot_nothing_passes_and_says_why():
    found = verdict()
    assert found.passed
    assert outcome(found, "names learned before") == "left out"
    assert "95.0% of 20 recognised in full, before 0.0%" in found.reasons[0]
    assert found.names[0].after == 19
    assert found.names[0].after_car == 17


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"names_quiet": Pair("n", named("ana li", 0), named("ana li", 10))}, "new names in quiet"),
        ({"names_car": Pair("n", named("ana li", 0), named("ana li", 5))}, "new names in the car"),
        ({"general": [Pair("dev", general(1, 0.2), general(2, 0.3))]}, "word errors on dev"),
        ({"general": [Pair("dev", general(1, 0.2, cost=0.02), general(1, 0.2, cost=0.05))]}, "cost"),
        ({"sizes": Sizes(40_000_000, 70_000_000)}, "size"),
        ({"general": []}, "general speech"),
        ({"names_quiet": None}, "new names in quiet"),
        (
            {"old_names": ["bo wu"], "old_quiet": Pair("old", named("bo wu", 20), named("bo wu", 13))},
            "names learned before",
        ),
    ],
)
def test_what_got_worse_is_refused_with_the_reason(changes, failing):
    found = verdict(**changes)
    assert not found.passed
    assert [check.name for check in found.checks if check.outcome == "failed"][0] == failing  # noqa: RUF015
    assert found.reasons[0].startswith(failing)


def test_a_slice_that_loses_is_found_beneath_an_average_that_wins():
    before = general(1, 0.3, 800, corpus_rates={"a": 0.5, "b": 0.1})
    after = general(2, 0.3, 800, corpus_rates={"a": 0.3, "b": 0.2})
    found = verdict(general=[Pair("dev", before, after)])
    assert outcome(found, "word errors on dev") == "passed"
    assert outcome(found, "slices of dev") == "failed"
    assert "corpus b" in found.reasons[0]


def test_small_slices_are_not_judged():
    found = verdict(general=[Pair("dev", general(1, 0.0, 100), general(1, 0.0, 100))])
    assert outcome(found, "slices of dev") == "passed"  # the only slices of 500 words are those of the whole
    fewer = verdict(general=[Pair("dev", general(1, 0.0, 60), general(1, 0.0, 60))])
    assert outcome(fewer, "slices of dev") == "left out"


def test_equally_good_bundles_pass_mostly_and_a_point_worse_never():
    passed = [
        outcome(verdict(general=[Pair("dev", general(seed, 0.2, 400), general(seed, 0.2, 400))]), "word errors on dev")
        for seed in range(3)
    ]
    assert passed == ["passed"] * 3
    worse = verdict(general=[Pair("dev", general(1, 0.2, 2000), general(3, 0.22, 2000))])
    assert outcome(worse, "word errors on dev") == "failed"


def test_losing_a_name_or_two_of_many_is_chance():
    found = verdict(old_names=["bo wu"], old_quiet=Pair("old", named("bo wu", 20), named("bo wu", 18)))
    assert outcome(found, "names learned before") == "passed"


def test_a_name_counts_word_for_word_with_its_possessive_and_failures_count_as_missed():
    rows = [
        ("call ana li now", "call ana li now", None),
        ("ana li's birthday", "ana li's birthday", None),
        ("who is ana li", "who is anali", None),
        ("who is ana li", "", "broken file"),
        ("no name here", "no name here", None),
    ]
    items = [
        ScoredUtterance(Utterance(f"{n}.wav", 1.0, text), heard, error=error)
        for n, (text, heard, error) in enumerate(rows)
    ]
    found = hits(Results(tuple(items)), ["ana li", "li"])
    assert [found.get(item.key) for item in items] == [
        ("ana li", True), ("ana li", True), ("ana li", False), ("ana li", False), None,
    ]  # fmt: skip


def test_a_verdict_survives_json():
    found = verdict()
    assert Verdict.from_json(found.to_json()) == found


def test_a_set_of_few_words_is_only_held_to_a_loss_beyond_chance():
    name = "word errors on prompts"
    before, after = general(1, 0.2, count=30), general(2, 0.21, count=30)
    assert outcome(verdict(general=[Pair("prompts", before, after)]), name) == "passed"
    assert outcome(verdict(general=[Pair("prompts", before, general(2, 0.6, count=30))]), name) == "failed"
