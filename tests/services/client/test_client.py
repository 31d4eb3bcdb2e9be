"""The typed clients against a real server on loopback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

import services.client
from asr.errors import AudioError, ConfigError
from services.client import AsyncClient, Client, Options, SpeechServiceError, open_audio, paced
from tests.services.conftest import encoded, linear16, serving, tones

RAW = Options(encoding="LINEAR16", sample_rate_hz=16_000)
SAMPLES = tones("one two three")


def pieces(data: bytes, size: int = 3200) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def in_thread(function: object) -> object:
    return await asyncio.to_thread(function)  # type: ignore[arg-type]


async def test_recognize_takes_files_and_samples(address: str) -> None:
    def use() -> None:
        with Client(address) as client:
            wav = client.recognize(encoded(SAMPLES, 16_000, "WAV"))
            assert wav.text == "one two three"
            assert [word.word for word in wav.alternatives[0].words] == ["one", "two", "three"]
            assert wav.alternatives[0].words[0].start_s == pytest.approx(0.3)
            assert wav.alternatives[0].words[0].confidence == 0.75
            assert (wav.bundle_hash, wav.audio_s) == ("tones", pytest.approx(len(SAMPLES) / 16_000))
            for samples in (SAMPLES, np.rint(SAMPLES * 32_767).astype(np.int16), SAMPLES.astype(np.float64)):
                assert client.recognize(samples, RAW).text == "one two three"
            plain = Options(word_times=False, word_confidence=False, max_alternatives=2)
            result = client.recognize(encoded(SAMPLES, 16_000, "FLAC"), plain)
            assert [len(each.words) for each in result.alternatives] == [0, 0]

    await in_thread(use)


async def test_stream_yields_interim_results_and_one_final(address: str) -> None:
    def use() -> None:
        with Client(address) as client:
            results = list(client.stream(pieces(linear16(SAMPLES)), RAW))
        texts = [result.text for result in results]
        assert texts[-1] == "one two three"
        assert len(texts) > 1
        assert all(texts[-1].startswith(text) for text in texts)
        assert [result.is_final for result in results] == [False] * (len(results) - 1) + [True]
        assert 0 < results[0].stability <= 1
        assert results[-1].bundle_hash == "tones"

    await in_thread(use)


async def test_stream_ends_at_the_end_of_an_utterance_and_stops_the_source(address: str) -> None:
    closed = threading.Event()

    def endless() -> Iterator[np.ndarray]:
        try:
            yield tones("four one")
            while True:
                yield np.zeros(1600, np.float32)
                time.sleep(0.001)
        finally:
            closed.set()

    def use() -> None:
        with Client(address) as client:
            results = list(client.stream(endless(), RAW, interim_results=False, single_utterance=True))
        assert [result.end_of_utterance for result in results] == [True, False]
        assert results[-1].text == "four one"

    await in_thread(use)


async def test_leaving_a_stream_early_cancels_it(address: str) -> None:
    def use() -> None:
        with Client(address) as client:
            for result in client.stream(pieces(linear16(tones("one two three four one two"))), RAW):
                assert "one two three four one two".startswith(result.text)  # how far depends on the load
                break
            assert client.recognize(SAMPLES, RAW).text == "one two three"

    await in_thread(use)


async def test_what_the_source_raises_is_raised(address: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[bytes]:
        yield linear16(SAMPLES)
        raise AudioError("the microphone was pulled out")

    def use() -> None:
        with Client(address) as client, pytest.raises(AudioError, match="pulled out"):
            list(client.stream(broken(), RAW))

    await in_thread(use)
    assert not caplog.records

    async def broken_async() -> AsyncIterator[bytes]:
        for each in broken():
            yield each

    async with AsyncClient(address) as client:
        with pytest.raises(AudioError, match="pulled out"):
            [result async for result in client.stream(broken_async(), RAW)]


async def test_a_refusal_is_one_exception_of_one_sentence(address: str) -> None:
    def use() -> None:
        with Client(address) as client:
            with pytest.raises(SpeechServiceError, match="without audio") as caught:
                list(client.stream([], RAW))
            assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
            assert caught.value.exit_code == 2
            assert caught.value.__suppress_context__
            with pytest.raises(SpeechServiceError, match="not to be seen"):
                client.recognize(b"something else")
            with pytest.raises(ConfigError, match="known: LINEAR16"):
                client.recognize(b"", Options(encoding="WMA"))

    await in_thread(use)


async def test_the_async_client_does_the_same(address: str) -> None:
    async def source() -> AsyncIterator[bytes]:
        for piece in pieces(linear16(SAMPLES)):
            yield piece

    async with AsyncClient(address) as client:
        assert (await client.info()).encodings[0] == "LINEAR16"
        assert (await client.recognize(SAMPLES, RAW)).text == "one two three"
        results = [result async for result in client.stream(source(), RAW)]
        assert [result.text for result in results if result.is_final] == ["one two three"]
        with pytest.raises(SpeechServiceError, match="sample_rate_hertz"):
            [result async for result in client.stream(source(), Options(encoding="LINEAR16", sample_rate_hz=1))]


async def test_info(address: str) -> None:
    def use() -> None:
        with Client(address) as client:
            info = client.info()
        assert info.bundle_hash == "tones"
        assert info.languages == ("en-US",)
        assert info.max_audio_s == 300
        assert {"LINEAR16", "WEBM_OPUS"} <= set(info.encodings)

    await in_thread(use)


async def test_nobody_there() -> None:
    def use() -> None:
        with Client("127.0.0.1:1") as client:
            with pytest.raises(
                SpeechServiceError, match=r"no server answers at 127.0.0.1:1; start one with: dengar serve"
            ):
                client.info()
            with pytest.raises(SpeechServiceError, match="no server answers"):
                list(client.stream([linear16(SAMPLES)], RAW))

    await in_thread(use)


async def test_a_busy_server_is_asked_again() -> None:
    async with serving(max_streams=1) as address:

        def use() -> None:
            with Client(address) as client:
                release = threading.Event()
                started = threading.Event()

                def holding() -> Iterator[bytes]:
                    yield linear16(SAMPLES)
                    release.wait(5)

                def hold() -> None:
                    for _ in client.stream(holding(), RAW):
                        started.set()

                holder = threading.Thread(target=hold)
                holder.start()
                started.wait(5)
                threading.Timer(0.1, release.set).start()
                assert client.recognize(SAMPLES, RAW).text == "one two three"
                holder.join()

        await in_thread(use)


def test_files_are_sent_without_decoding(tmp_path: Path) -> None:
    for suffix, encoding in ((".flac", "FLAC"), (".mp3", "MP3"), (".bin", "")):
        path = tmp_path / f"query{suffix}"
        path.write_bytes(encoded(SAMPLES, 16_000, "FLAC"))
        assert open_audio(path).encoding == encoding
    path = tmp_path / "query.wav"
    path.write_bytes(encoded(SAMPLES, 16_000, "WAV"))
    file = open_audio(path)
    assert (file.encoding, file.sample_rate_hz, file.channels) == ("LINEAR16", 16_000, 1)
    with wave.open(str(path)) as reader:
        assert file.data == reader.readframes(10**9)
    assert file.duration_s == pytest.approx(len(SAMPLES) / 16_000)
    assert b"".join(file.chunks(0.1)) == file.data
    assert len(next(file.chunks(0.1))) == 3200
    path.write_bytes(encoded(SAMPLES, 16_000, "WAV", "PCM_24"))
    assert open_audio(path).encoding == ""
    truncated = encoded(SAMPLES, 16_000, "WAV")[:4000]
    path.write_bytes(truncated)
    assert open_audio(path).data == truncated
    path.write_bytes(b"")
    with pytest.raises(AudioError, match="is empty"):
        open_audio(path)
    with pytest.raises(AudioError, match="No such file"):
        open_audio(tmp_path / "absent.wav")


def test_pace() -> None:
    began = time.monotonic()
    assert list(paced([b"a", b"b", b"c"], 0.05)) == [b"a", b"b", b"c"]
    assert 0.15 <= time.monotonic() - began < 0.5


def test_public_names() -> None:
    assert services.client.__all__ == [
        "DEFAULT_ADDRESS", "Alternative", "AsyncClient", "AudioFile", "Client", "Forgotten", "Imported", "Info", "Name",
        "NamesClient", "Options", "Reconnect", "SpeechServiceError", "StreamResult", "Transcript", "Word",
        "async_microphone", "microphone", "open_audio", "paced",
    ]  # fmt: skip


def test_the_client_needs_no_decoder_and_no_model() -> None:
    heavy = (
        "soundfile soxr av onnxruntime numba kenlm scipy torch pydantic yaml grpc_health grpc_reflection grpc_status"
    )
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {heavy.split()!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import services.client, services.client.microphone
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
