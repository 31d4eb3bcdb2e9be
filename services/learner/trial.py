"""The loop's processes and its callers, for whoever shows or measures it: `dengar bench names` and the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from sqlalchemy import select

from asr import audio
from asr.errors import DengarError
from services.client.options import as_bytes
from services.dengar.v1 import names_pb2, names_pb2_grpc, speech_pb2, speech_pb2_grpc
from services.learner.rollout import CANARY
from services.learner.triggers import request
from services.learner.worker import READY, utc_now
from services.store.database import Store
from services.store.models import Job, LearnedBundle, Name

JOB_S = 3600.0
CALL_S = 60.0
START_S = STOP_S = 120.0
POLL_S = 0.2
LOG = "worker.log"
FAST = (
    # Hours of traffic pass in seconds here, and the queries come one after another.
    "promotion.min_hours=0", "flood.burst_s=0", "triggers.count=0", "triggers.trend=0", "triggers.schedule_h=0",
    "triggers.drift=[]", "rollout.canary_minutes=0.1",
)  # fmt: skip
"""Settings of the loop for a trial, beside its defaults; a job is asked for when all names are there."""


class Caller:
    """An application that talks to the server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._speech = speech_pb2_grpc.SpeechStub(channel)  # type: ignore[no-untyped-call]
        self._names = names_pb2_grpc.NamesStub(channel)  # type: ignore[no-untyped-call]

    def words(self, samples: audio.Samples) -> str:
        """What the server makes of a query of which nothing may be kept."""
        return self.ask(samples, "")

    def ask(self, samples: audio.Samples, user: str) -> str:
        """What the server makes of a query; with a user it may keep all of it."""
        config = speech_pb2.RecognitionConfig(
            encoding=speech_pb2.RecognitionConfig.LINEAR16, sample_rate_hertz=audio.SAMPLE_RATE_HZ
        )
        if user:
            config.user, config.consent = user, speech_pb2.CONSENT_AUDIO
        content = speech_pb2.RecognitionAudio(content=as_bytes(samples))
        request = speech_pb2.RecognizeRequest(config=config, audio=content)
        answer = self._speech.Recognize(request, timeout=CALL_S, wait_for_ready=True)
        return str(answer.results[0].alternatives[0].transcript)

    def catalogue(self, names: Sequence[str]) -> None:
        entities = [names_pb2.Entity(name=name, kind="person") for name in dict.fromkeys(names)]
        self._names.Import(names_pb2.ImportNamesRequest(entities=entities, source="trending"), timeout=CALL_S)

    def add(self, name: str) -> None:
        self._names.AddName(names_pb2.AddNameRequest(text=name), timeout=CALL_S)

    def bundle(self) -> str:
        return str(self._speech.GetInfo(speech_pb2.GetInfoRequest(), timeout=CALL_S).bundle_hash)


@contextlib.contextmanager
def worker_process(
    url: str,
    registry: Path,
    work: Path,
    settings: Sequence[str],
    learn_settings: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """`dengar learn run` in a process of its own; gives its log.

    Args:
        url: of the store.
        registry: of the bundles.
        work: the worker's folder.
        settings: of the loop, as ``key=value``.
        learn_settings: of learning.
        environment: of the process, if not this one's.

    Raises:
        DengarError: it ended with an error.
    """
    command = [sys.executable, "-m", "services.cli.main", "learn", "run", "--every", "0.5"]
    command += ["--store", url, "--registry", str(registry), "--work", str(work)]
    command += [part for each in settings for part in ("--set", each)]
    command += [part for each in learn_settings for part in ("--learn-set", each)]
    work.mkdir(parents=True, exist_ok=True)
    with (
        (work / LOG).open("a") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=dict(environment or os.environ)) as process,
    ):
        try:
            _wait_for_line(work / LOG, READY, process)
            yield work / LOG
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if process.returncode not in (0, -signal.SIGKILL):
            raise DengarError(f"the worker ended with code {process.returncode}; see {work / LOG}")


def _wait_for_line(path: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while text not in path.read_text(encoding="utf-8"):
        if process.poll() is not None or time.monotonic() > end:
            raise DengarError(f"the worker did not start: {path.read_text(encoding='utf-8').strip()[-400:]}")
        time.sleep(POLL_S)


def statuses(store: Store, names: Sequence[str]) -> set[str]:
    """The statuses that the names have; an empty one for a name that is not known."""
    with store.reading() as session:
        found = dict(session.execute(select(Name.text, Name.status).where(Name.text.in_(names))).tuples().all())
    return {found.get(name, "") for name in names}


def all_listened(store: Store, names: Sequence[str]) -> bool:
    """Whether it is known of all names how they are misheard."""
    with store.reading() as session:
        left = select(Name.id).where(Name.text.in_(names), Name.status == "approved", Name.misheard.is_(None)).limit(1)
        return session.scalars(left).first() is None


def learn_now(store: Store, names: Sequence[str], actor: str) -> dict[str, Any]:
    """Asks for a job, waits for it, and gives its result; raises `DengarError` if it fails."""
    job = store.run(lambda session: request(session, names, actor=actor, now=utc_now(), max_names=len(names)))
    if job is None:
        raise DengarError("the loop had nothing to learn")

    def ended() -> bool:
        with store.reading() as session:
            return session.get_one(Job, job.id).status not in ("queued", "running")

    wait_until(ended, JOB_S, "the job to end")
    with store.reading() as session:
        done = session.get_one(Job, job.id)
    if done.status != "done":
        raise DengarError(f"the job {done.status}: {done.error}")
    return done.result


def has_canary(store: Store) -> bool:
    """Whether a bundle is on trial."""
    with store.reading() as session:
        return session.scalars(select(LearnedBundle).where(LearnedBundle.status == CANARY)).first() is not None


def wait_until(holds: Callable[[], bool], limit_s: float, what: str) -> None:
    """Waits until something holds; raises `DengarError` after `limit_s`."""
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise DengarError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(POLL_S)
