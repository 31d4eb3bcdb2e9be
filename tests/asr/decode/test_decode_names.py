"""Learned names beside a packed language model, against a sum over all readings written out."""

import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.bundle import extend_bundle, load_bundle
from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.learned import CLASS_MODEL, NAMES, LearnedName, LearnedNames
from asr.decode.lm_build import estimate, write_arpa
from asr.decode.names import BEHIND, CLASS, UNSEEN, NamesModel
from asr.decode.near import ALONE, HEARD, POSSESSIVE
from asr.decode.respell import respelled
from asr.decode.types import Hypothesis, Word
from asr.errors import BundleError

TEXT = [
    "call will at home",
    "who is will smith",
    "play some jazz",
    "call my mother",
    "will it rain at home",
    "who is it",
]
QUERIES = [f"call {CLASS}", f"call {CLASS} at home", f"who is {CLASS}", "play some jazz", "will it rain", CLASS]
LEARNED = LearnedNames(
    (
        LearnedName("will smith"),
        LearnedName("zendaya", 2.0, 1, ("zen daya", "will day")),
        LearnedName("will kowalski"),
        LearnedName("bo jazz bo"),
    ),
    prior_names=3.0,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, LanguageModel]:
    folder = tmp_path_factory.mktemp("names")
    write_arpa(estimate(TEXT, order=3), folder / "base.arpa")
    write_arpa(estimate(QUERIES, order=3), folder / CLASS_MODEL)
    return LanguageModel.load(folder / "base.arpa"), LanguageModel.load(folder / CLASS_MODEL)


def ways(learned: LearnedNames, known: set[str]) -> dict[tuple[str, ...], float]:
    """Every way to say a name with its share, from the module's description."""
    total = sum(name.weight for name in learned.names)
    found: dict[tuple[str, ...], float] = {}
    for name in learned.names:
        words = tuple(name.text.split())
        new = {word for word in words if word not in known and len(words) > 1}
        heard = HEARD if name.spellings else 0
        shares = {words: 1 - POSSESSIVE - (ALONE if new else 0) - heard, (*words[:-1], words[-1] + "'s"): POSSESSIVE}
        shares |= {(word,): ALONE / len(new) for word in new}
        shares |= {tuple(spelling.split()): heard / len(name.spellings) for spelling in name.spellings}
        for way, share in shares.items():
            found[way] = found.get(way, 0.0) + share * name.weight / total
    return found


def by_hand(
    base: LanguageModel, context: LanguageModel, learned: LearnedNames, words: list[str]
) -> tuple[float, float]:
    """The probability that a sentence begins with these words, and that it is these words: sums over all readings."""
    known = set(base.words)
    names = ways(learned, known)
    new = {word for way in names for word in way} - known
    share = sum(name.weight for name in learned.names) / (sum(n.weight for n in learned.names) + learned.prior_names)

    def probability(lm: LanguageModel, before: list[str], word: str) -> float:
        state = lm.start()
        for each in before:
            state = lm.score(state, each)[1]
        return math.exp(lm.end(state) if word == "</s>" else lm.score(state, word)[0])

    def ordinary(place: int, read: list[str], word: str) -> float:
        plain = probability(base, words[:place], word)
        if word not in known and word != "</s>":
            plain *= (1 if word in new else UNSEEN) / (UNSEEN + len(new))
        if CLASS not in read[-(context.order - 1) :]:
            return plain
        in_queries = word in context.words or word in ("</s>", "<unk>")
        outside = 1 - probability(context, read, CLASS)
        guided = probability(context, read, word) / outside if in_queries else 0.0
        return (1 - BEHIND) * plain + BEHIND * guided

    begun = ended = 0.0
    todo: list[tuple[int, list[str], float]] = [(0, [], 1.0)]
    while todo:
        place, read, weight = todo.pop()
        name = share * probability(context, read, CLASS)
        if place == len(words):
            begun += weight
            ended += weight * (1 - name) * ordinary(place, read, "</s>")
            continue
        for way, of_names in names.items():
            rest = words[place : place + len(way)]
            if list(way) == rest:
                todo.append((place + len(way), [*read, CLASS], weight * name * of_names))
            elif list(way[: len(rest)]) == rest:  # the sentence so far ends within the name
                begun += weight * name * of_names
        todo.append((place + 1, [*read, words[place]], weight * (1 - name) * ordinary(place, read, words[place])))
    return begun, ended


VOCABULARY = sorted(
    {word for text in TEXT for word in text.split()} | {"zendaya", "kowalski", "bo", "smith's", "<unk>"}
)


@given(words=st.lists(st.sampled_from(VOCABULARY), max_size=5))
def test_a_sentence_scores_as_the_sum_over_its_readings(models, words: list[str]) -> None:
    base, context = models
    model = NamesModel(base, context, LEARNED)
    state, total = model.start(), 0.0
    for word in words:
        score, state = model.score(state, word)
        total += score
    begun, ended = by_hand(base, context, LEARNED, words)
    assert total == pytest.approx(math.log(begun), abs=1e-5)
    assert total + model.end(state) == pytest.approx(math.log(ended), abs=1e-5)


@pytest.mark.parametrize(
    "before", ["", "call", "call will", "who is will smith", "zendaya", "call bo jazz", "play some jazz"]
)
def test_what_may_come_next_adds_up_to_one(models, before: str) -> None:
    model = NamesModel(*models, LEARNED)
    state = model.start()
    for word in before.split():
        state = model.score(state, word)[1]
    following = [math.exp(model.score(state, word)[0]) for word in (*model.words, "<unk>")]
    assert sum(following) + math.exp(model.end(state)) == pytest.approx(1.0, abs=1e-4)


def test_names_gain_and_the_rest_stays(models) -> None:
    base, context = models
    model = NamesModel(base, context, LEARNED)

    def total(lm: LanguageModel, text: str) -> float:
        state, score = lm.start(), 0.0
        for word in text.split():
            gained, state = lm.score(state, word)
            score += gained
        return score + lm.end(state)

    assert total(model, "call will kowalski") > total(base, "call will kowalski") + 3
    assert 0 >= total(model, "play some jazz") - total(base, "play some jazz") > -1
    assert "zendaya" in model
    assert "zendaya" not in base
    assert "<unk>" not in model
    assert model.fit(["call zendaya at home"]).oov_rate == 0
    assert model.fit(["call zendaya at home"]).perplexity < base.fit(["call will at home"]).perplexity * 3


def test_each_names_own_probability_hardly_depends_on_how_many_there_are(models) -> None:
    base, context = models
    alone = NamesModel(base, context, LearnedNames((LearnedName("zendaya"),), 50.0))
    many = LearnedNames((LearnedName("zendaya"), *(LearnedName(f"name{i} of") for i in range(40))), 50.0)
    among = NamesModel(base, context, many)
    scores = [m.score(m.score(m.start(), "call")[1], "zendaya")[0] for m in (alone, among)]
    assert 0 < scores[0] - scores[1] < math.log(2)


def test_the_decoder_hears_a_learned_name_and_knows_its_words(models) -> None:
    base, context = models
    tokens = Tokens.characters()
    config = DecoderConfig(beam_width=16, lm_weight=1.0, word_bonus=0.0, unknown_cost=8.0)
    # Two letters of "zendaya" sound more like others.
    unclear = {1: [("i", 0.55), ("e", 0.45)], 4: [("o", 0.55), ("a", 0.45)]}
    frames = np.full((14, len(tokens)), -9.0, np.float32)
    for place, letter in enumerate("zendaya"):
        for symbol, share in unclear.get(place, [(letter, 1.0)]):
            frames[2 * place, tokens.encode(symbol)[0]] = math.log(share * 0.99)
        frames[2 * place + 1, 0] = math.log(0.99)
    plain, named = (Decoder(tokens, config, 0.02, lm) for lm in (base, NamesModel(base, context, LEARNED)))
    assert plain.decode(frames)[0].text == "zindoya"
    assert named.decode(frames)[0].text == "zendaya"
    assert named.known is not None
    assert {"zendaya", "kowalski", "smith's"} <= named.known


def test_a_bundle_carries_its_names_and_one_without_them_opens(tiny_bundle: Path, tmp_path: Path) -> None:
    parent = load_bundle(tiny_bundle)
    assert parent.learned_names() is None
    (tmp_path / NAMES).write_text(LEARNED.dump())
    write_arpa(estimate(QUERIES, order=3), tmp_path / CLASS_MODEL)
    write_arpa(estimate(TEXT, order=3), tmp_path / "lm.arpa.gz")
    files = tuple(tmp_path / name for name in (NAMES, CLASS_MODEL, "lm.arpa.gz"))
    found = load_bundle(extend_bundle(parent, tmp_path / "bundles", files, about={"parent": parent.hash}))
    assert found.learned_names() == LEARNED
    assert {"zendaya", "jazz"} <= set(found.lexicon())
    assert found.about["parent"] == parent.hash != found.hash
    copy = Path(shutil.copytree(found.path, tmp_path / "copy"))
    (copy / NAMES).write_text(LEARNED.dump().replace("zendaya", "zendoya"))
    with pytest.raises(BundleError, match=NAMES):
        load_bundle(copy)


def test_a_list_of_names_is_read_as_it_was_written(tmp_path: Path) -> None:
    for learned in (
        LEARNED,
        LearnedNames(LEARNED.names, 3.0, 2.0, ("call", "news about"), 10.0),
        LearnedNames((), 1.0, 20.0, (), 20.0),
    ):
        (tmp_path / NAMES).write_text(learned.dump())
        assert LearnedNames.load(tmp_path / NAMES) == learned


def test_a_list_of_before_there_were_contexts_and_boosts_is_read(tmp_path: Path) -> None:
    rows = [{"text": "zendaya", "weight": 2, "round": 1}]
    (tmp_path / NAMES).write_text(json.dumps({"format": 1, "names": rows, "prior_names": 7, "boost": 3}))
    assert LearnedNames.load(tmp_path / NAMES) == LearnedNames((LearnedName("zendaya", 2.0),), 7.0, 3.0, (), 0.0)
    (tmp_path / NAMES).write_text(json.dumps({"format": 1, "names": rows, "prior_names": 7}))
    assert LearnedNames.load(tmp_path / NAMES).boost == 0.0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"context_boost": -1}, "between 0 and 20"),
        ({"context_boost": 20.5}, "between 0 and 20"),
        ({"context_boost": math.nan}, "between 0 and 20"),
        ({"boost": math.inf}, "between 0 and 20"),
        ({"context_boost": "much"}, "cannot be read"),
        ({"contexts": ["call", " "]}, "context without words"),
        ({"contexts": "call"}, "no list"),
        ({"contexts": None}, "no list"),
    ],
)
def test_boosts_and_contexts_that_make_no_sense_are_refused(
    changed: dict[str, object], reason: str, tmp_path: Path
) -> None:
    (tmp_path / NAMES).write_text(json.dumps({**json.loads(LEARNED.dump()), **changed}))
    with pytest.raises(BundleError, match=f"{NAMES}.*{reason}"):
        LearnedNames.load(tmp_path / NAMES)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        json.dumps({"format": 9, "names": [], "prior_names": 1, "boost": 0}),
        json.dumps({"format": 1, "names": [{"text": "a", "weight": 1, "round": 1}] * 2, "prior_names": 1, "boost": 0}),
        json.dumps({"format": 1, "names": [{"text": "a", "weight": 0, "round": 1}], "prior_names": 1, "boost": 0}),
        json.dumps({"format": 1, "names": [{"text": " ", "weight": 1, "round": 1}], "prior_names": 1, "boost": 0}),
    ],
)
def test_a_damaged_list_of_names_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / NAMES).write_text(content)
    with pytest.raises(BundleError, match="names"):
        LearnedNames.load(tmp_path / NAMES)


def test_a_class_model_without_the_class_is_refused(models) -> None:
    base, _ = models
    with pytest.raises(BundleError, match=CLASS):
        NamesModel(base, base, LEARNED)


def test_streams_that_are_cut_differently_score_alike(models) -> None:
    base, context = models
    tokens = Tokens.characters()
    decoder = Decoder(tokens, DecoderConfig(beam_width=8), 0.02, NamesModel(base, context, LEARNED))
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (60, len(tokens)))
    log_probs = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    whole = decoder.decode(log_probs, 3)
    for cuts in ([7] * 9, [1] * 60):
        stream = decoder.stream()
        for start, end in itertools.pairwise(np.cumsum([0, *cuts]).tolist()):
            stream.accept(log_probs[start:end])
        assert stream.finish(3) == whole


def test_a_name_is_expected_by_every_stream_and_hints_of_a_request_come_on_top(models) -> None:
    base, context = models
    boosted = NamesModel(base, context, LearnedNames(LEARNED.names, LEARNED.prior_names, boost=4.0))
    config = DecoderConfig(beam_width=16, lm_weight=1.0, word_bonus=0.0, unknown_cost=1.0, spelling_weight=0.0)
    tokens = Tokens.characters()
    frames = np.full((14, len(tokens)), -9.0, np.float32)
    for place, letter in enumerate("zendoya"):
        symbols = [(letter, 1.0)] if place != 4 else [("o", 0.9), ("a", 0.1)]
        for symbol, share in symbols:
            frames[2 * place, tokens.encode(symbol)[0]] = math.log(share * 0.99)
        frames[2 * place + 1, 0] = math.log(0.99)
    plain, named = (Decoder(tokens, config, 0.02, lm) for lm in (NamesModel(base, context, LEARNED), boosted))
    assert plain.decode(frames)[0].text == "zendoya"
    assert named.decode(frames)[0].text == "zendaya"
    hints = named.hints([("zendoya", 8.0), ("zendaya", 1.0), ("", 1.0)])
    assert [text for text, _ in hints.unused] == [""]
    assert named.decode(frames, hints=hints)[0].text == "zendoya"
    assert named.decode(frames, hints=named.hints([("play", 1.0)]))[0].text == "zendaya"


def test_a_learned_name_is_worth_more_behind_its_contexts(models) -> None:
    base, context = models
    tokens = Tokens.characters()
    config = DecoderConfig(beam_width=64, lm_weight=1.0, word_bonus=0.0, unknown_cost=4.0, hint_word_cost=20.0)
    without, with_ = (
        Decoder(tokens, config, 0.02, NamesModel(base, context, LearnedNames(LEARNED.names, 3.0, 2.0, *more)))
        for more in ((), (("call", "who is", "日本"), 9.0))
    )
    for text, gain in (
        ("call zendaya", 7.0),
        ("call zendaya's mother", 7.0),
        ("who is zen daya", 7.0),  # a further spelling of the name
        ("play zendaya", 0.0),
        ("zendaya", 0.0),
        ("call my mother", 0.0),
    ):
        frames = np.full((2 * len(text), len(tokens)), -9.0, np.float32)
        for place, letter in enumerate(text):
            frames[2 * place, tokens.encode("a b")[1] if letter == " " else tokens.encode(letter)[0]] = math.log(0.99)
            frames[2 * place + 1, 0] = math.log(0.99)
        said = text.replace("zen daya", "zendaya")
        scores = [{h.text: h.score for h in decoder.decode(frames, 200)}[said] for decoder in (without, with_)]
        assert scores[1] - scores[0] == pytest.approx(gain, abs=1e-3), text
    assert with_.hints(()).phrases == without.hints(()).phrases == len(with_.lm.phrases)


def test_what_is_heard_for_a_name_is_written_as_the_name(models) -> None:
    base, context = models
    model = NamesModel(
        base, context, LearnedNames((LearnedName("zendaya", 1, 1, ("zen daya", "my mother")),), 3.0, 2.0)
    )
    assert model.spans(["call", "zen", "daya", "at", "home"]) == [(1, 3, "zendaya")]
    assert model.spans(["zen", "call", "zen"]) == []
    assert model.spans(["call", "my", "mother"]) == []  # likelier what it says
    assert {"zen", "daya"} <= set(model.words) - set(model.lexicon)
    tokens = Tokens.characters()
    frames = np.full((32, len(tokens)), -9.0, np.float32)
    for place, letter in enumerate("call zen daya"):
        frames[2 * place, tokens.encode("a b")[1] if letter == " " else tokens.encode(letter)[0]] = math.log(0.99)
        frames[2 * place + 1, 0] = math.log(0.99)
    frames[26:, 0] = math.log(0.99)
    decoder = Decoder(tokens, DecoderConfig(beam_width=16, lm_weight=0.5), 0.02, model)
    stream = decoder.stream()
    stream.accept(frames)
    best = stream.finish(3)
    assert best[0].text == "call zendaya" == stream.best().text
    assert len({hypothesis.text for hypothesis in best}) == len(best)
    word = best[0].words[1]
    assert (word.start_s, word.end_s) == (pytest.approx(0.2), pytest.approx(0.5, abs=0.02))
    assert decoder.known is not None
    assert "zen" not in decoder.known


def test_new_words_share_the_time_of_the_old_ones() -> None:
    words = tuple(
        Word(w, float(i), i + 0.5, c) for i, (w, c) in enumerate((("a", 1.0), ("b", 0.4), ("c", 0.8), ("d", 1.0)))
    )
    found = respelled(Hypothesis("a b c d", words, 0.7, -1.0), [(1, 3, "xx yyy")])
    assert found.text == "a xx yyy d"
    assert [(w.word, w.start_s, w.end_s) for w in found.words[1:3]] == [
        ("xx", 1.0, pytest.approx(1.6)),
        ("yyy", pytest.approx(1.6), pytest.approx(2.5)),
    ]
    assert found.words[1].confidence == pytest.approx(0.6)
    assert (found.confidence, found.score, found.words[0], found.words[3]) == (0.7, -1.0, words[0], words[3])
