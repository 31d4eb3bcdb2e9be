"""`dengar bench names`: from a name that nobody taught it to one that is recognised, timed and measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import output


def bench_names(
    *,
    names: Annotated[str, typer.Option("--names", "-n", help="How many names, one run for each number.")] = "1,5,20",
    list_: Annotated[
        str,
        typer.Option(
            "--list", "-l", help="List of names, or a table with a column name; default: data/unheard-names.txt."
        ),
    ] = "",
    users: Annotated[int, typer.Option(min=1, help="Users who ask for each name, once.")] = 10,
    snr: Annotated[float, typer.Option(help="Of the car's cabin, in dB.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of names, voices, sentences and noise.")] = 0,
    baseline: Annotated[
        bool, typer.Option(help="Also fine-tune on the names alone, without replay and gate, in the last run.")
    ] = True,
    rounds: Annotated[int, typer.Option(min=0, help="Also learn so many times in a row, and test what is lost.")] = 0,
    round_names: Annotated[int, typer.Option(min=1, help="Names of each of these rounds.")] = 2,
    gate: Annotated[Path | None, typer.Option(help="YAML of the gate; default: data/gate.yaml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override of data/learner.yaml.")] = None,
    learn_set: Annotated[list[str] | None, typer.Option("--learn-set", help="Override of data/learn.yaml.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 2,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs; speech in it is kept.")] = Path(
        "work/bench-names"
    ),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measures the loop: names that nobody taught the bundle are asked for, noticed, served as phrases, learned.

    Server, worker and store are real and run for this test. Prints recall of full names before, at once and for good,
    in quiet and in the car, by voices that learning never uses; times from the first query; and what it costs general
    speech.

    Example: dengar bench names --names 5 -o work/bench-names
    """
    from asr.bundle import find_bundle, load_bundle
    from services.learner.bench_names import LIST, choose

    base = find_bundle(None)
    known = frozenset(load_bundle(base).lexicon())
    counts = [int(part) for part in names.split(",") if part.strip()]
    path = list_ or LIST
    found: dict[str, Any] = {"seed": seed, "list": path, "users": users, "snr_db": snr, "base": base.name, "runs": []}
    for place, count in enumerate(counts):
        chosen = choose(count, seed, known, path)
        folder = out / f"{count}-{seed}"
        row = _one(chosen, folder, users, snr, seed, jobs, gate, set_, learn_set, baseline and place == len(counts) - 1)
        found["runs"].append(row)
        if not json_:
            _show(row)
    if rounds:
        found["rounds"] = _rounds(rounds, round_names, base, known, path, out, seed, jobs, gate, learn_set, json_)
    out.mkdir(parents=True, exist_ok=True)
    (out / "names.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if json_:
        output.emit_json(found)
    else:
        output.console.print(f"written to {out / 'names.json'}", highlight=False)


def _one(
    chosen: list[str],
    folder: Path,
    users: int,
    snr: float,
    seed: int,
    jobs: int,
    gate: Path | None,
    set_: list[str] | None,
    learn_set: list[str] | None,
    baseline: bool,
) -> dict[str, Any]:
    from asr.learn import NewName, learn, load_learn_config
    from asr.learn.config import DEFAULT
    from asr.recognize import Recognizer
    from services.learner.bench_names import make_probe, run_loop
    from services.learner.bench_price import ALONE, changes
    from services.learner.gating import load_gating_config

    gating = load_gating_config(gate)
    settings = [*(set_ or []), *([f"learning.gate={gate}"] if gate else [])]
    result = run_loop(
        chosen,
        folder,
        users=users,
        snr_db=snr,
        seed=seed,
        jobs=jobs,
        settings=settings,
        learn_settings=learn_set or [],
        tell=lambda text: output.messages.print(text, highlight=False, soft_wrap=True),
    )
    row: dict[str, Any] = {
        "names": list(result.names),
        "noticed": list(result.noticed),
        "before": result.before.to_json(),
        "at_once": result.at_once.to_json(),
        "for_good": result.for_good.to_json(),
        "times_s": asdict(result.times),
        "promoted": result.promoted,
        "gate": result.verdict,
        "bundle": result.bundle.name,
        "job": {key: result.job.get(key) for key in ("utterances", "rows", "steps", "stopped", "replay", "missed")},
        "general": changes(result.base, result.bundle, gating, folder / "work" / "gate"),
    }
    if baseline:
        output.messages.print("the baseline: the names alone, without replay and gate", highlight=False)
        config = load_learn_config(DEFAULT, (*(learn_set or ()), *ALONE))
        alone = learn(
            result.base, [NewName(name) for name in chosen], config, folder / "alone", folder / "alone-bundles"
        )
        recognizer = Recognizer.open(alone.bundle)
        heard = make_probe(chosen, folder / "probe", snr, jobs, seed).hear(
            lambda samples: recognizer.transcribe(samples)[0].text
        )
        row["baseline"] = {
            "bundle": alone.bundle.name,
            "for_good": heard.to_json(),
            "general": changes(result.base, alone.bundle, gating, folder / "work" / "gate"),
        }
    return row


def _rounds(
    rounds: int,
    round_names: int,
    base: Path,
    known: frozenset[str],
    path: str,
    out: Path,
    seed: int,
    jobs: int,
    gate: Path | None,
    learn_set: list[str] | None,
    quiet: bool,
) -> list[dict[str, Any]]:
    from asr.learn import load_learn_config
    from asr.learn.config import DEFAULT
    from services.learner.bench_names import choose
    from services.learner.bench_price import run_rounds
    from services.learner.gating import load_gating_config

    chosen = choose(rounds * round_names, seed + 1, known, path)
    groups = [chosen[start : start + round_names] for start in range(0, len(chosen), round_names)]
    done = run_rounds(
        base,
        groups,
        load_learn_config(DEFAULT, tuple(learn_set or ())),
        load_gating_config(gate),
        out / f"rounds-{seed}",
        seed=seed,
        jobs=jobs,
        tell=lambda text: None if quiet else output.console.print(text, highlight=False, soft_wrap=True),
    )
    return [asdict(each) for each in done]


def _show(row: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("full names recognised", "in quiet", "in the car", box=None)
    columns = [("before", row["before"]), ("at once", row["at_once"]), ("for good", row["for_good"])]
    if "baseline" in row:
        columns.append(("for good, names alone", row["baseline"]["for_good"]))
    for name, heard in columns:
        table.add_row(
            name,
            *(
                f"{heard[key]['recall']:.1%} ({heard[key]['heard']} of {heard[key]['said']})"
                for key in ("quiet", "car")
            ),
        )
    say = output.console.print
    say(f"\n{len(row['names'])} names, {len(row['noticed'])} noticed by the loop itself", highlight=False)
    say(table)
    times = row["times_s"]
    spent = ", ".join(f"{stage} {value:.0f} s" for stage, value in times["stages"].items())
    say(f"served {times['served']:.0f} s, live {times['live']:.0f} s after the first query ({spent})", highlight=False)
    for name, found in (("", row), ("names alone: ", row.get("baseline", {"general": []}))):
        for each in found["general"]:
            low, high = (100 * each[key] if each[key] is not None else float("nan") for key in ("low", "high"))
            say(
                f"{name}{each['set']}: {each['wer_before']:.2%} before, {each['wer_after']:.2%} after, "
                f"{100 * each['change']:+.2f} points ({low:+.2f} to {high:+.2f})",
                highlight=False,
                soft_wrap=True,
            )
    say(
        "promoted" if row["promoted"] else "refused: " + "; ".join(row["gate"]["reasons"]),
        highlight=False,
        soft_wrap=True,
    )
