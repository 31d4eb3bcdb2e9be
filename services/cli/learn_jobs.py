"""`dengar learn run|status|request|prepare`: the worker of the loop, what it does, and asking it to."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output
from services.cli.store import Where, open_store

if TYPE_CHECKING:
    from services.learner.config import LearnerConfig
    from services.learner.learning import Workshop
    from services.store.models import Job

RegistryFolder = Annotated[
    Path,
    typer.Option(
        "--registry",
        envvar="DENGAR_REGISTRY",
        help="Folder of bundles that servers follow (dengar serve --registry); begun with the shipped bundle.",
    ),
]
Config = Annotated[Path | None, typer.Option(help="YAML of the loop; default: data/learner.yaml.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override of it, as in triggers.count=1.")]
LearnSet = Annotated[
    list[str] | None, typer.Option("--learn-set", help="Override of how names are learned, as in tune.steps=40.")
]
Work = Annotated[Path, typer.Option(help="Folder for jobs, and for speech and results that they share.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEFAULT_REGISTRY, DEFAULT_WORK = Path("work/registry"), Path("work/learner")


def run(
    *,
    store: Where = "",
    registry: RegistryFolder = DEFAULT_REGISTRY,
    config: Config = None,
    set_: Set = None,
    learn_set: LearnSet = None,
    work: Work = DEFAULT_WORK,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds from one look at the store to the next.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Take one turn, with the job that waits, and end.")] = False,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Serve Prometheus metrics on this port of this machine; 0: none.")
    ] = 0,
    log_format: Annotated[str, typer.Option(help="`text` for people, `json` for programs.")] = "text",
    json_: Json = False,
) -> None:
    """Turns the loop: notices names, learns them, tests the new bundle and lets it in. Ends with SIGTERM.

    Several may run on one store and registry. A job whose worker died goes on with another, from its last stage.

    Example: dengar learn run --store sqlite:///work/store/dengar.db --registry work/registry
    """
    from services.learner.worker import Worker
    from services.logs import Logs, log_config

    settings = _settings(config, set_)
    logs = Logs(log_config(format=log_format))
    opened = open_store(store, migrate=True)
    try:
        shop = _workshop(opened, registry, work, settings, learn_set)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        with output.progress() as progress:
            tasks: dict[str, Any] = {}

            def report(stage: str, share: float) -> None:
                if stage not in tasks:
                    tasks[stage] = progress.add_task(stage, total=100)
                progress.update(tasks[stage], completed=round(100 * share))

            worker = Worker(shop, settings, f"{socket.gethostname()}-{os.getpid()}", report)
            if metrics_port:
                _serve_metrics(metrics_port, opened, worker)
            if not once:
                worker.run(stop, every)
                return
            done = worker.turn()
        if json_:
            output.emit_json({"approved": done.approved, "job": _job_row(done.job) if done.job else None})
        elif done.job is None:
            output.console.print(f"{done.approved} names approved, no job waits", highlight=False)
        else:
            _show_job(done.job)
    finally:
        opened.close()
        logs.close()


def request(
    name: Annotated[
        list[str] | None, typer.Argument(help="Names by id or text; default: all that are approved.")
    ] = None,
    *,
    store: Where = "",
    actor: Annotated[str, typer.Option("--by", help="Who asks, for the audit trail.")] = "person",
    json_: Json = False,
) -> None:
    """Asks for names to be learned for good now, without waiting for a trigger.

    Example: dengar learn request "ana li"
    """
    from services.learner.triggers import request as ask
    from services.learner.worker import utc_now

    opened = open_store(store)
    try:
        job = opened.run(lambda session: ask(session, name or [], actor=actor, now=utc_now()))
    finally:
        opened.close()
    if json_:
        output.emit_json({"job": _job_row(job) if job else None})
    elif job is None:
        output.console.print("nothing to learn: no name is approved, or a job that waits has them", highlight=False)
    else:
        output.console.print(f"job {job.id[:8]} is queued: {len(job.params['names'])} names", highlight=False)


def status(
    *,
    store: Where = "",
    registry: RegistryFolder = DEFAULT_REGISTRY,
    limit: Annotated[int, typer.Option(min=1, help="Jobs and bundles, the newest.")] = 10,
    json_: Json = False,
) -> None:
    """Shows names by status, open alarms, jobs with stages and verdicts, and what became of the bundles they made.

    Example: dengar learn status
    """
    from sqlalchemy import func, select

    from services.learner import alarms
    from services.recognizer.live_names import LiveNamesConfig
    from services.registry import Registry
    from services.store.models import Job, LearnedBundle, Name

    opened = open_store(store)
    try:
        with opened.reading() as session:
            counts = dict(session.execute(select(Name.status, func.count()).group_by(Name.status)).tuples().all())
            jobs = session.scalars(
                select(Job).where(Job.kind == "learn").order_by(Job.created_at.desc()).limit(limit)
            ).all()
            opened_alarms = alarms.open_alarms(session)
            bundles = session.scalars(
                select(LearnedBundle).order_by(LearnedBundle.created_at.desc()).limit(limit)
            ).all()
    finally:
        opened.close()
    found = Registry(registry)
    live = found.live() if registry.is_dir() else ""
    most = LiveNamesConfig().most
    left_out = max(0, counts.get("approved", 0) - most)
    if json_:
        rows = [
            {"hash": b.hash, "parent": b.parent, "status": b.status, "job": b.job_id, "verdict": b.verdict}
            for b in bundles
        ]
        told = {"live": live, "names": counts, "left_out": left_out, "jobs": [_job_row(job) for job in jobs]}
        drifts = [
            {"figure": each.figure, "at": each.raised_at.isoformat(), "told": each.told} for each in opened_alarms
        ]
        output.emit_json({**told, "alarms": drifts, "bundles": rows})
        return
    say = output.console.print
    say(f"live: {live or 'no registry yet'}", highlight=False)
    say("names: " + (", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"), highlight=False)
    if left_out:
        say(
            f"a server serves {most} approved names unless --live-names says otherwise: {left_out} wait",
            highlight=False,
        )
    for alarm in opened_alarms:
        said = f"alarm since {alarm.raised_at:%Y-%m-%d %H:%M}: {alarm.told}; for a person to look at"
        say(said, highlight=False, soft_wrap=True)
    for job in jobs:
        _show_job(job)
    for each in bundles:
        say(f"bundle {each.hash[:12]} from {each.parent[:12]}: {each.status}", highlight=False)


def prepare(
    *,
    work: Annotated[Path, typer.Option(help="Folder that gets the sets.")] = Path("work"),
    train: Annotated[int, typer.Option(min=0, help="Synthetic utterances to replay in fine-tuning.")] = 240,
    dev: Annotated[int, typer.Option(min=1, help="Synthetic utterances to judge by.")] = 150,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 2,
    json_: Json = False,
) -> None:
    """Makes speech to replay and to judge by, for who has no corpora: synthetic voice search and recorded prompts.

    Example: dengar learn prepare -j 2
    """
    from services.learner.prepare import prepare as make

    with output.progress() as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        made = make(work, train=train, dev=dev, jobs=jobs, progress=report)
    for reason in made.left_out:
        output.warn(reason)
    if json_:
        output.emit_json({"made": [str(path) for path in made.manifests], "left_out": list(made.left_out)})
    else:
        for path in made.manifests:
            output.console.print(f"made {path}", highlight=False, soft_wrap=True)


def _settings(config: Path | None, overrides: list[str] | None) -> LearnerConfig:
    from services.learner.config import load_learner_config

    return load_learner_config(config, tuple(overrides or ()))


def _workshop(store: Any, registry: Path, work: Path, settings: LearnerConfig, learn_set: list[str] | None) -> Workshop:
    from asr.learn import load_learn_config
    from asr.learn.config import DEFAULT
    from services.learner.gating import load_gating_config
    from services.learner.learning import Workshop
    from services.learner.prepare import is_needed
    from services.registry import Registry

    gate = load_gating_config(settings.learning.gate or None)
    overrides = tuple(learn_set or ())
    if is_needed(load_learn_config(settings.learning.learn or DEFAULT, overrides), gate):
        output.warn(
            "there is no speech to replay or to judge by: jobs will fail until data/learn.yaml and data/gate.yaml name "
            "yours, or dengar learn prepare has made some"
        )
    folder = Registry(registry)
    folder.begin()
    return Workshop(store, folder, work, settings.learning, gate, settings.rollout, overrides)


def _serve_metrics(port: int, store: Any, worker: Any) -> None:
    from prometheus_client import CollectorRegistry, start_http_server

    from services.learner.metrics import LearnerCollector

    registry = CollectorRegistry()
    registry.register(LearnerCollector(store, worker.watcher))
    start_http_server(port, "127.0.0.1", registry)


def _job_row(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "stage": job.stage,
        "names": len(job.params.get("names", [])),
        "trigger": job.params.get("trigger", {}),
        "attempts": job.attempts,
        "error": job.error,
        "result": job.result,
    }


def _show_job(job: Job) -> None:
    say = output.console.print
    where = f" behind {job.stage}" if job.stage and job.status != "done" else ""
    reason = job.params.get("trigger", {}).get("reason", "")
    say(f"job {job.id[:8]}: {job.status}{where}; {reason}", highlight=False, soft_wrap=True)
    if job.error:
        say(f"    {job.error}", highlight=False, soft_wrap=True)
    seconds = job.result.get("seconds")
    if seconds:
        spent = ", ".join(f"{stage} {value:.0f} s" for stage, value in seconds.items())
        say(f"    bundle {job.result['bundle'][:12]}: {spent}", highlight=False)
    verdict = job.result.get("verdict")
    if verdict:
        say(f"    gate {'passed' if verdict['passed'] else 'refused it'} ({verdict['page']})", highlight=False)
        for reason in verdict["reasons"]:
            say(f"        {reason}", highlight=False, soft_wrap=True)
