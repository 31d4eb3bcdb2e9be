"""What simulated months brought, as JSON, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asr.config import config_to_json
from services.learner.config import LearnerConfig
from services.learner.simulate import Outcome
from services.learner.simulate_pool import Pool


def to_json(outcomes: Sequence[Outcome], pool: Pool, learner: LearnerConfig) -> dict[str, Any]:
    """The first month with all it planted, then those with nothing planted."""
    nothing = outcomes[1:]
    days = sum(outcome.config.days for outcome in nothing)
    return {
        "pool": dict(pool.source),
        "pool_figures": pool_figures(pool),
        "learner": config_to_json(learner),
        "planted": _month(outcomes[0]),
        "nothing": [_month(outcome) for outcome in nothing],
        "nothing_days": days,
        "false_alarms": sum(len(outcome.false_alarms) for outcome in outcomes),
        "false_names": sum(len(outcome.false_names) for outcome in outcomes),
    }


def pool_figures(pool: Pool) -> list[dict[str, Any]]:
    """How well the recogniser that was measured does at each level: what the simulation rests on."""
    rows = []
    for group, levels in (("plain", pool.plain), *pool.names.items()):
        for level, items in levels.items():
            estimated = [item.snr_db for item in items if item.snr_db is not None]
            rows.append(
                {
                    "group": group,
                    "level_db": level,
                    "recordings": len(items),
                    "with_unknown": sum(bool(item.spans) for item in items),
                    "right": sum(item.said == item.transcript for item in items),
                    "confidence": round(sum(item.confidence for item in items) / len(items), 3),
                    "snr_db": round(sum(estimated) / len(estimated), 1) if estimated else None,
                }
            )
    return rows


def to_markdown(outcomes: Sequence[Outcome], pool: Pool) -> str:
    """Tables: what was planted and when it was noticed; what was told that was not so; what the pool is."""
    planted = outcomes[0]
    config = planted.config
    lines = [
        f"# A simulated month: {config.days} days, {planted.queries} queries, seed {config.seed}",
        "",
        "| planted | noticed | |",
        "|---|---|---|",
    ]
    if planted.name:
        grows = f"{config.name_first:g} queries on the first day, {config.name_growth:g} times as many on each next"
        proposed = f"{_after(planted.name_proposed_h)}, {planted.name_mentions} queries"
        lines += [
            f'| a name, "{planted.name}", from day {config.name_day:g} | watched | {_after(planted.name_watched_h)} |',
            f'| {grows} | proposed, as "{planted.text}" | {proposed} |',
            f"| | approved by itself | {_after(planted.name_approved_h)} |",
            f"| | job queued | {_after(planted.name_job_h)} |",
        ]
    if config.noise_day is not None:
        figures = ", ".join(dict.fromkeys(planted.noise_figures)) or "nothing"
        lines.append(
            f"| {config.noise_share:.0%} of the quiet queries move into cars, day {config.noise_day:g} | "
            f"alarm: {figures} | {_after(planted.noise_alarm_h)} |"
        )
    if config.flood_day is not None:
        lines.append(
            f"| one user, {config.flood_a_day} times a day the same name, days {config.flood_day:g} to "
            f"{config.flood_day + config.flood_days:g} | that name | {planted.flood_status or 'not even watched'} |"
        )
    lines += [
        "",
        "| month | queries | spans | false alarms | false names | names watched | processor seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        kind = "planted" if outcome is planted else "nothing"
        lines.append(
            f"| {kind}, seed {outcome.config.seed} | {outcome.queries} | {outcome.spans} | {_alarms(outcome)} | "
            f"{_names(outcome)} | {outcome.names.get('watched', 0)} | {outcome.seconds:.0f} |"
        )
    recordings, voices, bundle = (pool.source.get(name) for name in ("recordings", "voices", "bundle"))
    drawn = f"{recordings} recordings of ordinary queries, and of both names by {len(voices or ())} voices"
    lines += [
        "",
        f"Drawn from {drawn}, in all noises, as bundle {str(bundle)[:12]} recognised them:",
        "",
        "| | noise | recordings | whole query right | with unknown words | confidence | SNR as estimated |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in pool_figures(pool):
        level = "quiet" if row["level_db"] is None else f"car, {row['level_db']:g} dB"
        right, unknown = (f"{row[name] / row['recordings']:.0%}" for name in ("right", "with_unknown"))
        cells = (row["group"], level, row["recordings"], right, unknown, f"{row['confidence']:.2f}")
        lines.append(f"| {' | '.join(map(str, cells))} | {row['snr_db']} dB |")
    return "\n".join(lines) + "\n"


def to_svg(outcome: Outcome) -> str:
    """The month in three rows: queries with a name, share of unknown words, SNR; and when what was noticed."""
    import numpy as np
    from matplotlib.figure import Figure

    from asr import svg

    config = outcome.config
    days = np.arange(len(outcome.hours)) / 24
    with svg.style():
        figure = Figure(figsize=(7.2, 5.0), layout="constrained")
        top, middle, bottom = figure.subplots(3, 1, sharex=True)
        queries = _daily([hour["queries"] for hour in outcome.hours])
        top.plot(days, _daily([hour["named"] for hour in outcome.hours]), color=svg.COLOURS[1])
        top.set(ylabel="queries with\nthe names, 24 h")
        unknown = _daily([hour["unknown"] for hour in outcome.hours])
        middle.plot(days, 100 * unknown / np.maximum(queries, 1), color=svg.COLOURS[0])
        middle.set(ylabel="with unknown\nwords, %")
        snr = _daily([hour["snr_db"] * hour["queries"] for hour in outcome.hours]) / np.maximum(queries, 1)
        bottom.plot(days, snr, color=svg.COLOURS[2])
        bottom.set(ylabel="mean SNR, dB", xlabel="day", xlim=(0, config.days))
        marks: list[tuple[Any, float | None, float | None, str]] = [
            (top, config.name_day, outcome.name_watched_h, "watched"),
            (top, config.name_day, outcome.name_proposed_h, "proposed"),
            (top, config.name_day, outcome.name_approved_h, "approved"),
            (bottom, config.noise_day, outcome.noise_alarm_h, "alarm"),
        ]
        for colour, (axes, day, hours, label) in zip((5, 4, 2, 1), marks, strict=True):
            if day is not None and hours is not None:
                axes.axvline(day + hours / 24, color=svg.COLOURS[colour], label=f"{label}, after {hours:.0f} h")
        begins = ((top, config.flood_day, "flood"), (top, config.name_day, "name"), (bottom, config.noise_day, "noise"))
        for axes, day, label in begins:
            if day is not None:
                axes.axvline(day, color="black", linestyle=":", linewidth=0.9)
                axes.annotate(
                    f"{label} begins", (day, 1), xycoords=("data", "axes fraction"), fontsize=7, rotation=90, va="top",
                    ha="right",
                )  # fmt: skip
        for axes in (top, bottom):
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="center right" if axes is top else "center left", fontsize=7)
        return svg.document(figure)


def _month(outcome: Outcome) -> dict[str, Any]:
    values = {name: getattr(outcome, name) for name in Outcome.__slots__ if name not in ("hours", "config")}
    return {"config": config_to_json(outcome.config), **values}


def _after(hours: float | None) -> str:
    return "never" if hours is None else f"after {hours:.1f} h"


def _alarms(outcome: Outcome) -> str:
    return ", ".join(f"{alarm['figure']} (day {alarm['day']:g})" for alarm in outcome.false_alarms) or "none"


def _names(outcome: Outcome) -> str:
    return (
        ", ".join(f"{name['text']} ({name['status']}, {name['users']} users)" for name in outcome.false_names) or "none"
    )


def _daily(values: Sequence[float]) -> Any:
    """Sums of the last 24 values, shape (N,)."""
    import numpy as np

    total = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    return total[ends] - total[np.maximum(0, ends - 24)]
