"""The behaviours against a real server, and what the soak makes of them."""

from __future__ import annotations

import os

import grpc
import numpy as np
import pytest

from services.dengar.v1 import speech_pb2_grpc
from services.load.behaviours import BEHAVIOURS, Tally, run
from services.load.server import Running
from services.load.soak import _slope, soak
from tests.services.conftest import linear16, serving, tones


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
async def test_each_behaviour_ends_as_it_may(behaviour) -> None:
    async with serving(max_streams=8, max_behind_s=5.0) as address, grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.SpeechStub(channel)
        tally = Tally()
        for seed in range(4 if behaviour.name == "garbles" else 1):
            await run(behaviour, stub, linear16(tones("one", tail_s=0.1)), np.random.default_rng(seed), tally)
    assert tally.unexpected == 0, tally.statuses
    assert sum(tally.statuses.values()) == tally.calls > 0
    assert tally.messages > 0 or behaviour.name in ("garbles", "vanishes")


async def test_a_soak_counts_what_came_and_leaves_nothing_behind() -> None:
    async with serving(max_streams=16) as address:
        found = await soak(Running(address, os.getpid(), "tones"), [tones("two three")], 2.0, 6)
    assert found.unexpected == 0, found.behaviours
    assert found.streams_left == 0
    assert found.answered_after
    assert found.messages == sum(tally.messages for tally in found.behaviours.values()) > 0
    assert found.to_json()["unexpected"] == 0


async def test_a_server_that_fails_is_noticed() -> None:
    async with serving(max_streams=16, max_audio_s=0.5) as address:
        with pytest.raises(grpc.aio.AioRpcError):  # not even the first query is answered
            await soak(Running(address, os.getpid(), "tones"), [tones("two three")], 1.0, 2)


def test_the_slope_is_that_of_the_second_half() -> None:
    rising = [1000 + 10 * number for number in range(40)]
    assert _slope(rising) == pytest.approx(10 * 720)
    assert _slope([5000] * 20 + [100] * 20) == pytest.approx(0.0)
    assert _slope([1, 2]) == 0.0
