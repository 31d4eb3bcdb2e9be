"""Simulated traffic: what is planted is noticed, and nothing else; the same seed gives the same; the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from asr.errors import ConfigError, InputError
from services.cli.main import main
from services.learner.config import LearnerConfig
from services.learner.simulate import SimulateConfig, Traffic, simulate
from services.learner.simulate_page import to_markdown, to_svg
from services.learner.simulate_pool import Pool, read_pool, write_pool

SHORT = SimulateConfig(
    days=1, queries_a_day=80, users=60, name_day=0.25, name_first=80.0, corrected=0.4, noise_day=None,
    flood_day=0.0, flood_days=0.5, flood_a_day=60,
)  # fmt: skip


@pytest.fixture(scope="module")
def pool() -> Pool:
    return read_pool()


def test_the_shipped_pool_is_of_real_recognitions(pool: Pool) -> None:
    assert pool.source["recordings"] == len(pool.plain[None]) == len(pool.plain[5.0])
    assert all(len(levels[None]) == len(pool.source["voices"]) for levels in pool.names.values())
    heard = {item.transcript for item in pool.names["olga kurylenko"][None]}
    assert not any("kurylenko" in text for text in heard)
    quiet, noisy = (sum(item.confidence for item in pool.plain[level]) for level in (None, 5.0))
    assert noisy < quiet


def test_a_pool_is_read_as_it_was_written(pool: Pool, tmp_path: Path) -> None:
    items = [item for group in (pool.plain, *pool.names.values()) for items in group.values() for item in items]
    write_pool(tmp_path / "pool.jsonl", pool.source, items)
    assert read_pool(tmp_path / "pool.jsonl") == pool
    (tmp_path / "bad.jsonl").write_text("{}\n{}\n")
    with pytest.raises(InputError, match="make one with dengar simulate --measure"):
        read_pool(tmp_path / "bad.jsonl")


def test_traffic_has_a_rhythm_and_follows_its_seed(pool: Pool) -> None:
    config = replace(SHORT, queries_a_day=2400, name_day=None, flood_day=None)

    def day(seed: int) -> list[list[tuple[object, ...]]]:
        traffic = Traffic(replace(config, seed=seed), pool)
        return [traffic.hour(hour) for hour in range(24)]

    one, same, other = day(1), day(1), day(2)
    assert one == same != other
    assert len(one[3]) < len(one[18]) / 3
    assert 2000 < sum(map(len, one)) < 2800


def test_what_is_planted_is_noticed_and_a_flood_is_not(pool: Pool, tmp_path: Path) -> None:
    outcome = simulate(SHORT, pool, LearnerConfig(), tmp_path)
    assert outcome.name == "olga kurylenko"
    assert outcome.name_watched_h is not None
    assert outcome.name_approved_h is not None
    assert outcome.name_watched_h < outcome.name_approved_h < 18
    assert "kurylenko" in outcome.text
    assert outcome.flood_status == "watched"
    assert [name for name in outcome.false_names if name["status"] != "proposed"] == []
    assert outcome.jobs
    assert outcome.false_alarms == []
    assert "olga kurylenko" in to_markdown([outcome], pool)
    assert to_svg(outcome).startswith("<?xml")


def test_the_command_prints_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("days=1", "queries_a_day=48", "name_day=null", "noise_day=null", "flood_day=null")
    arguments = [part for setting in settings for part in ("--set", setting)]
    table = tmp_path / "table.md"
    assert main(["simulate", *arguments, "--nothing", "0", "--json", "-t", str(table)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["planted"]["queries"] > 20
    assert result["false_alarms"] == 0
    assert table.read_text().startswith("# A simulated month: 1 days")


def test_what_the_pool_has_not_cannot_be_planted(pool: Pool) -> None:
    with pytest.raises(ConfigError, match="has the names olga kurylenko, chuck palahniuk"):
        Traffic(replace(SHORT, name="nobody"), pool)
