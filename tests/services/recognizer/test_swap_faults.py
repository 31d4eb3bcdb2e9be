"""What becomes of a server when a swap goes wrong: killed in its middle, with a registry that is gone or damaged."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services.dengar.v1 import admin_pb2, admin_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from services.recognizer.config import server_config
from services.recognizer.server import Server
from services.registry import LIVE, Registry
from tests.services.conftest import ToneRecognizer, linear16, tones
from tests.services.crashing import served_process

CRASH_POINTS = ("swap.loaded", "swap.warmed", "swap.promoted")
CONFIG = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
QUERY = pb.RecognizeRequest(config=CONFIG, audio=pb.RecognitionAudio(content=linear16(tones("one two"))))


def answered_by(address: str) -> str:
    """The hash of the bundle that answers a query."""
    with grpc.insecure_channel(address) as channel:
        answer = speech_pb2_grpc.SpeechStub(channel).Recognize(QUERY, timeout=60)
    return answer.metadata.bundle_hash


def test_a_server_that_is_killed_while_swapping_serves_a_whole_bundle_when_it_is_back(
    tiny_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    for bundle in (tiny_bundle, other_bundle):
        shutil.copytree(bundle, registry.folder / bundle.name)
    registry.promote(tiny_bundle.name)
    turns = [other_bundle.name, tiny_bundle.name, other_bundle.name]
    serve = ("--registry", str(registry.folder), "--state", str(tmp_path / "state"))
    live = tiny_bundle.name
    # Each server is killed in its swap; the next starts from what it left. What they log goes to a full disk.
    full = {"stderr": "/dev/full"} if Path("/dev/full").exists() else {}
    traces = ("--traces", "/dev/full", "--log-level", "debug") if full else ()
    for point, wanted in zip(CRASH_POINTS, turns, strict=True):
        with served_process(*serve, *traces, point=point, **full) as (process, address):
            assert answered_by(address).startswith(live)
            registry.promote(wanted)
            assert process.wait(120) == -signal.SIGKILL, f"{point} was not reached"
        live = registry.live()
        assert live == wanted, "a server writes no alias"
    with served_process(*serve, *traces, **full) as (process, address):
        assert answered_by(address).startswith(live)
        process.terminate()
        assert process.wait(120) == 0


class Named(ToneRecognizer):
    def __init__(self, name: str) -> None:
        self.bundle_hash = name


class Followed:
    """A server that follows a registry whose bundles are empty folders, opened as the test wants."""

    def __init__(self, folder: Path) -> None:
        self.registry = folder / "registry"
        self.failing: list[Exception] = []
        for name in ("aaaa", "bbbb", "cccc"):
            (self.registry / name).mkdir(parents=True)
        self.point(b"aaaa")
        config = server_config(
            port=0, drain_s=0.0, threads=1, registry=str(self.registry), follow_s=0.01, state=str(folder)
        )
        self.server = Server(Named("aaaa"), config, self._load, name="aaaa")

    def point(self, content: bytes) -> None:
        """Lets the alias hold something."""
        (self.registry / ".new").write_bytes(content)
        (self.registry / ".new").replace(self.registry / LIVE)

    def _load(self, name: str) -> Named:
        if self.failing:
            raise self.failing.pop(0)
        return Named(Path(name).name)


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[tuple[Followed, str]]:
    found = Followed(tmp_path)
    port = await found.server.start()
    yield found, f"127.0.0.1:{port}"
    await found.server.drain()


async def serves(address: str, name: str) -> None:
    """Waits until a bundle is live; what answers must be one that is whole at any time."""
    async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(20):
        while True:
            answer = await speech_pb2_grpc.SpeechStub(channel).Recognize(QUERY)
            assert answer.results[0].alternatives[0].transcript == "one two"
            if answer.metadata.bundle_hash == name:
                return
            await asyncio.sleep(0.02)


async def complained(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Waits until a complaint is logged."""
    async with asyncio.timeout(20):
        while not any(text in record.getMessage() for record in caplog.records):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe\x00", "damaged"), (b"", "damaged"), (b"../../etc", "damaged"), (b"dddd", "no bundle called")],
    ids=["binary", "empty", "a path", "no such bundle"],
)
async def test_a_damaged_alias_is_told_once_and_what_is_served_stays(
    content: bytes, says: str, followed: tuple[Followed, str], caplog: pytest.LogCaptureFixture
) -> None:
    found, address = followed
    found.point(content)
    await complained(caplog, says)
    await serves(address, "aaaa")
    await asyncio.sleep(0.1)
    assert len([record for record in caplog.records if "not followed" in record.getMessage()]) == 1
    found.point(b"bbbb")
    await serves(address, "bbbb")


async def test_a_registry_that_is_gone_is_asked_again(
    followed: tuple[Followed, str], caplog: pytest.LogCaptureFixture
) -> None:
    found, address = followed
    away = found.registry.with_name("away")
    found.registry.rename(away)
    await complained(caplog, "the registry is not followed")
    await serves(address, "aaaa")
    away.rename(found.registry)
    found.point(b"bbbb")
    await serves(address, "bbbb")


async def test_a_bundle_that_cannot_be_read_is_tried_again_and_one_that_is_refused_is_not(
    followed: tuple[Followed, str], caplog: pytest.LogCaptureFixture
) -> None:
    found, address = followed
    found.failing = [OSError(5, "Input/output error"), OSError(5, "Input/output error")]
    found.point(b"bbbb")
    await serves(address, "bbbb")
    assert not found.failing
    found.failing = [RuntimeError("an operator that this engine does not know")]
    found.point(b"cccc")
    await complained(caplog, "cannot be loaded (RuntimeError)")
    await asyncio.sleep(0.1)
    await serves(address, "bbbb")
    found.point(b"aaaa")
    await serves(address, "aaaa")
    assert all("operator" not in record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)


async def test_a_registry_that_breaks_does_not_break_the_admin_service(followed: tuple[Followed, str]) -> None:
    found, address = followed
    shutil.rmtree(found.registry)
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_pb2_grpc.AdminStub(channel)
        found.failing = [ValueError("no such thing")]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin.Promote(admin_pb2.PromoteRequest(bundle="bbbb"))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await admin.Promote(admin_pb2.PromoteRequest(bundle="bbbb"))).live.hash == "bbbb"
