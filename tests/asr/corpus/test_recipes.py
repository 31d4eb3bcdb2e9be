"""Each recipe reads a small corpus laid out as the real one is."""

import io
import json
import tarfile

import numpy as np
import pytest

from asr import audio
from asr.corpus.items import AudioRef, RawItem, RecipeOptions, RefReader
from asr.corpus.manifest import Problem
from asr.corpus.recipes import RECIPES
from asr.errors import AudioError, ConfigError, InputError

NOISE = np.random.default_rng(0).uniform(-0.1, 0.1, 8000).astype(np.float32)


def read(recipe, source, **options):
    results = list(RECIPES[recipe].read(source, RecipeOptions(**options)))
    items = [result for result in results if isinstance(result, RawItem)]
    return items, [result for result in results if isinstance(result, Problem)]


def test_table_with_usual_columns(tmp_path):
    (tmp_path / "all.csv").write_text(
        'file,sentence,speaker_id\na.wav,"Hello, you",anna\nb.wav,too,few,cells\n,empty,x\n'
    )
    items, problems = read("table", tmp_path)
    assert [(item.audio.path, item.text, item.speaker) for item in items] == [
        (tmp_path / "a.wav", "Hello, you", "anna")
    ]
    assert [problem.where for problem in problems] == [f"{tmp_path}/all.csv:3", f"{tmp_path}/all.csv:4"]
    assert "4 cells where the header names 3" in problems[0].reason


def test_table_with_columns_of_its_own(tmp_path):
    rows = [{"clip": "a.wav", "words": "one", "who": 7}, {"clip": "b.wav", "words": "two", "who": 8}]
    (tmp_path / "t.jsonl").write_text("\n".join([json.dumps(rows[0]), "oops", json.dumps(rows[1])]))
    items, problems = read("table", tmp_path, columns={"audio": "clip", "text": "words", "speaker": "who"})
    assert [(item.text, item.speaker) for item in items] == [("one", "7"), ("two", "8")]
    assert "not a JSON object" in problems[0].reason


def test_jsonl_rows_may_have_keys_of_their_own(tmp_path):
    rows = [{"file": "a.wav", "text": "one"}, {"file": "b.wav", "text": "two", "speaker": "anna"}, {"file": "c.wav"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    items, problems = read("table", tmp_path)
    assert [item.speaker for item in items] == ["", "anna"]
    assert "no column 'text'" in problems[0].reason


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({}, {}, "expected one table .* found none"),
        ({"a.csv": "file,text\n", "b.csv": "file,text\n"}, {}, r"found a\.csv, b\.csv; name it with --table"),
        ({"a.csv": "file,remarks\nx,y\n"}, {}, "no column 'text' or .* the table has file, remarks"),
        ({"a.csv": "file,text\nx,y\n"}, {"columns": {"speaker": "who"}}, "no column 'who' for speaker"),
        ({"a.csv": "file,text\nx,y\n"}, {"table": "c.csv"}, r"c\.csv: no such file"),
    ],
)
def test_table_that_does_not_fit_says_so(tmp_path, files, options, says):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=says):
        read("table", tmp_path, **options)


def test_table_with_an_unknown_field(tmp_path):
    (tmp_path / "a.csv").write_text("file,text\n")
    with pytest.raises(ConfigError, match="unknown field 'voice'; known: audio"):
        read("table", tmp_path, columns={"voice": "x"})


@pytest.fixture
def librispeech(tmp_path):
    for subset, speaker in (("train-clean-100", "19"), ("dev-clean", "84")):
        chapter = tmp_path / "LibriSpeech" / subset / speaker / "198"
        chapter.mkdir(parents=True)
        for number in range(2):
            audio.save(chapter / f"{speaker}-198-000{number}.flac", NOISE)
        (chapter / f"{speaker}-198.trans.txt").write_text(
            f"{speaker}-198-0000 HE SAID YES\n{speaker}-198-0001 SHE'D GONE\n"
        )
    speakers = "; ID |SEX| SUBSET\n19   | F | train-clean-100  | 25.19 | Kara\n84 | M | dev-clean | 8 | Chris\n"
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(speakers)
    return tmp_path


def test_librispeech(librispeech):
    items, problems = read("librispeech", librispeech)
    assert not problems
    first = items[-1]
    assert (first.text, first.id, first.speaker) == ("SHE'D GONE", "19-198-0001", "librispeech-19")
    assert (first.gender, first.split, first.audio.path.is_file()) == ("f", "train", True)
    assert {item.split for item in items} == {"train", "dev"}
    assert len(read("librispeech", librispeech, subset="dev-clean")[0]) == 2


def test_librispeech_agrees_with_torchaudio(librispeech):
    """Torchaudio's reader is the oracle; the download leaves a folder that is there already alone."""
    from asr.corpus.recipes import librispeech as recipe
    from asr.corpus.recipes._torchaudio import datasets

    folder = recipe.download(librispeech, "train-clean-100")
    theirs = datasets().LIBRISPEECH(librispeech, "train-clean-100")
    rows = [theirs.get_metadata(index) for index in range(len(theirs))]
    items, _ = read("librispeech", folder, subset="train-clean-100")
    assert [(str(item.audio.path.relative_to(folder)), item.text, item.speaker) for item in items] == [
        (row[0], row[2], f"librispeech-{row[3]}") for row in rows
    ]


def test_librispeech_has_no_such_subset(tmp_path):
    from asr.corpus.recipes import librispeech as recipe

    with pytest.raises(InputError, match="train-dirty: cannot be downloaded"):
        recipe.download(tmp_path, "train-dirty")


def test_commonvoice(tmp_path):
    header = "client_id\tpath\tsentence\tage\tgender\taccents\n"
    (tmp_path / "train.tsv").write_text(
        header + 'abc\tcv_1.mp3\tHe said "no.\ttwenties\tmale_masculine\tUS English\n', encoding="utf-8"
    )
    (tmp_path / "test.tsv").write_text(header + "xyz\tcv_2\tYes.\t\t\t\nbroken\n")
    items, problems = read("commonvoice", tmp_path)
    assert [(item.id, item.text, item.gender, item.split) for item in items] == [
        ("cv_1", 'He said "no.', "male_masculine", "train"),
        ("cv_2", "Yes.", "", "test"),
    ]
    assert items[1].audio.path == tmp_path / "clips" / "cv_2.mp3"
    assert len(problems) == 1
    with pytest.raises(InputError, match="accept its terms"):
        RECIPES["commonvoice"].download(tmp_path, "")


@pytest.fixture
def kaldi(tmp_path):
    audio.save(tmp_path / "long.wav", NOISE)
    (tmp_path / "wav.scp").write_text("rec1 long.wav\nrec2 sph2pipe -f wav x.sph |\n")
    (tmp_path / "text").write_text("u1 hello there\nu2 again\nu3 piped\nu4 lost\nu5 end\n")
    (tmp_path / "segments").write_text("u1 rec1 0.0 0.25\nu2 rec1 0.25 -1\nu3 rec2 0 1\nu5 rec1 x y\n")
    (tmp_path / "utt2spk").write_text("u1 anna\nu2 anna\n")
    (tmp_path / "spk2gender").write_text("anna f\n")
    return tmp_path


def test_kaldi_with_segments(kaldi):
    items, problems = read("kaldi", kaldi)
    assert [(item.id, item.text, item.speaker, item.gender) for item in items] == [
        ("u1", "hello there", "anna", "f"),
        ("u2", "again", "anna", "f"),
    ]
    assert [problem.reason.split(" ")[0] for problem in problems] == ["wav.scp", "u4", "segments:"]
    parts = [RefReader().read(item.audio) for item in items]
    np.testing.assert_allclose(np.concatenate(parts), audio.load(kaldi / "long.wav"))


def test_a_segment_outside_its_recording_is_an_error(kaldi):
    with pytest.raises(AudioError, match=r"segment 0\.1 to 9 s lies outside the recording of 0\.50 s"):
        RefReader().read(AudioRef(kaldi / "long.wav", start_s=0.1, end_s=9.0))


def test_kaldi_without_segments(kaldi):
    (kaldi / "segments").unlink()
    (kaldi / "text").write_text("rec1 hello\n")
    items, _ = read("kaldi", kaldi)
    assert items[0].audio == AudioRef(kaldi / "long.wav")


@pytest.mark.parametrize("packed", [False, True])
def test_digits_in_a_folder_and_in_a_tar(tmp_path, packed):
    source = tmp_path / "recordings"
    for name in ("7_jackson_32", "0_theo_1", "hello"):
        audio.save(source / f"{name}.wav", NOISE)
    (source / "README.md").write_text("not audio")
    if packed:
        with tarfile.open(tmp_path / "fsdd.tar", "w") as tar:
            tar.add(source, arcname=".")
        source = tmp_path / "fsdd.tar"
    items, problems = read("digits", source)
    assert [(item.text, item.speaker) for item in items] == [("zero", "theo"), ("seven", "jackson")]
    assert "hello.wav" in problems[0].where
    assert RefReader().read(items[0].audio).shape == (8000,)


def test_digits_of_neither_folder_nor_tar(tmp_path):
    (tmp_path / "x.tar").write_text("not a tar")
    with pytest.raises(InputError, match="neither a folder nor a plain tar"):
        read("digits", tmp_path / "x.tar")


def test_speechcommands_keeps_its_own_lists(tmp_path):
    for name in ("yes/aa_nohash_0", "yes/bb_nohash_0", "no/cc_nohash_1", "_background_noise_/hiss"):
        audio.save(tmp_path / f"{name}.wav", NOISE)
    (tmp_path / "validation_list.txt").write_text("yes/bb_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/cc_nohash_1.wav\n")
    items, _ = read("speechcommands", tmp_path)
    assert [(item.text, item.speaker, item.split) for item in items] == [
        ("no", "cc", "test"),
        ("yes", "aa", "train"),
        ("yes", "bb", "dev"),
    ]


def test_packed_manifests_and_nemo_manifests(tmp_path):
    file = io.BytesIO()
    import soundfile

    soundfile.write(file, NOISE, 16_000, format="FLAC")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        entry = tarfile.TarInfo("train/1.flac")
        entry.size = len(file.getvalue())
        tar.addfile(entry, io.BytesIO(file.getvalue()))
    rows = [
        {
            "audio_filepath": "train/1.flac",
            "shard": "a.tar",
            "duration": 0.5,
            "text": "one",
            "speaker": "s",
            "split": "train",
        },
        {"audio_filepath": "b.wav", "duration": 0.2, "offset": 0.1, "text": "two", "speaker_id": 5, "lang": "en"},
        {"duration": 1},
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    items, problems = read("packed", tmp_path)
    assert RefReader().read(items[0].audio).shape == (8000,)
    assert (items[0].speaker, items[0].split) == ("s", "train")
    assert items[1].audio == AudioRef(tmp_path / "b.wav", start_s=0.1, end_s=pytest.approx(0.3))
    assert items[1].speaker == "5"
    assert problems[0].where.endswith("train.jsonl:3")
    assert len(read("manifest", tmp_path / "train.jsonl")[0]) == 2


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_missing_corpus_is_one_clear_error(tmp_path, recipe):
    with pytest.raises(InputError, match=str(tmp_path / "absent")):
        read(recipe, tmp_path / "absent")


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_an_empty_folder_is_one_clear_error(tmp_path, recipe):
    with pytest.raises(InputError, match=str(tmp_path)):
        read(recipe, tmp_path)


def test_pairs_of_recordings_and_text_files(tmp_path):
    for name in ("anna/a.wav", "anna/deep/b.FLAC", "c.opus", "d.wav", "e.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"audio")
    (tmp_path / "anna/a.txt").write_text("\ufeffHello,\n you\n", encoding="utf-8")
    (tmp_path / "anna/deep/b.txt").write_text("two")
    (tmp_path / "c.txt").write_text("three")
    (tmp_path / "e.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "readme.txt").write_text("not a recording's")
    items, problems = read("pairs", tmp_path)
    assert [(item.audio.path, item.text, item.speaker, item.id) for item in items] == [
        (tmp_path / "anna/a.wav", "Hello, you", "anna", "anna/a"),
        (tmp_path / "anna/deep/b.FLAC", "two", "anna/deep", "anna/deep/b"),
        (tmp_path / "c.opus", "three", "", "c"),
    ]
    assert [(problem.where, problem.reason[:17]) for problem in problems] == [
        (str(tmp_path / "d.wav"), "has no text file "),
        (str(tmp_path / "e.txt"), "cannot be read as"),
    ]


def test_pairs_without_recordings_say_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"holds no audio files; expected .*hello\.wav and hello\.txt"):
        read("pairs", tmp_path)
