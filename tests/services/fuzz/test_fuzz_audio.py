"""Any bytes at all, in any packets: finite samples in [-1, 1], or one sentence; no crash, no thread left, no memory."""

from __future__ import annotations

import resource
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr import audio
from asr.errors import AudioError, ConfigError
from services.recognizer import pcm
from services.recognizer.audio_in import ENCODINGS, StreamDecoder
from tests.services.fuzz.mutations import cuts, examples, mutated
from tests.services.fuzz.seeds import CORPUS

FILES = {path.name: path.read_bytes() for path in sorted(CORPUS.iterdir())}
CONTENTS = list(FILES.values())
NAMED = {".wav": "LINEAR16", ".flac": "FLAC", ".ogg": "OGG_OPUS", ".webm": "WEBM_OPUS", ".mp3": "MP3"}
LONGEST_S = 5.0
MOST_MEMORY = 300 * 2**20


@pytest.fixture(autouse=True)
def no_thread_fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a decoder's thread raises would be seen by nobody."""
    raised: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    yield
    assert not raised, raised


def hear(packets: list[bytes], encoding: str, rate_hz: int, channels: int) -> int | str:
    """Decodes as the server would: the number of samples, or what is wrong."""
    decoder = None
    try:
        decoder = StreamDecoder(encoding, rate_hz, channels, LONGEST_S)
        pieces = [decoder.feed(packet) for packet in packets]
        samples = np.concatenate([*pieces, decoder.finish()])
    except (AudioError, ConfigError) as error:
        assert_sentence(str(error))
        return str(error)
    finally:
        if decoder is not None:
            decoder.close()
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.isfinite(samples).all()
    assert np.abs(samples).max(initial=0) <= 1
    assert len(samples) <= (LONGEST_S + 0.1) * audio.SAMPLE_RATE_HZ
    return len(samples)


def assert_sentence(text: str) -> None:
    assert 10 < len(text) < 400
    assert "\n" not in text
    assert "Error" not in text, "a person reads it"


def test_the_corpus_is_small_and_has_every_encoding() -> None:
    assert sum(map(len, CONTENTS)) < 64 * 1024
    assert {NAMED["." + name.rpartition(".")[2]] for name in FILES} | {"MULAW"} == set(ENCODINGS[1:])


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@examples(30)
def test_mutated_files_in_any_packets_are_heard_or_refused(name: str, data: st.DataObject) -> None:
    content = data.draw(mutated(FILES[name], CONTENTS))
    named = NAMED["." + name.rpartition(".")[2]]
    encoding = data.draw(st.sampled_from([named, named, "ENCODING_UNSPECIFIED", *ENCODINGS]))
    rate_hz, channels = data.draw(st.sampled_from([0, 0, 16_000, 8000])), data.draw(st.integers(1, 2))
    found = hear(data.draw(cuts(content)), encoding, rate_hz, channels)
    if encoding in ("LINEAR16", "MULAW") or "wav" in name:  # however it is cut: exactly for what we parse ourselves
        assert hear([content], encoding, rate_hz, channels) == found
    assert not [thread for thread in threading.enumerate() if thread.name == "container-decoder"]


@given(data=st.data())
@examples(150)
def test_mutated_files_on_disk_are_heard_or_refused(data: st.DataObject) -> None:
    content = data.draw(mutated(data.draw(st.sampled_from(CONTENTS)), CONTENTS))
    name = data.draw(st.sampled_from(["upload", "upload.g722"]))
    try:
        samples = audio.decode(content, name, max_duration_s=LONGEST_S)
    except AudioError as error:
        assert_sentence(str(error))
        return
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1
    assert audio.MIN_DURATION_S <= len(samples) / audio.SAMPLE_RATE_HZ <= LONGEST_S


@pytest.mark.parametrize("name", FILES)
def test_what_once_went_wrong_and_what_is_whole(name: str) -> None:
    outcome = hear([FILES[name]], "ENCODING_UNSPECIFIED", 0, 1)
    refused = ("found-unknown-codec.wav", "found-loud-stereo.wav", "tone-vorbis.ogg")
    assert isinstance(outcome, str) == (name in refused), outcome
    if name in refused and name != "tone-vorbis.ogg":
        with pytest.raises(AudioError):
            audio.decode(FILES[name], name)


@pytest.mark.parametrize("crumb", [1, 3, 1000])
def test_a_header_of_thousands_of_chunks_costs_what_it_weighs(crumb: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = 0

    def counted(*arguments: object) -> tuple[object, ...]:
        nonlocal unpacked
        unpacked += 1
        return unpack(*arguments)

    unpack = struct.unpack_from
    monkeypatch.setattr(pcm.struct, "unpack_from", counted)
    chunks = 1000
    header = b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * chunks
    packets = [header[at : at + crumb] for at in range(0, len(header), crumb)]
    assert "within its header" in str(hear(packets, "LINEAR16", 0, 1))
    assert unpacked <= chunks + len(packets)


def test_fuzzing_leaves_no_memory_behind() -> None:
    rng = np.random.default_rng(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(300):
        content = bytearray(CONTENTS[number % len(CONTENTS)])
        for at in rng.integers(0, len(content), 4):
            content[at] = rng.integers(256)
        hear([bytes(content)], "ENCODING_UNSPECIFIED", 0, 1)
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_MEMORY
