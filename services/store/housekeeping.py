"""Deletes what is past its time, again and again, beside a server: retention holds where nobody thinks of it."""

from __future__ import annotations

import logging
import threading

from services.store.database import Store
from services.store.retention import Expiry, expire

log = logging.getLogger("dengar.store")


class Housekeeping:
    """A thread that runs `services.store.retention.expire`, first at once and then every so often.

    Several may run on one store. A failure is logged, counted and tried again the next time.

    Args:
        store: open, until `close`.
        every_s: from the end of one round to the next; None takes `StoreConfig.expire_every_s`, 0 does nothing at all.

    Attributes:
        rounds, failures: so far.
        deleted: queries, so far.
    """

    def __init__(self, store: Store, every_s: float | None = None) -> None:
        self._store = store
        self._every_s = store.config.expire_every_s if every_s is None else every_s
        self._stop = threading.Event()
        self.rounds = self.failures = self.deleted = 0
        self._thread = threading.Thread(target=self._work, name="dengar-housekeeping", daemon=True)
        if self._every_s > 0:
            self._thread.start()

    def close(self, timeout_s: float = 30.0) -> None:
        """Ends it, after the round that is under way. Blocks."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._told(expire(self._store))
            except Exception as error:
                self.failures += 1
                log.error("what is past its time stays for now: %s", error)
            self.rounds += 1
            self._stop.wait(self._every_s)

    def _told(self, done: Expiry) -> None:
        self.deleted += done.deleted.queries
        if done.deleted.queries or done.strays or done.files.left:
            log.info(
                "%d queries were past their time, %d recordings had none, %d files stay for now",
                done.deleted.queries,
                done.strays,
                done.files.left,
            )
