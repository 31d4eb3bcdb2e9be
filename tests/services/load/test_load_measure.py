"""The search for the highest load, and one real level against a real server in this process."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import DengarError
from services.load.alternatives import Alternatives, bare_model
from services.load.measure import Level, Promise, best, measure, search
from services.load.memory import memory_of_streams
from services.load.server import Running, scrape
from services.load.streams import Timings, run_streams
from tests.services.conftest import serving, tones


def level(streams: int, limit: int) -> Level:
    return Level(streams, 1, 1.0, None, None, None, None, None, 0.0, {}, 0.0, 0.0, 0.0, 0, streams <= limit)


@given(limit=st.integers(0, 500), first=st.integers(1, 8), most=st.integers(8, 400))
def test_the_search_ends_within_a_tenth_of_the_highest_that_holds(limit: int, first: int, most: int) -> None:
    levels = search(lambda streams: level(streams, limit), first, most)
    top = best(levels)
    assert len({each.streams for each in levels}) == len(levels), "no level is measured twice"
    if limit < first:
        assert top is None or top.streams <= limit
        return
    assert top is not None
    truth = min(limit, most)
    assert top.streams <= truth
    assert truth - top.streams <= max(1, top.streams // 10)


async def test_streams_are_paced_and_see_their_words() -> None:
    queries = [tones("one two"), tones("three", tail_s=0.1)]
    timings = Timings()
    async with serving(max_streams=8) as address:
        began = asyncio.get_running_loop().time()
        await run_streams(address, queries, 3, 1.0, timings)
        took_s = asyncio.get_running_loop().time() - began
    assert timings.errors == {}
    assert timings.queries >= 3
    assert timings.sent_s == pytest.approx(timings.audio_s)
    assert took_s >= min(len(query) for query in queries) / 16_000  # in real time, not at once
    assert all(latency >= 0 for latency in timings.final)
    assert len(timings.taken_back) == len(timings.stability) > 0
    assert not any(timings.taken_back), "the tone recogniser takes nothing back"


async def test_refusals_are_counted_by_status() -> None:
    timings = Timings()
    async with serving(max_streams=1) as address:
        await run_streams(address, [tones("one two three")], 4, 1.5, timings)
    assert timings.queries >= 1
    assert "RESOURCE_EXHAUSTED" in timings.errors
    assert set(timings.errors) <= {"RESOURCE_EXHAUSTED", "CUT_OFF"}


async def test_a_level_tells_costs_and_whether_the_promise_was_kept() -> None:
    async with serving(max_streams=8) as address:
        server = Running(address, os.getpid(), "tones")

        def one(promise: Promise) -> Level:
            return measure(server, [tones("one")], 2, 1.0, promise)

        found = await asyncio.to_thread(one, Promise(final_p95_s=30.0, behind=1.0))
        missed = await asyncio.to_thread(one, Promise(final_p95_s=0.0))
    assert found.kept
    assert not missed.kept
    assert found.queries >= 2
    assert found.cpu_per_audio_s > 0
    assert found.memory_bytes > 2**20
    assert found.final is not None
    assert found.final[0] <= found.final[1] <= found.final[2]


def test_scrape_reads_prometheus_text(httpserver_text) -> None:
    url = httpserver_text('# HELP a b\n# TYPE a counter\na_total 3.0\nb{stage="x y"} 1e-3\nc 2 1712\n')
    assert scrape(url) == {"a_total": 3.0, 'b{stage="x y"}': 0.001, "c": 2.0}


def test_a_server_tells_its_processor_seconds_by_stage(httpserver_text) -> None:
    url = httpserver_text('dengar_processor_seconds_total{stage="model"} 2.5\ndengar_audio_seconds_total 9\n')
    assert Running("127.0.0.1:1", os.getpid(), "b", url).stages() == {"model": 2.5}
    assert Running("127.0.0.1:1", os.getpid(), "b").stages() == {}


async def test_without_interim_results_nothing_but_the_final_is_timed() -> None:
    async with serving(max_streams=8) as address:
        server = Running(address, os.getpid(), "tones")
        found = await asyncio.to_thread(measure, server, [tones("one")], 2, 1.0, Promise(30.0, 1.0), interim=False)
    assert found.kept
    assert not found.interim_wanted
    assert found.final is not None
    assert found.interim is None
    assert found.gap is None
    assert found.to_json()["stages"] == {}


async def test_memory_is_that_of_open_streams_early_and_late() -> None:
    async with serving(max_streams=8) as address:
        server = Running(address, os.getpid(), "tones")
        found = await memory_of_streams(server, [tones("one two three")], 3, 5.0)
    assert (found.streams, found.long_s) == (3, 5.0)
    assert found.per_stream == pytest.approx((found.after_short - found.idle) / 3)
    assert found.to_json()["per_stream_minute"] == pytest.approx((found.after_long - found.after_short) / 3 / 2 * 60)


async def test_a_stream_that_the_server_ends_is_an_error_and_no_figure() -> None:
    async with serving(max_streams=8, max_audio_s=3.5) as address:
        with pytest.raises(DengarError, match="the server heard"):
            await memory_of_streams(Running(address, os.getpid(), "tones"), [tones("one two three")], 1, 10.0)


def test_ratios_are_of_processor_time() -> None:
    def cost(seconds: float) -> Level:
        return replace(level(4, 4), cpu_per_audio_s=seconds)

    found = Alternatives(4, cost(0.02), cost(0.015), cost(0.03), cost(0.2), 0.01)
    assert found.ratios() == pytest.approx(
        {
            "batching_off_over_served": 1.5,
            "torch_float_over_served": 10.0,
            "served_over_bare_model": 2.0,
            "final_only_over_bare_model": 1.5,
        }
    )
    assert found.to_json()["torch_float"]["cpu_per_audio_s"] == 0.2


def test_the_bare_model_costs_something(tiny_bundle) -> None:
    assert 0 < bare_model(tiny_bundle, [tones("one two")] * 2) < 10
