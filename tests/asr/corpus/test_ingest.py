"""Ingestion: what is kept, what is left out and why, and what is written."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import audio
from asr.corpus import AudioReader, Utterance, read_manifest
from asr.corpus.checks import CheckConfig, Kept, Reason, check
from asr.corpus.ingest import IngestConfig, ingest, ordered_map
from asr.corpus.items import AudioRef, RawItem, RefReader
from asr.corpus.measure import Measures, measure
from asr.corpus.pack import PackConfig
from asr.corpus.splits import Shares, assign, separate
from asr.errors import ConfigError, InputError

RATE = audio.SAMPLE_RATE_HZ


def speech(seed, seconds=1.0, amplitude=0.1):
    """Noise in bursts, as loud and quiet as speech is."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(n) / RATE)
    return (
        (amplitude * rng.standard_normal(n) * envelope + 1e-4 * rng.standard_normal(n)).clip(-1, 1).astype(np.float32)
    )


def table(folder, rows):
    """Writes a corpus for the recipe ``table``; each row is (file, samples or bytes or None, text, more columns)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, content, text, more in rows:
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif content is not None:
            soundfile.write(folder / name, content, RATE, subtype="PCM_16")
        lines.append(json.dumps({"file": name, "text": text, **more}))
    (folder / "table.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def dropped(out):
    return [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]


FAULTS = [
    ("absent.wav", None, "missing file", Reason.MISSING_FILE),
    ("empty.wav", b"", "empty file", Reason.EMPTY),
    ("letter.wav", b"dear sir " * 50, "a letter", Reason.UNDECODABLE),
    ("silence.wav", np.zeros(RATE, np.float32), "silence", Reason.SILENT),
    ("clipped.wav", np.sign(speech(1)) * 1.0, "clipped", Reason.CLIPPED),
    ("ten_ms.wav", speech(2, 0.01), "ten milliseconds", Reason.TOO_SHORT),
    ("short.wav", speech(3, 0.1), "short", Reason.TOO_SHORT),
    ("long.wav", speech(4, 31.0), "much too long for a query " * 5, Reason.TOO_LONG),
    ("fast.wav", speech(5), "many more words than anybody could ever say in a second", Reason.RATE),
    ("slow.wav", speech(6, 10.0), "slow", Reason.RATE),
    ("foreign.wav", speech(7), "привет", Reason.TEXT),
    ("noword.wav", speech(8), "...", Reason.TEXT),
]


def test_every_fault_is_left_out_with_its_reason(tmp_path):
    rows = [(name, content, text, {}) for name, content, text, _ in FAULTS]
    rows += [
        (f"good{n}.wav", speech(100 + n), f"good morning {'abcdefghij'[n]}", {"speaker": f"s{n}"}) for n in range(10)
    ]
    rows += [("again.wav", speech(100), "the same audio", {})]
    rows += [
        ("same.wav", speech(50), "first of an id", {"id": "x"}),
        ("id.wav", speech(51), "second of an id", {"id": "x"}),
    ]
    source = table(tmp_path / "corpus", rows)
    with (source / "table.jsonl").open("a") as file:
        file.write("not a line\n")
    summary = ingest(source, tmp_path / "out", IngestConfig(recipe="table", split="60/20/20"))
    found = {item["where"].rpartition(":")[2]: item for item in dropped(tmp_path / "out")}
    for number, (name, _, _, reason) in enumerate(FAULTS, start=1):
        assert found[str(number)]["reason"] == reason, name
        assert found[str(number)]["detail"]
    reasons = [item["reason"] for item in found.values()]
    assert reasons.count(Reason.DUPLICATE_AUDIO) == reasons.count(Reason.DUPLICATE_ID) == 1
    assert reasons.count(Reason.BAD_LINE) == 1
    kept = sum(split.utterances for split in summary.splits.values())
    assert summary.read == len(rows) + 1 == kept + sum(summary.dropped.values())
    assert kept == 11


def test_manifests_refer_to_the_audio_where_it_lies(tmp_path):
    source = table(tmp_path / "corpus", [("a.wav", speech(1), "Hello, Anna!", {"speaker": "s", "gender": "Female"})])
    ingest(source, tmp_path / "deep" / "out", IngestConfig(recipe="table", corpus="mine", split="100/0"))
    manifest = read_manifest(tmp_path / "deep" / "out" / "train.jsonl")
    row = manifest.utterances[0]
    assert row == Utterance(
        "../../corpus/a.wav", 1.0, "hello anna", speaker="s", gender="f", corpus="mine", split="train",
        written="Hello, Anna!",
    )  # fmt: skip
    assert AudioReader(manifest.root).read(row).shape == (RATE,)


@pytest.mark.parametrize("audio_format", ["keep", "flac", "opus"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_packed_shards_hold_the_same_audio(tmp_path, audio_format, jobs):
    if jobs == 2 and audio_format != "flac":
        pytest.skip("one format is enough to see that processes change nothing")
    texts = ["one fine day", "two fine days", "three fine days"]
    rows = [(f"{n}.wav", speech(n), text, {"split": "train"}) for n, text in enumerate(texts)]
    source = table(tmp_path / "corpus", rows)
    packing = PackConfig(audio_format, shard_bytes=20_000)
    ingest(source, tmp_path / "out", IngestConfig(recipe="table"), jobs=jobs, packing=packing)
    manifest = read_manifest(tmp_path / "out" / "train.jsonl")
    reader = AudioReader(manifest.root)
    assert [row.text for row in manifest.utterances] == texts
    assert len({row.shard for row in manifest.utterances}) == (1 if audio_format == "opus" else 3)
    for number, row in enumerate(manifest.utterances):
        samples = reader.read(row)
        assert len(samples) == pytest.approx(RATE, abs=700)
        if audio_format != "opus":
            np.testing.assert_allclose(samples, speech(number), atol=1e-4)
    assert not list((tmp_path / "out").glob("*.partial"))


def test_the_same_input_gives_the_same_bytes(tmp_path):
    source = table(
        tmp_path / "corpus", [(f"{n}.wav", speech(n), "word " * (n + 1), {"speaker": str(n)}) for n in range(4)]
    )
    for out in ("one", "two"):
        ingest(source, tmp_path / out, IngestConfig(recipe="table"), packing=PackConfig())
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_segments_are_cut_out(tmp_path):
    source = tmp_path / "kaldi"
    source.mkdir()
    soundfile.write(source / "long.wav", speech(0, 3.0), RATE)
    (source / "wav.scp").write_text("r long.wav\n")
    (source / "segments").write_text("u1 r 0 1.5\nu2 r 1.5 3\n")
    (source / "text").write_text("u1 hello there\nu2 and again\n")
    ingest(source, tmp_path / "out", IngestConfig(recipe="kaldi", split="100/0"))
    manifest = read_manifest(tmp_path / "out" / "train.jsonl")
    parts = [AudioReader(manifest.root).read(row) for row in manifest.utterances]
    np.testing.assert_allclose(np.concatenate(parts), speech(0, 3.0), atol=1e-4)


def test_a_second_ingestion_leaves_no_split_of_the_first(tmp_path):
    rows = [(f"{n}.wav", speech(n), "word " * (n + 1), {"speaker": str(n)}) for n in range(4)]
    source = table(tmp_path / "corpus", rows)
    first = ingest(source, tmp_path / "out", IngestConfig(recipe="table", split="50/25/25"), packing=PackConfig())
    assert set(first.splits) == {"train", "dev", "test"}
    ingest(source, tmp_path / "out", IngestConfig(recipe="table", split="100/0"))
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["dropped.jsonl", "ingest.json", "train.jsonl"]


def test_nothing_usable_is_an_error_that_names_the_first_reason(tmp_path):
    source = table(tmp_path / "corpus", [("absent.wav", None, "hello", {})])
    with pytest.raises(InputError, match=r"no usable utterance among 1; the first: .*missing file"):
        ingest(source, tmp_path / "out", IngestConfig(recipe="table"))


def test_kill_leaves_no_half_manifest(tmp_path):
    rows = [
        (f"{n}.wav", speech(n, 0.5), "say " + "abcdefghijklmnopqrstuvwxyz"[n % 26] * (n // 26 + 1), {})
        for n in range(60)
    ]
    source = table(tmp_path / "corpus", rows)
    code = (
        "from pathlib import Path; import sys, time\n"
        "from asr.corpus.ingest import IngestConfig, ingest\n"
        "from asr.corpus.pack import PackConfig\n"
        "from asr.corpus import manifest\n"
        "real = manifest.Utterance.to_json\n"
        "def slow(self):\n    time.sleep(0.05)\n    print('row', flush=True)\n    return real(self)\n"
        "manifest.Utterance.to_json = slow\n"
        "ingest(Path(sys.argv[1]), Path(sys.argv[2]), IngestConfig(recipe='table'), packing=PackConfig())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(source), str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(5):
            assert process.stdout.readline() == "row\n"
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.1)
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert not [name for name in left if name.endswith((".tar", ".jsonl")) and name != "dropped.jsonl"]
    assert "ingest.json" not in left
    ingest(source, tmp_path / "out", IngestConfig(recipe="table"))  # and starting again is all it takes
    assert read_manifest(tmp_path / "out" / "train.jsonl").utterances


def kept(text, speaker="", split="", corpus="c"):
    row = Utterance("", 1.0, text, speaker=speaker, split=split, corpus=corpus)
    item = RawItem(AudioRef("x"), text, f"{corpus}:{text}")
    return Kept(row, item, Measures(1.0, 1.0, -20.0, 0.5, 30.0, 0.0, text + speaker))


ROWS = st.builds(
    kept,
    st.sampled_from("abcdefgh"),
    st.sampled_from(["", "s1", "s2", "s3"]),
    st.sampled_from(["train", "dev", "test"]),
)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(rows=st.lists(ROWS, max_size=20))
def test_separated_splits_share_neither_speakers_nor_sentences(rows):
    stays, left_out = separate(rows, shared_sentences=False)
    assert len(stays) + len(left_out) == len(rows)
    splits = {
        name: [row.utterance for row in stays if row.utterance.split == name] for name in ("train", "dev", "test")
    }
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not {row.text for row in splits[one]} & {row.text for row in splits[other]}
        assert not {row.speaker for row in splits[one]} & {row.speaker for row in splits[other]} - {""}
    assert splits["test"] == [row.utterance for row in rows if row.utterance.split == "test"]


def test_speakers_of_two_corpora_with_one_name_are_two_people():
    rows = [kept("a", "s1", "train", "one"), kept("b", "s1", "dev", "two")]
    assert separate(rows, shared_sentences=False) == (rows, [])


@settings(derandomize=True, deadline=None, max_examples=50)
@given(count=st.integers(3, 30), seed=st.integers(0, 9))
def test_splitting_by_speaker_fills_every_split_and_keeps_speakers_whole(count, seed):
    rows = [kept(f"text {n}", f"speaker {n % count}") for n in range(3 * count)]
    chosen = assign(rows, Shares(0.8, 0.1, 0.1), seed)
    where = {}
    for row in chosen:
        assert where.setdefault(row.utterance.speaker, row.utterance.split) == row.utterance.split
    assert set(where.values()) == {"train", "dev", "test"}
    assert assign(rows, Shares(0.8, 0.1, 0.1), seed) == chosen


def test_a_growing_corpus_moves_hardly_anybody():
    rows = [kept(f"text {n}", f"speaker {n}") for n in range(500)]
    before = {row.utterance.speaker: row.utterance.split for row in assign(rows[:400], Shares(0.8, 0.1, 0.1), 7)}
    after = {row.utterance.speaker: row.utterance.split for row in assign(rows, Shares(0.8, 0.1, 0.1), 7)}
    assert all(after[speaker] == split for speaker, split in before.items())
    counts = [sum(split == name for split in after.values()) / 500 for name in ("train", "dev", "test")]
    np.testing.assert_allclose(counts, [0.8, 0.1, 0.1], atol=0.05)


def test_without_speakers_a_sentence_stays_together():
    rows = [kept(f"sentence {n % 20}") for n in range(60)]
    chosen = assign(rows, Shares(0.6, 0.2, 0.2), 0)
    assert separate(chosen, shared_sentences=False)[1] == []


@pytest.mark.parametrize("text", ["80/10", "x", "50/60", "0/50/50", "100/10/-10", "25/25/25/25"])
def test_a_wrong_split_is_refused(text):
    with pytest.raises(ConfigError, match="sum to 100"):
        Shares.parse(text)


@pytest.mark.parametrize("name", ["fsdd", "librispeech-clean", "common-voice-en", "speech-commands"])
def test_the_corpora_that_come_along_are_valid(name):
    assert IngestConfig.find(name).licence


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("recipe: tabel", "'tabel' is unknown; known: table"),
        ("recipe: table\nlevel: 3", "level"),
        ("recipe: table\nchecks: {min_rate: 40}", "min_rate must be below max_rate"),
        ("recipe: table\nchecks: {max_clipped: 2}", "max_clipped"),
        ("recipe: [", "not YAML"),
    ],
)
def test_a_wrong_configuration_is_one_error(tmp_path, content, says):
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=says):
        IngestConfig.find(str(path))


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ConfigError, match=r"'tabel' is neither a recipe \(table, .*fsdd"):
        IngestConfig.find("tabel")


def test_results_come_in_order_from_many_processes():
    assert list(ordered_map(sorted, iter(range(200)), 2)) == list(range(200))


@pytest.mark.parametrize("level_db", [-50.0, -26.0, -10.0])
def test_level_and_snr_of_a_signal_made_to_measure(level_db):
    rng = np.random.default_rng(0)
    speech_part = rng.standard_normal(RATE) * 10 ** (level_db / 20)
    noise = rng.standard_normal(2 * RATE) * 10 ** ((level_db - 20) / 20)
    samples = np.concatenate([np.zeros(RATE), speech_part]) + noise
    measures = measure(np.clip(samples, -4, 4).astype(np.float32))
    assert measures.level_db == pytest.approx(level_db, abs=3.5)  # the noise in the pause is within 30 dB
    assert measures.snr_db == pytest.approx(20, abs=2)


def test_only_runs_at_full_scale_count_as_clipped():
    samples = speech(0)
    samples[[10, 20, 30]] = 1.0
    assert measure(samples).clipped == 0
    samples[100:120] = -1.0
    assert measure(samples).clipped == pytest.approx(19 / RATE)


def test_the_same_audio_in_another_container_is_the_same(tmp_path):
    samples = speech(3)
    audio.save(tmp_path / "a.wav", samples)
    pcm, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "a.flac", pcm, RATE)
    results = [
        check(RawItem(AudioRef(tmp_path / name), "hello there", name), CheckConfig(), RefReader())
        for name in ("a.wav", "a.flac")
    ]
    assert results[0].measures == results[1].measures
    assert dataclasses.replace(results[0].utterance) == results[1].utterance
