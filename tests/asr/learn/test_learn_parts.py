"""The parts of learning: casting, sentences with a class in them, shares of data, pronunciations, settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr import audio
from asr.corpus.manifest import Manifest, Utterance, read_manifest, write_manifest
from asr.decode import LanguageModel
from asr.decode.learned import LearnedName, LearnedNames
from asr.decode.lm_build import estimate, write_arpa
from asr.decode.names import CLASS
from asr.errors import ConfigError, MissingDependencyError, TextError
from asr.learn.casting import cast
from asr.learn.config import (
    DEFAULT,
    CastConfig,
    ExtensionConfig,
    LearnConfig,
    NewName,
    ReplayConfig,
    ReplaySource,
    SynthesisConfig,
    TuneConfig,
    load_learn_config,
)
from asr.learn.data import compose
from asr.learn.extension import CONTEXT_SHARE, class_sentences, merged, name_contexts, write_extension
from asr.learn.probe import probe_lines, recall
from asr.learn.second_listener import FasterWhisper, propose
from asr.learn.spellings import heard_as, spellings_of
from asr.learn.synthesis import as_ipa
from asr.synth.queries import split_of
from asr.synth.voices import find

NAMES = [NewName("unai emery", ("ˈunaɪ", "Z AA1"), ("any emery",)), NewName("zendaya")]


def everything(_engine: str) -> bool:
    return True


@pytest.fixture(scope="module")
def config() -> LearnConfig:
    return load_learn_config()


def test_learning_and_measuring_share_no_voice_engine_reading_or_sentence(config: LearnConfig) -> None:
    lines, replaced = cast(NAMES, config.synthesis, config.seed, everything)
    probe = probe_lines([name.text for name in NAMES])
    assert not replaced
    learned, measured = ({find(line.voice).split for line in part} for part in (lines, probe))
    assert learned == {"train", "dev"}
    assert {find(line.voice).split for line in probe if line.engine == "kokoro"} == {"test"}
    assert "train" in measured  # flite's voices: the engine as a whole is kept for measuring
    assert "flite" not in {line.engine for line in lines}
    assert {line.source for line in probe} == {"flite"}
    assert not {line.text for line in lines} & {line.text for line in probe}
    assert {split_of(line.text) for line in lines} == {"train", "dev"}
    assert {split_of(line.text) for line in probe} == {"test"}
    for part in (lines, probe):
        assert all(line.text.count(line.name) == 1 for line in part)
        assert len({line.digest for line in part}) == len(part)


def test_a_names_utterances_do_not_depend_on_the_other_names(config: LearnConfig) -> None:
    together, _ = cast(NAMES, config.synthesis, config.seed, everything)
    alone, _ = cast(NAMES[1:], config.synthesis, config.seed, everything)
    assert [line for line in together if line.name == "zendaya"] == alone
    other, _ = cast(NAMES[1:], config.synthesis, config.seed + 1, everything)
    assert other != alone


def test_every_pronunciation_gets_its_turn() -> None:
    parts = (CastConfig("kokoro", share=3), CastConfig("espeak"))
    lines, _ = cast(NAMES[:1], SynthesisConfig(utterances_per_name=16, cast=parts), 0, everything)
    spoken = [line for line in lines if line.split == "train"]
    natural = [line for line in spoken if line.engine == "kokoro"]
    assert len(natural) == 12
    assert {line.said for line in natural if line.source == "given"} == {"ˈunaɪ", "Z AA1"}
    assert {line.source for line in natural} == {"text", "given", "rules", "heard"}
    assert sum(line.source == "text" for line in natural) == 6
    assert {line.source for line in spoken if line.engine == "espeak"} == {"text", "heard"}


def test_an_engine_that_is_not_installed_is_replaced_or_missed() -> None:
    without = SynthesisConfig(cast=(CastConfig("kokoro", "espeak"),))
    lines, replaced = cast(NAMES, without, 0, lambda engine: engine == "espeak")
    assert replaced == {"kokoro": "espeak"}
    assert {line.engine for line in lines} == {"espeak"}
    with pytest.raises(MissingDependencyError, match="espeak"):
        cast(NAMES, SynthesisConfig(cast=(CastConfig("espeak"),)), 0, lambda _: False)


def test_pronunciations_of_every_kind_become_ipa() -> None:
    assert as_ipa("K OW0 V AA1 L S K IY0") == "ko^ʊvˈɑːlski"
    assert as_ipa("unaɪ emeri") == "ˈuːna^ɪ e^ɪmˈe^ɪɹiː"
    assert as_ipa("kɔˈvalskʲi") == "kɔˈvalskʲi"
    from asr.synth.phones import to_ipa

    with pytest.raises(TextError, match="QQ"):
        to_ipa(["QQ"])


def test_sentences_with_the_class_say_where_names_stand(tmp_path: Path) -> None:
    config = ExtensionConfig(sentences=400)
    sentences = class_sentences(config, 1)
    assert len(sentences) == 400
    assert sentences == class_sentences(config, 1) != class_sentences(config, 2)
    assert 0.3 < sum(CLASS in sentence.split() for sentence in sentences) / 400 < 0.9
    assert not any("'name'" in sentence for sentence in sentences)
    learned = merged(None, NAMES, config)
    names, model = write_extension(learned, config, 1, tmp_path)
    assert LearnedNames.load(names) == learned
    assert CLASS in LanguageModel.load(model)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([names.name, model.name])


def test_rounds_add_up() -> None:
    config = ExtensionConfig(prior_names=7, boost=1, context_boost=9)
    first = merged(None, [NewName("a b"), NewName("c")], config)
    second = merged(first, [NewName("c", weight=3), NewName("d")], config, None, ("call", "who is"))
    names = (LearnedName("a b", 1, 1), LearnedName("c", 3, 1), LearnedName("d", 1, 2))
    assert first == LearnedNames((names[0], LearnedName("c", 1, 1)), 7.0, 1.0, (), 9.0)
    assert second == LearnedNames(names, 7.0, 1.0, ("call", "who is"), 9.0)


def test_contexts_are_the_words_before_names_that_come_more_than_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExtensionConfig(sentences=1500)
    found = name_contexts(config, 1)
    assert found == tuple(sorted(set(found))) == name_contexts(config, 1)
    assert {"call", "who is"} <= set(found)
    sentences = [f" {sentence} " for sentence in class_sentences(config, 1)]
    counts = {text: sum(f" {text} {CLASS}" in sentence for sentence in sentences) for text in found}
    assert min(counts.values()) >= CONTEXT_SHARE * len(sentences)
    assert max(len(text.split()) for text in found) == 2
    assert not any(CLASS in text for text in found)
    monkeypatch.setattr("asr.learn.extension.CONTEXT_SHARE", 0.02)
    often = name_contexts(config, 1)
    assert set(often) == {text for text in found if exactly(text, sentences) >= 0.02 * len(sentences)}
    assert 1 <= len(often) < len(found)


def exactly(context: str, sentences: list[str]) -> int:
    """How often a name follows these words, which are two or else the first of the sentence."""
    begins = " " if len(context.split()) == 2 else "^ "
    return sum(f"^{sentence}".count(f"{begins}{context} {CLASS}") for sentence in sentences)


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for name, count, seconds in (("names", 4, 2.0), ("held", 2, 2.0), ("old", 50, 4.0), ("more", 3, 4.0)):
        rows = [Utterance(f"{name}{i}.wav", seconds, "a b", id=f"{name}{i}", corpus=name) for i in range(count)]
        write_manifest(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def settings(**replay: object) -> LearnConfig:
    return LearnConfig(replay=ReplayConfig(**replay), tune=TuneConfig(steps=10, batch_s=10))  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8])
def test_names_and_old_data_have_their_shares(corpora: Path, share: float) -> None:
    old = (ReplaySource(str(corpora / "old.jsonl"), share=3), ReplaySource(str(corpora / "more.jsonl"), share=1))
    config = settings(share=share, corpora=old, dev=(str(corpora / "old.jsonl"),), dev_utterances=5)
    composed = compose(corpora / "names.jsonl", corpora / "held.jsonl", config, corpora)
    rows = read_manifest(composed.train).utterances
    seconds = {c: sum(row.duration for row in rows if row.corpus == c) for c in ("names", "old", "more")}
    assert seconds["names"] == pytest.approx(100 * (1 - share), abs=8)
    assert seconds["old"] == pytest.approx(100 * share * 3 / 4, abs=4)
    assert seconds["more"] == pytest.approx(100 * share / 4, abs=4)
    assert len({row.id for row in rows}) == len(rows)
    assert composed.names == 4
    assert composed.replay == len({row.audio_filepath for row in rows if row.corpus != "names"})
    dev = read_manifest(composed.dev).utterances
    assert [row.corpus for row in dev] == ["names"] * 2 + ["old"] * 5


def test_the_fallback_is_taken_where_no_corpus_is_there_and_said(corpora: Path) -> None:
    gone, there = str(corpora / "gone.jsonl"), str(corpora / "old.jsonl")
    sources = {
        "corpora": (ReplaySource(gone),),
        "fallback": (ReplaySource(there, kind="synthetic"), ReplaySource(gone)),
    }
    composed = compose(corpora / "names.jsonl", corpora / "held.jsonl", settings(**sources), corpora)
    assert composed.data[there] == "synthetic"
    assert composed.data[gone] == "not there"
    with pytest.raises(ConfigError, match=r"replay\.share"):
        compose(corpora / "names.jsonl", None, settings(corpora=(ReplaySource(gone),)), corpora)


class Parrot:
    name = "parrot"

    def transcribe(self, samples: audio.Samples) -> str:
        return "Call Unai Emery!" if samples.any() else ""


def test_recordings_need_consent_and_a_second_listener_marks_what_it_proposes(corpora: Path) -> None:
    for name, level in (("spoken", 0.1), ("silence", 0.0)):
        audio.save(corpora / f"{name}.wav", np.full(16_000, level, np.float32))
    rows = [
        Utterance("spoken.wav", 1.0, "", id="heard", consent="audio"),
        Utterance("silence.wav", 1.0, "", id="silent", consent="audio"),
        Utterance("spoken.wav", 1.0, "said so", id="labelled", consent="audio"),
        Utterance("spoken.wav", 1.0, "private", id="private", consent="transcript"),
    ]
    write_manifest(corpora / "log.jsonl", rows)
    config = settings(share=0.0)
    config = dataclasses.replace(config, audio=(str(corpora / "log.jsonl"),))
    composed = compose(corpora / "names.jsonl", corpora / "held.jsonl", config, corpora, Parrot())
    found = {row.id: row for row in read_manifest(composed.train).utterances if "#" not in row.id}
    assert found["heard"].text == "call unai emery"
    assert found["heard"].source == "second-listener"
    assert found["labelled"].source == ""
    assert not {"silent", "private"} & set(found)
    assert any("consent" in reason for reason in composed.left_out)
    assert any("no words" in reason for reason in composed.left_out)
    alone = compose(corpora / "names.jsonl", corpora / "held.jsonl", config, corpora)
    assert alone.audio == 1
    assert any("no second listener" in reason for reason in alone.left_out)


def test_a_recording_that_cannot_be_read_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.jsonl", (Utterance("gone.wav", 1.0, ""),))
    found, problems = propose(manifest, Parrot())
    assert not found
    assert "gone.wav" in problems[0]


def test_a_folder_without_a_model_is_no_second_listener(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.bin"):
        FasterWhisper(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises((MissingDependencyError, ConfigError), match="faster-whisper"):
        FasterWhisper(tmp_path)


def test_the_shipped_settings_need_no_corpora(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DENGAR_DATA", raising=False)
    config = load_learn_config(DEFAULT, ("tune.steps=7",))
    assert config.tune.steps == 7
    assert not any(Path(source.manifest).exists() for source in config.replay.corpora)
    assert {source.kind for source in config.replay.fallback} == {"synthetic", "prompts"}


@pytest.mark.parametrize(
    "override", ["synthesis.cast=[{engine: flite}]", "synthesis.cast=[{engine: nobody}]", "tune.lr=-1", "unknown=1"]
)
def test_settings_that_make_no_sense_are_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        load_learn_config(DEFAULT, (override,))


@pytest.mark.parametrize("text", ["", "Unai", "a  b", "a1"])
def test_a_name_is_given_as_it_is_spoken(text: str) -> None:
    with pytest.raises(ValueError, match="normalise"):
        NewName(text)


@given(st.lists(st.sampled_from(["a b", "c"]), min_size=1, max_size=8), st.data())
def test_recall_counts_whole_names(names: list[str], data: st.DataObject) -> None:
    texts = [data.draw(st.sampled_from(["x a b y", "a b's day", "ab", "a", "c", "cc b a"])) for _ in names]
    found = recall(names, texts)
    padded = [f" {text.replace(chr(39), ' ')} " for text in texts]
    assert found.heard == sum(f" {name} " in text for name, text in zip(names, padded, strict=True))
    assert found.said == len(names)
    assert sum(heard for heard, _ in found.by_name.values()) == found.heard


@pytest.mark.parametrize(
    ("said", "heard", "expected"),
    [
        ("call unai emery at home", "call any emery at home", "any emery"),
        ("call unai emery", "call an i emery", "an i emery"),
        ("unai emery's height", "any emory's height", "any emory"),
        ("call unai emery", "fall any emery", ""),  # where it begins cannot be told
        ("call unai emery now", "call any emery", ""),
        ("who is it", "who is it", ""),
    ],
)
def test_what_stands_for_a_name_is_found_between_its_neighbours(said: str, heard: str, expected: str) -> None:
    assert heard_as(said, "unai emery", heard) == expected


def test_spellings_are_like_the_name_and_unlike_what_people_say(tmp_path: Path) -> None:
    write_arpa(estimate(["find a novel", "read a novel", "a novel is here"], order=2), tmp_path / "lm.arpa")
    lm = LanguageModel.load(tmp_path / "lm.arpa")
    heard = ["gean novell", "gean novell", "a novel", "jean nouvel", "xyzzyx qqq", "jn", "zhan nouvell"]
    assert spellings_of("jean nouvel", heard, lm, most_expected=-4.0) == ("gean novell", "zhan nouvell")
