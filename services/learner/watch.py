"""One turn of watching: what was heard becomes names, figures are counted, alarms told, jobs queued.

watcher = Watcher(store, load_learner_config(), known=lexicon, perplexity=perplexity_of(lm))
watcher.turn(datetime.now(UTC))          # every few seconds; a turn with nothing new costs a few small queries
"""

from __future__ import annotations

import datetime
import logging
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from asr.decode.lm import LanguageModel
from services.learner import alarms, monitor, triggers
from services.learner.alarms import Alarm
from services.learner.candidates import Noticer
from services.learner.config import LearnerConfig
from services.learner.known_sounds import KnownSounds
from services.learner.noticed import Noticed
from services.learner.webhook import Webhook
from services.store.database import Store

log = logging.getLogger("dengar.learner")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn brought.

    Attributes:
        noticed: names.
        windows: counted.
        alarms: that are new.
        job: id of the job that was queued; empty if none was.
        cause: of that job.
    """

    noticed: Noticed
    windows: int
    alarms: tuple[Alarm, ...]
    job: str
    cause: str


class Watcher:
    """Watches one store; several processes may, they take turns.

    Args:
        store: open.
        config: thresholds.
        known: words that the recogniser knows.
        perplexity: of a text, by the language model that is served.
        sounds: of the known words, as far as they are known from before.

    Attributes:
        noticed: all that was noticed since the start.
        alarms: raised since the start, by figure.
        triggered: jobs queued since the start, by cause.
        webhook: that sends alarms.
    """

    def __init__(
        self,
        store: Store,
        config: LearnerConfig,
        known: Collection[str] = frozenset(),
        perplexity: monitor.Perplexity | None = None,
        sounds: KnownSounds | None = None,
    ) -> None:
        self.config = config
        self.noticer = Noticer(config, known, sounds)
        self.webhook = Webhook(config.webhook)
        self.noticed = Noticed()
        self.alarms: Counter[str] = Counter()
        self.triggered: Counter[str] = Counter()
        self._store = store
        self._perplexity = perplexity
        self._window: datetime.datetime | None = None

    def turn(self, now: datetime.datetime) -> Turn:
        """Does what is to be done; each step is committed by itself, so a crash between two loses nothing.

        Raises:
            StoreError: the store fails; the next turn goes on where this one stopped.
        """
        store, config = self._store, self.config
        noticed = self.noticer.run(store, now)
        self.noticed.add(noticed)
        for key in noticed.approved:
            log.info("a name is approved", extra={"name_id": key})
        windows, new = 0, list[Alarm]()
        window = monitor.window_start(now, config.monitor.window_s)
        if window != self._window:
            windows = store.run(lambda session: monitor.update_windows(session, now, config.monitor, self._perplexity))
            new = store.run(lambda session: alarms.check(session, now, config.monitor, config.drift))
            self._window = window
            self.alarms.update(alarm.figure for alarm in new)
        self.webhook.deliver(store, now)
        job = store.run(lambda session: triggers.pull(session, config.triggers, now, config.flood))
        cause = str(job.params["trigger"]["cause"]) if job else ""
        if job is not None:
            self.triggered[cause] += 1
            log.info("a job is queued: %s", job.params["trigger"]["reason"], extra={"job": job.id})
        return Turn(noticed, windows, tuple(new), job.id if job else "", cause)


def perplexity_of(lm: LanguageModel) -> monitor.Perplexity:
    """Perplexity by a language model: per word that it knows and end of sentence, as `LanguageModel.fit` has it."""

    def log_perplexity(text: str) -> float | None:
        return math.log(lm.fit([text]).perplexity) if text else None

    return log_perplexity
