"""Sentences of texts, grammars and names: reproducible, of one split, with a count of what was left out."""

import gzip
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from asr.errors import ConfigError, InputError
from asr.synth.names import held_out_names, mentions
from asr.synth.queries import SPLIT_SHARES, queries, read_grammar, split_of
from asr.synth.sentences import read_sentences
from asr.synth.sources import NamesConfig, Source, draw, known_sentences

GRAMMARS = Path(__file__).parents[3] / "data" / "queries"
PEOPLE = [f"{given} {family}" for given in ("Ana", "Bo", "Cy") for family in ("Zephyrine", "Quill", "Brant", "Odum")]


@pytest.fixture
def texts(tmp_path):
    """A tagged text of 300 sentences, some of which are not fit to be spoken."""
    rows = [f"home\tswitch on lamp {word} please" for word in spelled(150)]
    rows += [f"music\tPlay song {word}, please!" for word in spelled(150)]
    rows += ["home\tswitch on lamp aa please", "home\tgo on the th please", "music\tплей", "music\tplay " + "la " * 40]
    path = tmp_path / "texts.tsv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n\n")
    return path


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("name,born\n" + "".join(f"{name},1990\n" for name in PEOPLE))
    return path


def spelled(count):
    letters = "abcdefghijklm"
    return [letters[number // 13] + letters[number % 13] for number in range(count)]


def text_source(path, **changes):
    return Source(sentences=path, drop="(^| )th( |$)", words=(2, 20), **changes)


def test_every_sentence_of_a_split_is_drawn_once_and_the_rest_counted(texts):
    drawn = {}
    for split in SPLIT_SHARES:
        count = sum(split_of(text) == split for text in normalised())
        found, _ = draw((text_source(texts),), count, 1, split)
        drawn[split] = {query.text for query in found}
        assert len(drawn[split]) == count
        with pytest.raises(ConfigError, match=rf"texts.tsv.gz: has too few different sentences in {split}"):
            draw((text_source(texts),), count + 1, 1, split)
    assert set().union(*drawn.values()) == set(normalised())


def normalised():
    return [f"switch on lamp {word} please" for word in spelled(150)] + [
        f"play song {word} please" for word in spelled(150)
    ]


def test_what_is_left_out_is_counted_by_reason(texts):
    split = split_of("switch on lamp aa please")
    count = sum(split_of(text) == split for text in normalised())
    _, left_out = draw((text_source(texts),), count, 1, split)
    assert set(left_out) <= {"dropped by pattern", "cannot be spoken", "too short or too long", "twice"}
    seeds = [draw((text_source(texts),), count, seed, split)[1] for seed in range(12)]
    assert any(counts.get("twice") == 1 for counts in seeds)
    assert any(counts.get("dropped by pattern") == 1 for counts in seeds)
    assert any(counts.get("cannot be spoken") == 1 for counts in seeds)


def test_the_spoken_form_is_drawn_and_the_written_one_kept_with_its_origin(texts):
    found, _ = draw((text_source(texts, tags=("music",)),), 20, 4, "train")
    for query in found:
        word = query.text.split()[2]
        assert (query.text, query.written) == (f"play song {word} please", f"Play song {word}, please!")
        assert query.origin == "texts.tsv.gz:music"


def test_a_longer_draw_begins_alike_and_another_seed_differs(texts, people):
    sources = (
        text_source(texts, share=2),
        Source(queries=GRAMMARS / "voice-search.yaml"),
        Source(queries=GRAMMARS / "names.yaml", names=NamesConfig(file=people)),
    )
    longer, _ = draw(sources, 60, 7, "train")
    assert draw(sources, 25, 7, "train")[0] == longer[:25]
    assert draw(sources, 25, 8, "train")[0] != longer[:25]
    assert len({query.text for query in longer}) == 60
    assert {split_of(query.text) for query in longer} == {"train"}


def test_sources_are_drawn_from_in_proportion(texts):
    sources = (text_source(texts, share=3), Source(queries=GRAMMARS / "voice-search.yaml", share=1))
    found, _ = draw(sources, 200, 1, "train")
    assert sum(bool(query.origin) for query in found) / 200 == pytest.approx(0.75, abs=0.08)


def test_names_fill_the_templates_that_want_them_and_the_held_out_are_never_spoken(people):
    source = Source(queries=GRAMMARS / "names.yaml", names=NamesConfig(file=people))
    found, left_out = draw((source,), 150, 3, "train")
    spoken = [name.lower() for name in PEOPLE]
    held_out = set(held_out_names(spoken, []))
    assert 0 < len(held_out) < len(spoken)
    assert left_out["names: held out"] == len(held_out)
    met = {name for name in spoken for query in found if mentions(query.text.replace("'s", ""), {name})}
    assert met == set(spoken) - held_out
    assert all(any(name in query.text for name in met) for query in found)
    assert all(any(name in query.written for name in PEOPLE) for query in found)


def test_a_name_in_a_text_is_known_and_not_held_out(people, tmp_path):
    (tmp_path / "known.txt").write_text("".join(f"we all know {name} by now\n" for name in PEOPLE))
    names = Source(queries=GRAMMARS / "names.yaml", names=NamesConfig(file=people, hold_out=1))
    with pytest.raises(ConfigError, match="no name that is not held out"):
        draw((names,), 5, 3, "train")
    _, left_out = draw((names, Source(sentences=tmp_path / "known.txt", share=0.01)), 5, 3, "train")
    assert "names: held out" not in left_out


def test_excluded_names_are_left_out_of_every_source(people, tmp_path):
    (tmp_path / "exclude.txt").write_text("Ana Quill\nBo Brant\n")
    (tmp_path / "known.txt").write_text("".join(f"we all know {name} by now\n" for name in PEOPLE))
    sources = (
        Source(queries=GRAMMARS / "names.yaml", names=NamesConfig(file=people)),
        Source(sentences=tmp_path / "known.txt", share=0.02),
    )
    found, left_out = draw(sources, 120, 3, "train", tmp_path / "exclude.txt")
    assert left_out["names: held out"] == 2
    assert not any(mentions(query.text.replace("'s", ""), {"ana quill", "bo brant"}) for query in found)


def test_a_possessive_is_a_mention():
    assert mentions("when is ana quill's birthday", {"ana quill"})


def test_a_manifest_is_a_text(tmp_path):
    rows = [{"audio_filepath": "a.wav", "duration": 1, "text": "turn left", "corpus": "mine"}, {"text": ""}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_sentences(tmp_path / "train.jsonl") == (("mine", "turn left"),)


def test_a_grammar_gives_its_spoken_words():
    words = {word for text in known_sentences(GRAMMARS / "demo.yaml") for word in text.split()}
    plain = [query for query in queries(read_grammar(GRAMMARS / "demo.yaml"), 50, 1, "dev") if not query.written]
    assert {word for query in plain for word in query.text.split()} <= words


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "either queries"),
        ({"queries": "a.yaml", "sentences": "b.txt"}, "either queries"),
        ({"sentences": "b.txt", "names": {"file": "n.txt"}}, "slots of a grammar"),
        ({"queries": "a.yaml", "drop": "x"}, "not of a grammar"),
        ({"sentences": "b.txt", "drop": "("}, "regular expression"),
        ({"sentences": "b.txt", "words": [3, 1]}, "fewest"),
        ({"sentences": "b.txt", "share": 0}, "greater than 0"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(content, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Source.model_validate(content)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [("a.txt", "", "no sentence"), ("a.gz", "play", "cannot be read"), ("a.jsonl", "[1]\n", "not a manifest")],
)
def test_a_text_that_is_none_is_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_sentences(tmp_path / name)


def test_an_unknown_tag_lists_the_known_ones(texts):
    with pytest.raises(InputError, match="tagged 'film'; tags: home, music"):
        draw((text_source(texts, tags=("film",)),), 1, 1, "train")
