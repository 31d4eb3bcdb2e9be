"""`dengar data ingest` and `dengar data report`, from files to tables and a page."""

import json
import re

import numpy as np
import pytest
import soundfile

from services.cli.main import main


def speech(seed, amplitude=0.1):
    rng = np.random.default_rng(seed)
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(16_000) / 16_000)
    return (amplitude * rng.standard_normal(16_000) * envelope).clip(-1, 1)


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = ["clip,words,speaker,gender"]
    for number in range(12):
        soundfile.write(folder / f"{number}.wav", speech(number, 0.004 if number == 3 else 0.1), 16_000)
        lines.append(f"{number}.wav,item {'abcdefghijkl'[number]},s{number % 4},{'f' if number % 2 else 'male'}")
    lines.append("absent.wav,not there,s1,f")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def manifests(corpus, tmp_path, capsys):
    columns = ["--column", "audio=clip", "--column", "text=words"]
    code = main(
        ["data", "ingest", "table", str(corpus), "-o", str(tmp_path / "out"), *columns, "--split", "50/50", "--json"]
    )
    assert code == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["dropped"] == {"missing file": 1}
    assert summary["read"] == 13
    assert sum(split["utterances"] for split in summary["splits"].values()) == 12
    return [str(tmp_path / "out" / split["manifest"]) for split in summary["splits"].values()]


def test_ingest_prints_what_was_left_out(corpus, tmp_path, capsys):
    arguments = ["--column", "audio=clip", "--column", "text=words", "--pack", "--format", "flac"]
    assert main(["data", "ingest", "table", str(corpus), "-o", str(tmp_path / "o"), *arguments]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "missing file" in text
    assert "1 of 13 left out" in text
    assert list((tmp_path / "o").glob("*.tar"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tabel", "."], "'tabel' is neither a recipe"),
        (["table", "absent"], "absent: no such folder"),
        (["kaldi", "."], "no such file; expected a Kaldi data directory"),
        (["table", ".", "--column", "text"], "--column text: write it as FIELD=NAME"),
        (["table", ".", "--split", "90/90"], "sum to 100"),
        (["kaldi", ".", "--download"], "kaldi: has no download"),
        (["commonvoice", ".", "--download"], "accept its terms"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "ingest", *arguments, "-o", "out"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err


def test_report_counts_and_finds_what_is_odd(manifests, capsys):
    assert main(["data", "report", *manifests, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["utterances"], report["speakers"], report["duration_s"]) == (12, 4, 12.0)
    assert report["words"]["item"] == 12
    assert sum(value["utterances"] for value in report["groups"]["split"].values()) == 12
    assert report["groups"]["gender"]["m"]["speakers"] == 2
    odd = {entry["what"]: entry for entry in report["odd"]}
    assert odd["very quiet"]["count"] == 1
    assert odd["very quiet"]["examples"] == ["../corpus/3.wav"]
    assert len(report["percentiles"]["duration_s"]) == len(report["percentiles"]["at"])


def test_report_as_a_page_needs_no_other_file(manifests, tmp_path, capsys):
    page = tmp_path / "pages" / "report.html"
    assert main(["data", "report", *manifests, "-o", str(page), "--augment", "clean", "--examples", "2"]) == 0
    html = page.read_text()
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", html)
    assert "<script" not in html
    assert html.count("as recorded") == html.count("augmented:") == 2
    assert "log-mel frames of shape (100, 80)" in html
    assert html.count("data:audio/ogg") >= 4
    assert str(page) in capsys.readouterr().out.replace("\n", "")


def test_report_names_what_cannot_be_read_and_describes_the_rest(manifests, tmp_path, capsys):
    (tmp_path / "corpus" / "0.wav").unlink()
    (tmp_path / "corpus" / "1.wav").write_text("not audio at all")
    with open(manifests[0], "a") as file:
        file.write("oops\n")
    assert main(["data", "report", *manifests, "--json"]) == 2
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["measured"] == 10
    assert len(report["unreadable"]) == 2
    assert len(report["problems"]) == 1
    assert captured.err.count("left out: ") == 3


def test_report_of_a_sample_is_the_same_each_time(manifests, capsys):
    reports = []
    for _ in range(2):
        main(["data", "report", *manifests, "--sample", "5", "--json"])
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1]
    assert (reports[0]["measured"], reports[0]["utterances"]) == (5, 12)


def test_report_without_a_manifest_is_one_line(tmp_path, capsys):
    assert main(["data", "report", str(tmp_path / "absent.jsonl")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
