"""Streams over a connection that is cut, through a wire of our own to a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from asr.errors import AudioError
from services.client import AsyncClient, Client, Options, Reconnect, SpeechServiceError, async_microphone
from services.client.errors import SEND_CUT_OFF, error_of
from tests.services.conftest import linear16, tones

RAW = Options(encoding="LINEAR16", sample_rate_hz=16_000)
SAMPLES = tones("one two three")
DATA = linear16(SAMPLES)
SIZE = 3200
PIECES = [DATA[start : start + SIZE] for start in range(0, len(DATA), SIZE)]
QUICK = Reconnect(first_pause_s=0.05, longest_pause_s=0.1)


class Wire:
    """Forwards a port to a server until it is cut; the next connection is whole again."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.partition(":")
        self._port = int(port)
        self._open: list[asyncio.StreamWriter] = []
        self.address = ""
        self.connections = 0

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection(self._host, self._port)
        self._open += [writer, back]
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    @staticmethod
    async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    @contextlib.asynccontextmanager
    async def stretched(self) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.cut()
            server.close()


@pytest.fixture
async def wire(address: str) -> AsyncIterator[Wire]:
    async with Wire(address).stretched() as made:
        yield made


async def spoken(wire: Wire, cuts: int) -> AsyncIterator[bytes]:
    """The audio, with cuts of the wire spread over it."""
    at = {len(PIECES) * (cut + 1) // (cuts + 1) for cut in range(cuts)}
    for place, piece in enumerate(PIECES):
        if place in at:
            await asyncio.sleep(0.2)  # so that something has been sent
            wire.cut()
        yield piece


@pytest.mark.parametrize("cuts", [1, 3])
async def test_a_stream_begins_anew_with_all_its_audio(wire: Wire, cuts: int) -> None:
    async with AsyncClient(wire.address) as client:
        results = [result async for result in client.stream(spoken(wire, cuts), RAW, reconnect=QUICK)]
    assert [result.text for result in results if result.is_final] == ["one two three"]
    assert results[-1].audio_s == pytest.approx(len(SAMPLES) / 16_000)
    assert sum(result.restarted for result in results) >= 1
    assert wire.connections > cuts


async def test_the_blocking_client_does_so_too(wire: Wire) -> None:
    loop = asyncio.get_running_loop()

    def pieces() -> Iterator[bytes]:
        for place, piece in enumerate(PIECES):
            if place == len(PIECES) // 2:
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop).result()
                loop.call_soon_threadsafe(wire.cut)
            yield piece

    def use() -> list[str]:
        with Client(wire.address) as client:
            return [result.text for result in client.stream(pieces(), RAW, reconnect=QUICK) if result.is_final]

    assert await asyncio.to_thread(use) == ["one two three"]
    assert wire.connections > 1


async def test_without_it_a_cut_is_the_end(wire: Wire) -> None:
    async with AsyncClient(wire.address) as client:
        with pytest.raises(SpeechServiceError, match="try again") as caught:
            [result async for result in client.stream(spoken(wire, 1), RAW)]
    assert caught.value.connection_lost


@pytest.mark.parametrize(
    ("code", "details", "lost"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", True),
        (grpc.StatusCode.INTERNAL, SEND_CUT_OFF, True),
        (grpc.StatusCode.INTERNAL, "the model failed", False),
        (grpc.StatusCode.INVALID_ARGUMENT, "no such language", False),
    ],
)
def test_which_errors_are_tried_again(code: grpc.StatusCode, details: str, lost: bool) -> None:
    error = error_of(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details), "here:1")
    assert error.connection_lost is lost
    assert Reconnect().gives_up(error, 1, too_long=False) is not lost


async def test_what_is_wrong_with_the_call_is_not_tried_again(wire: Wire) -> None:
    async with AsyncClient(wire.address) as client:
        with pytest.raises(SpeechServiceError, match="language"):
            [result async for result in client.stream(spoken(wire, 0), Options(language="xx"), reconnect=QUICK)]
    assert wire.connections == 1


async def test_it_gives_up_where_nobody_answers_and_where_too_much_was_said(wire: Wire) -> None:
    few = Reconnect(attempts=2, first_pause_s=0.05, longest_pause_s=0.05)
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(SpeechServiceError, match="no server answers"):
            [result async for result in client.stream(spoken(wire, 0), RAW, reconnect=few)]
    short = Reconnect(first_pause_s=0.05, max_bytes=2 * SIZE)
    async with AsyncClient(wire.address) as client:
        with pytest.raises(SpeechServiceError):
            [result async for result in client.stream(spoken(wire, 1), RAW, reconnect=short)]


async def test_what_the_source_raises_is_raised(wire: Wire) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield PIECES[0]
        raise AudioError("the microphone was pulled out")

    async with AsyncClient(wire.address) as client:
        with pytest.raises(AudioError, match="pulled out"):
            [result async for result in client.stream(broken(), RAW, reconnect=QUICK)]


async def test_the_microphone_for_asyncio(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samples.raw").write_bytes(np.rint(SAMPLES * 32_767).astype("<i2").tobytes())
    recorder = tmp_path / "arecord"
    recorder.write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path}/samples.raw\n")
    recorder.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with AsyncClient(address) as client:
        heard = [result async for result in client.stream(async_microphone(asyncio.Event()), RAW)]
    assert heard[-1].text == "one two three"
    stop = asyncio.Event()
    stop.set()
    assert [chunk async for chunk in async_microphone(stop)] == []
