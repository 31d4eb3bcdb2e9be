"""Every limit has a test that passes it: which one, checked against the code, and those that stand nowhere else."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import dataclasses
import re
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from asr.errors import AudioError, ConfigError
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.access import AccessConfig
from services.recognizer.audio_in import AudioLimitError, StreamDecoder
from services.recognizer.bundles import Served, Shadow
from services.recognizer.config import ServerConfig
from services.recognizer.keys import MAX_FILE_BYTES, read_keys
from services.recognizer.phrases import MAX_SET_BYTES, PhraseStore
from services.recognizer.quotas import Quotas
from services.recognizer.session import SessionConfig
from services.recognizer.shadow import MOST_WAITING, ShadowListener
from services.recognizer.status import MAX_SENTENCE, status_of
from tests.services.conftest import ToneRecognizer, ToneStream, linear16, serving, tones
from tests.services.crashing import ROOT

HERE = "test_limits.py"
TESTS = {
    "ServerConfig.max_rtf": ("test_swap.py", "test_a_bad_bundle_is_refused_and_the_old_one_stays"),
    "ServerConfig.max_slowdown": ("test_swap.py", "test_a_bad_bundle_is_refused_and_the_old_one_stays"),
    "ServerConfig.max_batch": (
        "test_pipeline.py",
        "test_what_waits_while_a_worker_is_busy_is_taken_together_up_to_a_batch",
    ),
    "ServerConfig.max_streams": ("test_bounds.py", "test_overload_says_when_to_try_again"),
    "ServerConfig.max_audio_s": (
        "test_speech_service.py",
        "test_a_bad_stream_has_one_clear_status_and_no_neighbour_notices",
    ),
    "ServerConfig.max_message_bytes": ("test_speech_service.py", "test_unary_errors"),
    "ServerConfig.max_packet_bytes": (
        "test_speech_service.py",
        "test_a_bad_stream_has_one_clear_status_and_no_neighbour_notices",
    ),
    "ServerConfig.idle_timeout_s": ("test_speech_service.py", "test_an_idle_stream_is_ended"),
    "ServerConfig.max_ahead_s": (
        "test_bounds.py",
        "test_audio_that_comes_faster_than_allowed_is_read_no_faster_than_speech",
    ),
    "ServerConfig.max_behind_s": ("test_bounds.py", "test_audio_that_comes_too_slowly_is_ended"),
    "ServerConfig.stall_s": ("test_bounds.py", "test_a_worker_that_is_stuck_is_replaced_and_health_tells"),
    "ServerConfig.call_timeout_s": ("test_speech_service.py", "test_a_dripping_stream_is_ended"),
    "ServerConfig.drain_s": (HERE, "test_a_stream_that_outlasts_the_drain_is_cut_off_with_a_status"),
    "Quotas.streams": ("test_access.py", "test_streams_at_once_are_bounded_by_key_and_given_back"),
    "Quotas.requests_per_minute": ("test_access.py", "test_requests_per_minute_are_bounded_and_come_back"),
    "Quotas.audio_s_per_day": ("test_access.py", "test_audio_per_day_ends_a_stream_and_refuses_the_next"),
    "AccessConfig.failed_keys_per_minute": ("test_access.py", "test_wrong_keys_from_one_address_are_bounded"),
    "access.CALLERS": ("test_quotas.py", "test_recent_is_bounded_and_keeps_who_is_needed"),
    "audio_in.MAX_SILENT_BYTES": ("test_audio_in.py", "test_endless_bytes_without_audio_are_refused"),
    "keys.KEYS_PER_NAME": ("test_keys.py", "test_expired_keys_make_room_for_new_ones"),
    "keys.MAX_FILE_BYTES": (HERE, "test_a_file_of_keys_is_bounded"),
    "messages.MAX_ALTERNATIVES": (
        "test_speech_service.py",
        "test_a_bad_stream_has_one_clear_status_and_no_neighbour_notices",
    ),
    "messages.MAX_USER": ("test_storing.py", "test_consent_that_makes_no_sense"),
    "pcm.MAX_WAV_HEADER_BYTES": (HERE, "test_a_wav_header_is_bounded"),
    "phrases.MAX_SETS": ("test_phrases.py", "test_a_damaged_set_is_one_sentence_and_a_full_store_says_so"),
    "phrases.MAX_SET_BYTES": (HERE, "test_a_stored_set_is_bounded"),
    "phrases.MAX_IN_REQUEST": (
        "test_phrases.py",
        "test_a_request_with_too_many_phrases_or_an_unknown_set_is_refused",
    ),
    "pipeline.MAX_WAITING_BYTES": ("test_pipeline.py", "test_a_caller_who_sends_faster_than_is_heard_is_held_back"),
    "shadow.MOST_WAITING": (HERE, "test_streams_that_wait_for_the_shadow_are_bounded_and_counted"),
    "status.MAX_SENTENCE": (HERE, "test_a_status_is_bounded"),
    "server.max_metadata_size": ("test_bounds.py", "test_metadata_is_bounded"),
    "audio_in.bytes of a call": (HERE, "test_bytes_of_a_call_are_bounded_whatever_they_hold"),
}
MODULES = (
    "access", "admin", "audio_in", "bundles", "config", "container", "interceptors", "keys", "messages", "pcm",
    "phrases", "pipeline", "quotas", "server", "session", "shadow", "speech", "status", "turn",
)  # fmt: skip
NO_LIMITS = {"admin.MOST_FOLLOW_S"}
"""Constants with such a name that bound nothing that a caller sends or holds."""
CONFIG = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)


def limits() -> set[str]:
    """All limits, as the code has them."""
    bounding = re.compile(r"max_.*|.*_timeout_s|stall_s|drain_s")
    found = {
        f"ServerConfig.{field.name}" for field in dataclasses.fields(ServerConfig) if bounding.fullmatch(field.name)
    }
    found |= {f"Quotas.{field.name}" for field in dataclasses.fields(Quotas)}
    found |= {f"AccessConfig.{field.name}" for field in dataclasses.fields(AccessConfig) if "per_" in field.name}
    for module in MODULES:
        for node in ast.parse((ROOT / f"services/recognizer/{module}.py").read_text(encoding="utf-8")).body:
            for target in node.targets if isinstance(node, ast.Assign) else ():
                if isinstance(target, ast.Name) and re.fullmatch(r"(MAX|MOST)_\w+|CALLERS|\w+_PER_NAME", target.id):
                    found.add(f"{module}.{target.id}")
    return found - NO_LIMITS


def test_every_limit_is_listed_with_its_test() -> None:
    assert limits() <= TESTS.keys(), "name the test that passes the limit"


@pytest.mark.parametrize("limit", TESTS)
def test_the_test_of_each_limit_exists(limit: str) -> None:
    file, name = TESTS[limit]
    tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in names
    assert limit in limits() or "." in limit


async def test_a_stream_that_outlasts_the_drain_is_cut_off_with_a_status() -> None:
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(drain_s=0.3))
        async with grpc.aio.insecure_channel(address) as channel:
            call = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize()
            streaming = pb.StreamingRecognitionConfig(config=CONFIG, interim_results=True)
            await call.write(pb.StreamingRecognizeRequest(streaming_config=streaming))
            await call.write(pb.StreamingRecognizeRequest(audio_content=linear16(tones("one"))))
            assert (await call.read()).results
            draining = asyncio.create_task(stack.aclose())
            assert await call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            await draining


def test_a_file_of_keys_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with file.open("wb") as sparse:
        sparse.truncate(MAX_FILE_BYTES + 1)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=f"has more than {MAX_FILE_BYTES} bytes"):
        read_keys(file)


def test_a_stored_set_is_bounded(tmp_path: Path) -> None:
    store = PhraseStore(tmp_path)
    large = pb.PhraseSet(name="large", phrases=[pb.Phrase(value="x" * (MAX_SET_BYTES + 1))])
    with pytest.raises(ConfigError, match=f"at most {MAX_SET_BYTES}"):
        store.put("ann", large)
    assert store.names("ann") == {}


def test_a_wav_header_is_bounded() -> None:
    decoder = StreamDecoder("LINEAR16", 0, 1, 10.0)
    with pytest.raises(AudioError, match="longer than 65536 bytes"):
        decoder.feed(b"RIFF\xff\xff\xff\x7fWAVELIST\x00\x00\x01\x00")


def test_bytes_of_a_call_are_bounded_whatever_they_hold() -> None:
    decoder = StreamDecoder("LINEAR16", 0, 1, 0.1)
    header = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\x02\0\0\0"
    decoder.feed(header + bytes(2))

    def pour() -> None:
        for _ in range(100):  # behind the samples that the header announces, so that they are not heard
            decoder.feed(bytes(65_536))

    with pytest.raises(AudioLimitError, match="more bytes came than"):
        pour()


def test_a_status_is_bounded() -> None:
    code, sentence = status_of(ConfigError("language_code " + "x" * 100_000))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(sentence) <= MAX_SENTENCE + 4


def test_streams_that_wait_for_the_shadow_are_bounded_and_counted() -> None:
    class Held(ToneRecognizer):
        go = threading.Event()

        def advance(self, heard: list[tuple[ToneStream, np.ndarray, bool]], costs: object = None) -> None:
            self.go.wait(20)
            super().advance(heard, costs)

    heard: list[bool] = []
    listener, shadow = ShadowListener(heard.append), Shadow()
    candidate = Served(Held(), "candidate")
    for _ in range(MOST_WAITING + 3):
        listener.listen(candidate, tones("one"), "one", shadow, SessionConfig())
    assert shadow.left_out == 3
    Held.go.set()
    listener._pool.shutdown(wait=True)
    assert (shadow.utterances, shadow.changed) == (MOST_WAITING, 0)


class Wedge(ToneRecognizer):
    """Throws, or hangs, as long as it is told to."""

    def __init__(self) -> None:
        self.throws = False
        self.go = threading.Event()
        self.go.set()

    def advance(self, heard: list[tuple[ToneStream, np.ndarray, bool]], costs: object = None) -> None:
        if self.throws:
            raise FloatingPointError("weights that are not finite")
        self.go.wait(20)
        super().advance(heard, costs)


async def words(address: str) -> str:
    request = pb.RecognizeRequest(config=CONFIG, audio=pb.RecognitionAudio(content=linear16(tones("one two"))))
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await speech_pb2_grpc.SpeechStub(channel).Recognize(request)
    return str(answer.results[0].alternatives[0].transcript)


async def test_a_model_that_throws_and_one_that_stalls_fail_who_was_with_them_and_nobody_after() -> None:
    model = Wedge()
    async with serving(model, threads=1, stall_s=0.4) as address:
        assert await words(address) == "one two"
        model.throws = True
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError, match="the server failed; its log has the cause") as caught:
                await words(address)
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert "finite" not in caught.value.details()
        model.throws = False
        assert await words(address) == "one two"
        model.go.clear()
        with pytest.raises(grpc.aio.AioRpcError, match="send the audio again") as caught:
            await words(address)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        model.go.set()
        assert await words(address) == "one two"


@pytest.mark.parametrize("encoding", ["LINEAR16", "FLAC"])
async def test_a_caller_that_vanishes_in_the_middle_leaves_nothing(encoding: str) -> None:
    from services.dengar.v1 import admin_pb2, admin_pb2_grpc
    from tests.services.conftest import encoded

    samples = tones("one two three four")
    data = linear16(samples) if encoding == "LINEAR16" else encoded(samples, 16_000, "FLAC")
    rate_hz = 16_000 if encoding == "LINEAR16" else 0
    config = pb.RecognitionConfig(encoding=encoding, sample_rate_hertz=rate_hz)

    async def streams(admin: admin_pb2_grpc.AdminStub) -> int:
        return int((await admin.GetStatus(admin_pb2.GetStatusRequest())).live.streams)

    async def until(count: int, admin: admin_pb2_grpc.AdminStub) -> None:
        async with asyncio.timeout(20):
            while await streams(admin) != count:
                await asyncio.sleep(0.02)

    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        admin = admin_pb2_grpc.AdminStub(channel)
        vanishing = grpc.aio.insecure_channel(address)
        call = speech_pb2_grpc.SpeechStub(vanishing).StreamingRecognize()
        streaming = pb.StreamingRecognitionConfig(config=config)
        await call.write(pb.StreamingRecognizeRequest(streaming_config=streaming))
        await call.write(pb.StreamingRecognizeRequest(audio_content=data[: len(data) // 2]))
        await until(1, admin)
        await vanishing.close(None)
        await until(0, admin)
        async with asyncio.timeout(20):
            while any(thread.name == "container-decoder" for thread in threading.enumerate()):
                await asyncio.sleep(0.02)
        assert await words(address) == "one two"
