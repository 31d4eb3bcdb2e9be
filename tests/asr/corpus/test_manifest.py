"""The manifest: good lines are kept, bad ones are named with the reason, audio is found in files and shards."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import audio
from asr.corpus import AudioReader, Utterance, read_manifest, write_manifest
from asr.corpus.manifest import measured_duration_s, parse_line
from asr.errors import AudioError, ManifestError

GOOD = {"audio_filepath": "a.wav", "duration": 1.5, "text": "hello"}


def line(**changes):
    return json.dumps({**GOOD, **changes})


def without(key):
    return json.dumps({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "not a JSON object"),
        ("[1]", "not a JSON object but list"),
        ("null", "not a JSON object but NoneType"),
        ("[" * 100_000, "not a JSON object"),
        (line(pitch=3), "unknown key 'pitch'; known: accent, age"),
        (without("text"), "key 'text' is missing"),
        (without("duration"), "key 'duration' is missing"),
        (line(text=None), "'text' must be a string, found None"),
        (line(gender=17), "'gender' must be a string, found 17"),
        (line(audio_filepath=""), "'audio_filepath' is empty"),
        (line(audio_filepath="a\0.wav"), "'audio_filepath' holds a character that is no text"),
        (line(text="\ud800"), "'text' holds a character that is no text"),
        (line(duration="1.5"), "'duration' must be a positive number of seconds, found '1.5'"),
        (line(duration=0), "positive number"),
        (line(duration=-1), "positive number"),
        (line(duration=True), "positive number"),
        (line(duration=float("nan")), "positive number"),
        (line(duration=float("inf")), "positive number"),
        (line(duration=10**400), "positive number"),
        (line(augmentation="rain"), "'augmentation' must be an object"),
    ],
)
def test_a_bad_line_is_left_out_and_named(tmp_path, bad, says):
    path = tmp_path / "some.jsonl"
    path.write_text(f"{line(id='one')}\n{bad}\n\n{line(id='two')}\n")
    manifest = read_manifest(path)
    assert [row.id for row in manifest.utterances] == ["one", "two"]
    assert [problem.where for problem in manifest.problems] == [f"{path}:2"]
    assert says in manifest.problems[0].reason


def test_ages_and_speakers_may_be_numbers(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(line(speaker=17, age=30))
    assert read_manifest(path).utterances[0].speaker == "17"


def test_a_manifest_without_one_good_line_says_what_is_wrong_first(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("nonsense\n")
    with pytest.raises(
        ManifestError, match=r"bad\.jsonl: holds no usable utterance; first problem: .*bad\.jsonl:1: not a"
    ):
        read_manifest(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b"RIFF\x80\x81"])
def test_what_is_no_manifest_is_one_error(tmp_path, content):
    path = tmp_path / "m.jsonl"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=r"m\.jsonl"):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"absent\.jsonl: cannot be read as a manifest \(No such file"):
        read_manifest(tmp_path / "absent.jsonl")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line().encode() + b"\r\n" + line(id="b").encode() + b"\r\n")
    manifest = read_manifest(path)
    assert len(manifest.utterances) == 2
    assert not manifest.problems
    assert manifest.duration_s == 3.0


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
UTTERANCES = st.builds(
    Utterance,
    audio_filepath=TEXT.filter(bool),
    duration=st.floats(0.001, 1e6),
    text=TEXT,
    id=TEXT,
    speaker=TEXT,
    shard=TEXT,
    written=TEXT,
    augmentation=st.none() | st.dictionaries(st.sampled_from(["seed", "snr_db"]), st.integers(0, 9), min_size=1),
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rows=st.lists(UTTERANCES, min_size=1, max_size=5))
def test_what_is_written_reads_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("manifest") / "rows.jsonl"
    write_manifest(path, rows)
    manifest = read_manifest(path)
    assert list(manifest.utterances) == rows
    assert not manifest.problems


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=3,
)
KEYS = st.sampled_from(["audio_filepath", "duration", "text", "id", "augmentation", "shard", "other"])


@settings(derandomize=True, deadline=None, max_examples=100)
@given(text=st.text(max_size=40) | st.dictionaries(KEYS, VALUES).map(json.dumps) | VALUES.map(json.dumps))
def test_any_line_parses_or_is_a_manifest_error(text):
    try:
        row = parse_line(text, "m:1")
    except ManifestError as refused:
        message = str(refused)
        row = None
    if row is None:
        assert message.startswith("m:1: ")
    else:
        assert parse_line(json.dumps(row.to_json()), "m:1") == row


def test_a_crash_while_writing_leaves_the_old_manifest(tmp_path):
    path = tmp_path / "m.jsonl"
    write_manifest(path, [Utterance("a.wav", 1.0, "old")])

    def rows():
        yield Utterance("b.wav", 1.0, "new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(path, rows())
    assert [row.text for row in read_manifest(path).utterances] == ["old"]


@pytest.fixture
def recorded(tmp_path):
    """A folder with the same tone in a file and in a shard."""
    samples = (0.2 * np.sin(np.arange(8000) / 5)).astype(np.float32)
    audio.save(tmp_path / "a.wav", samples)
    data = (tmp_path / "a.wav").read_bytes()
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("./x/first.wav", "x/second.wav"):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return tmp_path


def test_audio_is_read_from_files_and_from_shards(recorded):
    reader = pickle.loads(pickle.dumps(AudioReader(recorded)))
    plain = reader.read(Utterance("a.wav", 0.5, ""))
    assert plain.shape == (8000,)
    for name in ("x/first.wav", "x/second.wav"):
        np.testing.assert_array_equal(reader.read(Utterance(name, 0.5, "", shard="s.tar")), plain)


@pytest.mark.parametrize(
    ("utterance", "says"),
    [
        (Utterance("absent.wav", 1.0, ""), r"absent\.wav: cannot be read \(No such file"),
        (Utterance("x.wav", 1.0, "", shard="absent.tar"), r"absent\.tar: cannot be read \(No such file"),
        (Utterance("x/third.wav", 1.0, "", shard="s.tar"), r"s\.tar:x/third\.wav: no such file in the shard"),
        (Utterance("x.wav", 1.0, "", shard="a.wav"), r"a\.wav: is not a readable tar"),
    ],
)
def test_audio_that_is_not_there_is_named(recorded, utterance, says):
    with pytest.raises(AudioError, match=says):
        AudioReader(recorded).read(utterance)


def test_duration_by_the_header(recorded):
    assert measured_duration_s(recorded / "a.wav") == pytest.approx(0.5)
