"""The worker that turns the loop: notices names, queues and does jobs, lets bundles in, deletes what is past its time.

Several may run on one store and one registry; each turn is made of steps that are committed by themselves.
"""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from asr.bundle import load_bundle
from asr.errors import DengarError
from asr.learn import load_learn_config
from asr.learn.config import DEFAULT as LEARN_CONFIG
from services.learner import job_files, rollout
from services.learner.config import LearnerConfig
from services.learner.known_sounds import KnownSounds
from services.learner.learning import Progress, Workshop, do_job
from services.learner.mirror import Mirror
from services.learner.misheard import QuickListener
from services.learner.watch import Watcher, perplexity_of
from services.store import jobs
from services.store.errors import LeaseLostError
from services.store.models import Job
from services.store.retention import expire, sweep

log = logging.getLogger("dengar.learner")
EXPIRE_EVERY = datetime.timedelta(hours=1)
READY = "the loop turns"
"""What a worker says after its first turn, which takes longer than others, by seconds the first time in a folder."""


def utc_now() -> datetime.datetime:
    """The time."""
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True, slots=True)
class Round:
    """What one turn brought.

    Attributes:
        approved: names that were approved by themselves.
        job: that was done, as it ended; None if there was none.
    """

    approved: int
    job: Job | None


class Worker:
    """Turns the loop.

    Args:
        shop: where it works.
        config: of noticing and watching.
        name: of this worker.
        progress: told how far a job is.
        now: the time.
    """

    def __init__(
        self,
        shop: Workshop,
        config: LearnerConfig,
        name: str,
        progress: Progress = lambda *_: None,
        now: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self.shop, self.config, self.name = shop, config, name
        self._progress, self._now = progress, now
        self._live = ""
        self._expired: datetime.datetime | None = None
        self._mirror = Mirror(config.learning.mlflow) if config.learning.mlflow else None
        self._mirror_fails = False
        self._sounds = KnownSounds(shop.work)
        self.watcher = self._watch()

    def turn(self) -> Round:
        """Does what is to be done now, at most one job.

        Raises:
            StoreError: the store fails; the next turn goes on where this one stopped.
        """
        store, registry = self.shop.store, self.shop.registry
        if registry.live() != self._live:
            self.watcher = self._watch()
        noticed = self.watcher.turn(self._now())
        self._listener.turn(store)
        rollout.advance(store, registry, self.shop.rollout, self._now(), log.info)
        self._delete_old()
        self._reflect()
        job = None
        if registry.rollout() is None:  # what is learned starts from what is live, so trials come one by one
            job = store.run(lambda session: jobs.claim(session, self.name, self.shop.config.lease_s))
        if job is None:
            return Round(len(noticed.noticed.approved), None)
        log.info("job %s: %s", job.id[:8], job.params.get("trigger", {}).get("reason", "queued"))
        try:
            job = do_job(self.shop, job, self._now, self._progress)
        except LeaseLostError as error:
            log.warning("%s", error)
            job_files.sweep(store, self.shop.work, self._now())  # it may have been stopped
            return Round(len(noticed.noticed.approved), None)
        said = job.error or "; ".join(job.result.get("verdict", {}).get("reasons", [])[:1]) or "nothing to learn"
        log.info("job %s is %s: %s", job.id[:8], job.status, said)
        rollout.advance(store, registry, self.shop.rollout, self._now(), log.info)
        self._reflect()
        return Round(len(noticed.noticed.approved), job)

    def run(self, stop: threading.Event, every_s: float) -> None:
        """Turns until told to stop; a store or registry that fails is tried again.

        Args:
            stop: set to end after the turn that is under way.
            every_s: from the end of one turn to the next, unless a job was done.
        """
        complained = ready = False
        while not stop.is_set():
            try:
                worked = self.turn().job is not None
                complained = False
                if not ready:
                    log.info(READY)
                ready = True
            except (DengarError, OSError) as error:
                worked = False
                if not complained:
                    log.error("the loop stands still: %s", error)
                complained = True
            if not worked:
                stop.wait(every_s)

    def _watch(self) -> Watcher:
        """A watcher that knows the live bundle's words."""
        self._live = self.shop.registry.live()
        bundle = load_bundle(self.shop.registry.path(self._live))
        config = load_learn_config(self.shop.config.learn or LEARN_CONFIG, self.shop.overrides)
        self._listener = QuickListener(bundle, config, self.shop.config.at_once, self.shop.work / "at-once")
        lm = bundle.language_model()
        perplexity = perplexity_of(lm) if lm is not None else None
        return Watcher(self.shop.store, self.config, frozenset(bundle.lexicon()), perplexity, self._sounds)

    def _reflect(self) -> None:
        """Shows the registry in MLflow, where that is wanted; nothing of the loop depends on it."""
        if self._mirror is None:
            return
        try:
            self._mirror.show(self.shop.registry, self.shop.store)
            self._mirror_fails = False
        except Exception as error:
            if not self._mirror_fails:
                log.warning("MLflow does not show the registry: %s", error)
            self._mirror_fails = True

    def _delete_old(self) -> None:
        now = self._now()
        if self._expired is None or now - self._expired >= EXPIRE_EVERY:
            expire(self.shop.store, now)
            sweep(self.shop.store, now)
            job_files.sweep(self.shop.store, self.shop.work, now)
            self._expired = now
