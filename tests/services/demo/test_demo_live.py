import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from asr import audio
from asr.corpus.manifest import Utterance, write_manifest
from asr.errors import ConfigError, DengarError
from asr.recognize import Recognizer
from services.demo.live import Recording, listen, prompts, queries
from services.load.server import served


def _speech(seconds: float) -> audio.Samples:
    noise = np.random.default_rng(5).normal(0, 0.1, round(seconds * audio.SAMPLE_RATE_HZ))
    return np.clip(noise, -1, 1).astype(np.float32)


def test_a_served_bundle_says_what_the_library_says_and_words_come_before_the_end(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "query.wav"
    audio.save(path, _speech(1.0))
    expected = Recognizer.open(tiny_bundle).transcribe(audio.load(path))[0].text
    written = io.StringIO()
    with served("--bundle", str(tiny_bundle)) as server:
        (heard,) = listen(server.address, [Recording(path, "what was said")], Console(file=written, width=200))
    assert heard.text == expected
    assert heard.interim > 0
    assert 0 <= heard.final_latency_s < 5
    lines = [line.split(maxsplit=1) for line in written.getvalue().splitlines()]
    assert ["spoken", "what was said"] in lines
    assert ["recognised", expected] in lines
    assert sum(line[0] == "hears" for line in lines) == heard.interim


def test_a_server_that_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    with (
        pytest.raises(DengarError, match=r"did not start: no bundle called .*nothing-here"),
        served("--bundle", str(tmp_path / "nothing-here")),
    ):
        pass


def test_prompts_are_those_that_are_named_and_there(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "5.g722").write_bytes(b"x")
    texts = tmp_path / "texts.yaml"
    texts.write_text("digits/5: five\nhello: hello\n")
    assert prompts(texts, sounds=tmp_path) == [Recording(tmp_path / "digits" / "5.g722", "five")]


def test_texts_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        prompts(tmp_path / "absent.yaml", sounds=tmp_path)


def test_queries_are_the_first_utterances(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        audio.save(tmp_path / name, _speech(0.5))
    utterances = [Utterance(audio_filepath=f"{name}.wav", duration=0.5, text=f"say {name}") for name in ("a", "b")]
    write_manifest(tmp_path / "manifest.jsonl", utterances)
    assert queries(tmp_path / "manifest.jsonl", 1) == [Recording(tmp_path / "a.wav", "say a")]
