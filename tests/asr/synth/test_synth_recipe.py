"""A corpus is planned from its seed, written whole or not at all, and resumed where it stood."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from asr import audio
from asr.corpus import read_manifest
from asr.errors import ConfigError, MissingDependencyError
from asr.synth import find
from asr.synth.generate import generate
from asr.synth.plan import plan
from asr.synth.queries import split_of
from asr.synth.recipe import Part, SynthRecipe, read_recipe

DATA = Path(__file__).parents[3] / "data"


def small(count=6, **changes):
    parts = (
        Part(engine="flite", count=count // 2, speed=(0.9, 1.2), pitch=(0.9, 1.1)),
        Part(engine="espeak", count=count - count // 2),
    )
    recipe = SynthRecipe(
        corpus="demo", queries=DATA / "queries/demo.yaml", split="train", seed=3, format="flac", parts=parts
    )
    return recipe.model_copy(update=changes)


def everything(_engine):
    return True


@pytest.mark.parametrize("name", ["demo-train", "demo-test", "voice-search-dev"])
def test_shipped_recipes_plan_only_voices_and_sentences_of_their_split(name):
    recipe = read_recipe(DATA / f"{name}.yaml")
    sentences = plan(recipe, everything).sentences
    assert plan(recipe, everything).replaced == {}
    assert len(sentences) == recipe.count == len({sentence.file for sentence in sentences})
    assert {sentence.voice.split for sentence in sentences} == {recipe.split}
    assert {split_of(sentence.query.text) for sentence in sentences} == {recipe.split}


def test_the_plan_follows_from_the_seed():
    assert plan(small(), everything) == plan(small(), everything)
    assert plan(small(), everything) != plan(small(seed=4), everything)


# What these recipes made stands in corpora that were trained on and measured with.
PLANS = {
    "demo-train": "b8f1712a617d08a1",
    "voice-search-dev": "4095ffcdab43a705",
    "voice-search-train": "55e3ed1a100a572f",
}


@pytest.mark.parametrize("name", PLANS)
def test_the_shipped_recipes_still_mean_what_they_meant(name):
    sentences = plan(read_recipe(DATA / f"{name}.yaml"), everything).sentences
    lines = [f"{s.id} {s.query.text} {s.query.written} {s.source}" for s in sentences]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == PLANS[name]


def test_a_range_of_vocal_tracts_changes_nothing_else():
    plain = small().parts[0]
    changed = small(parts=(plain.model_copy(update={"vocal_tract": (0.85, 1.15)}), small().parts[1]))
    before, after = plan(small(), everything).sentences, plan(changed, everything).sentences
    assert [(s.query, s.voice, s.speed, s.pitch) for s in before] == [
        (s.query, s.voice, s.speed, s.pitch) for s in after
    ]
    tracts = [sentence.vocal_tract for sentence in after]
    assert all(0.85 <= tract <= 1.15 for tract in tracts[:3])
    assert len(set(tracts[:3])) == 3
    assert tracts[3:] == [1.0, 1.0, 1.0]
    assert after[0].id != before[0].id
    assert after[3].id == before[3].id
    assert f"vocal_tract={tracts[0]}" in after[0].source


def test_a_corpus_from_texts_and_names(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TEXTS", str(tmp_path))
    words = [a + b for a in "abcdefghij" for b in "aeiou"]
    (tmp_path / "own.tsv").write_text("".join(f"own\tplay the {word} song\n" for word in words))
    (tmp_path / "people.txt").write_text("Ana Quill\nBo Brant\nCy Odum\nDi Zephyrine\n")
    (tmp_path / "recipe.yaml").write_text(
        "{corpus: mix, split: train, format: flac, sources: [{sentences: $MY_TEXTS/own.tsv, share: 2},"
        f" {{queries: {DATA / 'queries/names.yaml'}, names: {{file: people.txt}}}}],"
        " parts: [{engine: flite, count: 4, vocal_tract: [0.85, 0.9]}]}"
    )
    report = generate(read_recipe(tmp_path / "recipe.yaml"), tmp_path / "out")
    found = read_manifest(report.manifest).utterances
    assert report.left_out["names: held out"] > 0
    assert any(utterance.source.endswith("text=own.tsv:own") for utterance in found)
    assert all("vocal_tract=0.8" in utterance.source for utterance in found)
    again = generate(read_recipe(tmp_path / "recipe.yaml"), tmp_path / "again")
    assert again.manifest.read_bytes() == report.manifest.read_bytes()


def test_the_recipe_of_mixed_sources_reads_with_its_variable(monkeypatch):
    monkeypatch.delenv("DENGAR_DATA", raising=False)
    with pytest.raises(ConfigError, match="needs the environment variable DENGAR_DATA"):
        read_recipe(DATA / "voice-search-mix.yaml")
    monkeypatch.setenv("DENGAR_DATA", "/somewhere")
    recipe = read_recipe(DATA / "voice-search-mix.yaml")
    assert recipe.sources[0].sentences == Path("/somewhere/text/voice_queries.tsv.gz")
    assert [source.queries for source in recipe.sources if source.queries] == [
        DATA / "queries/voice-search.yaml",
        DATA / "queries/names.yaml",
    ]


def test_voices_come_round_evenly_and_blends_keep_the_split():
    recipe = small(parts=(Part(engine="kokoro", count=48, blend=0.5),))
    voices = [sentence.voice for sentence in plan(recipe, everything).sentences]
    leading = [voice.name.split("*")[0] for voice in voices]
    assert {leading.count(name) for name in leading} == {3}
    assert 10 < sum("*" in voice.name for voice in voices) < 38
    assert all(find(voice.id) == voice for voice in voices)


def test_an_engine_that_is_missing_is_replaced_and_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("DENGAR_CACHE", str(tmp_path))
    recipe = small(parts=(Part(engine="kokoro", otherwise="flite", count=3),))
    planned = plan(recipe, lambda engine: engine != "kokoro")
    assert planned.replaced == {"kokoro": "flite"}
    assert {sentence.voice.engine for sentence in planned.sentences} == {"flite"}
    with pytest.raises(MissingDependencyError, match="dengar data synth --install"):
        plan(small(parts=(Part(engine="kokoro", count=3),)), lambda engine: engine != "kokoro")


def test_scaling_keeps_the_proportions():
    assert [part.count for part in small(10).scaled(4).parts] == [2, 2]
    assert small(10).scaled(7).count == 7
    assert [part.engine for part in small(10).scaled(1).parts] in (["flite"], ["espeak"])


def test_a_corpus_is_written_and_a_second_run_keeps_it(tmp_path):
    report = generate(small(), tmp_path)
    manifest = read_manifest(tmp_path / "manifest.jsonl")
    assert (report.made, report.kept, report.utterances) == (6, 0, 6)
    assert report.engines == {"flite": 3, "espeak": 3}
    for utterance in manifest.utterances:
        samples = audio.load(tmp_path / utterance.audio_filepath)
        assert len(samples) / 16000 == pytest.approx(utterance.duration, abs=1e-3)
        assert utterance.corpus == "demo"
        assert utterance.split == find(utterance.speaker).split == "train"
        assert utterance.source.startswith(utterance.speaker)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "audio").iterdir()}
    again = generate(small(), tmp_path)
    assert (again.made, again.kept) == (0, 6)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "audio").iterdir()}


def test_several_processes_write_the_same_bytes(tmp_path):
    generate(small(), tmp_path / "one", jobs=1)
    generate(small(), tmp_path / "two", jobs=2)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 7
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_killed_it_leaves_no_manifest_and_goes_on_where_it_stood(tmp_path):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from test_synth_recipe import small; "
        "from asr.synth.generate import generate; "
        "generate(small(), sys.argv[2], progress=lambda done, total: done == 4 and os.kill(os.getpid(), 9))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "manifest.jsonl").exists()
    report = generate(small(), tmp_path)
    assert (report.made, report.kept) == (2, 4)
    assert len(read_manifest(report.manifest).utterances) == 6


def test_a_damaged_file_is_spoken_again(tmp_path):
    generate(small(2), tmp_path)
    victim = next((tmp_path / "audio").iterdir())
    whole = victim.read_bytes()
    victim.write_bytes(b"")
    assert generate(small(2), tmp_path).made == 1
    assert victim.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("parts: []", "corpus"),
        ("{corpus: x, queries: q.yaml, split: dev, parts: [{engine: dectalk, count: 1}]}", "dectalk"),
        ("{corpus: x, queries: q.yaml, split: all, parts: [{engine: flite, count: 1}]}", "split"),
        ("{corpus: x, queries: q.yaml, split: dev, parts: [{engine: flite, count: 0}]}", "count"),
        ("{corpus: x, queries: q.yaml, split: dev, parts: [{engine: flite, count: 1, speed: [2, 1]}]}", "lowest"),
        ("{corpus: x, queries: q.yaml, split: dev, colour: red, parts: [{engine: flite, count: 1}]}", "colour"),
        ("{corpus: x, split: dev, parts: [{engine: flite, count: 1}]}", "sources"),
        ("{corpus: x, split: dev, sources: [{}], parts: [{engine: flite, count: 1}]}", "either queries"),
        (
            "{corpus: x, queries: q.yaml, exclude_names: n.txt, split: dev, parts: [{engine: flite, count: 1}]}",
            "exclude_names goes with sources",
        ),
        (
            "{corpus: x, queries: q.yaml, split: dev, parts: [{engine: flite, count: 1, vocal_tract: [0.2, 1]}]}",
            "vocal_tract",
        ),
        ("[", "YAML"),
    ],
)
def test_a_bad_recipe_is_refused_in_one_sentence(tmp_path, content, complaint):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


def test_no_voice_with_the_accent_is_an_error():
    with pytest.raises(ConfigError, match="caribbean"):
        plan(small(parts=(Part(engine="flite", count=1, accents=("caribbean",)),)), everything)
