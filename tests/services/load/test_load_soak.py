"""The behaviours against a real server, and what the soak makes of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asr.bundle import load_bundle
from services.load.behaviours import BEHAVIOURS, Line, Tally, run
from services.load.server import Running
from services.load.soak import Soak, Swaps, soak
from services.load.trend import Trend, trend
from services.load.twins import twin_of
from services.recognizer.config import server_config
from services.recognizer.server import Server
from tests.services.conftest import ToneRecognizer, ToneVoice, linear16, serving, tones


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
async def test_each_behaviour_ends_as_it_may(behaviour) -> None:
    async with serving(max_streams=8, max_behind_s=5.0, idle_timeout_s=1.0) as address:
        line = Line(address)
        tally = Tally()
        for seed in range(4 if behaviour.name in ("garbles", "sends junk", "sends a file") else 1):
            await run(behaviour, line, linear16(tones("one", tail_s=0.1)), np.random.default_rng(seed), tally)
        await line.close()
    assert tally.unexpected == 0, tally.statuses
    assert sum(tally.statuses.values()) == tally.calls > 0
    assert tally.messages > 0 or behaviour.name in ("garbles", "vanishes")


class Named(ToneRecognizer):
    def __init__(self, name: str) -> None:
        self.bundle_hash = name


@pytest.fixture
async def swappable() -> AsyncIterator[str]:
    """A server that loads any bundle but "missing"."""
    config = server_config(port=0, drain_s=0.0, threads=2, max_streams=16, idle_timeout_s=3.0, interim_interval_ms=0)
    server = Server(Named("first"), config, Named, name="first", voice=ToneVoice())
    port = await server.start()
    yield f"127.0.0.1:{port}"
    await server.drain()


async def test_a_soak_counts_what_came_and_leaves_nothing_behind(swappable: str) -> None:
    swaps = Swaps(("first", "second"), 0.3)
    found = await soak(Running(swappable, os.getpid(), "tones"), [tones("two three")], 2.0, 6, swaps=swaps)
    assert found.unexpected == 0, found.behaviours
    assert found.faults == []
    assert found.swaps["PROMOTED"] >= 2
    assert set(found.swaps) == {"PROMOTED"}
    assert found.messages == sum(tally.messages for tally in found.behaviours.values()) > 0
    assert found.to_json()["unexpected"] == 0


async def test_a_server_that_fails_is_noticed() -> None:
    async with serving(max_streams=16, max_audio_s=0.5) as address:
        with pytest.raises(grpc.aio.AioRpcError):  # not even the first query is answered
            await soak(Running(address, os.getpid(), "tones"), [tones("two three")], 1.0, 2)


def test_what_must_not_be_is_said() -> None:
    rising = Trend(per_hour=50e6, low=40e6, high=60e6, level=500e6, blocks=20)
    found = Soak(behaviours={"speaks": Tally(unexpected=2)}, streams_left=1, growth=rising)
    assert [fault.split()[0] for fault in found.faults] == ["2", "1", "an", "memory"]
    assert Soak(answered_after=True, growth=Trend(5e6, -1e6, 9e6, 500e6, 20)).faults == []


@given(st.floats(-1e6, 1e6), st.integers(0, 2**32 - 1))
def test_a_trend_is_that_of_the_readings_after_the_warm_up(slope: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hours = np.arange(240) * 5 / 3600
    readings = 1e8 + slope * hours + rng.normal(0, 1e3, 240)
    readings[:60] = rng.normal(3e7, 1e7, 60)  # the warm-up
    readings[rng.integers(60, 240, 8)] += 5e7  # spikes, as when two bundles are loaded
    found = trend(readings.tolist(), 5.0)
    assert found is not None
    assert found.blocks == 15
    assert found.per_hour == pytest.approx(slope, abs=2e4)
    assert found.low <= found.per_hour <= found.high
    # Another estimator, the median of medians by Siegel, agrees.
    medians = [np.median(readings[start : start + 12]) for start in range(60, 240, 12)]
    assert found.per_hour == pytest.approx(
        stats.siegelslopes(medians, hours[60:240:12])[0], abs=2e4
    )  # another estimator


def test_a_trend_needs_readings() -> None:
    assert trend([1.0] * 12, 5.0) is None


def test_a_twin_is_another_bundle_of_the_same_model(tiny_bundle, tmp_path) -> None:
    twin = load_bundle(twin_of(tiny_bundle, tmp_path))
    original = load_bundle(tiny_bundle)
    assert twin.hash != original.hash
    assert (twin.tokens.symbols, twin.model) == (original.tokens.symbols, original.model)
