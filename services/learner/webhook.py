"""Alarms sent as JSON over HTTP, at least once each: what was sent is noted in the audit trail, the rest is tried anew.

The body holds figures and no word of any query, nor anybody's hash::

    {"type": "drift.raised", "id": 17, "at": "2026-01-24T10:00:00+00:00", "figure": "snr_db",
     "message": "signal-to-noise ratio fell: median 18.2 to 11 dB (KS 0.31, PSI 0.52, p = 1e-12)",
     "change": {"before": 18.2, "after": 11.0, ...}}

The receiver may get an alarm twice, if its answer was lost; `id` tells. Redirects are not followed. A 2xx status means
that it was taken; anything else is tried again.
"""

from __future__ import annotations

import datetime
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from services.learner.alarms import ADOPTED, CLEARED, RAISED
from services.learner.config import WebhookConfig
from services.learner.promotion import ACTOR
from services.store import audit
from services.store.database import Store
from services.store.models import AuditEntry

log = logging.getLogger("dengar.learner")
SENT, GIVEN_UP = "alarm.sent", "alarm.given-up"
_TOLD = (RAISED, CLEARED, ADOPTED)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Webhook:
    """Sends what was raised or ended and was not sent yet.

    Args:
        config: where and how.
        wait: sleeps; for tests.

    Attributes:
        counts: attempts so far by outcome: ``sent``, ``refused`` (a status that is not 2xx), ``failed`` (no answer)
            and ``given up``.
    """

    def __init__(self, config: WebhookConfig, wait: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self._wait = wait
        self._opener = urllib.request.build_opener(_NoRedirect)

    def deliver(self, store: Store, now: datetime.datetime) -> int:
        """Sends what waits, oldest first, and stops at the first that cannot be sent; returns how many were.

        No transaction is open while it sends.
        """
        if not self.config.url:
            return 0
        sent = 0
        for entry in pending(store):
            if now - entry.at > datetime.timedelta(hours=self.config.give_up_h):
                self.counts["given up"] += 1
                log.error("alarm %d was not sent in time and is given up", entry.id, extra={"alarm": entry.id})
                self._note(store, GIVEN_UP, entry.id, now)
            elif self._post(body(entry)):
                self._note(store, SENT, entry.id, now)
                sent += 1
            else:
                break
        return sent

    @staticmethod
    def _note(store: Store, action: str, entry: int, now: datetime.datetime) -> None:
        with store.session() as session:
            audit.record(session, ACTOR, action, f"alarm {entry}", at=now)

    def _post(self, content: dict[str, Any]) -> bool:
        data = json.dumps(content, allow_nan=False).encode()
        why = ""
        for attempt in range(self.config.attempts):
            if attempt:
                self._wait(self.config.backoff_s * 2 ** (attempt - 1))
            request = urllib.request.Request(
                self.config.url, data=data, headers={"Content-Type": "application/json", "User-Agent": "dengar"}
            )
            try:
                with self._opener.open(request, timeout=self.config.timeout_s) as answer:
                    answer.read(1024)
                    self.counts["sent"] += 1
                    return True
            except urllib.error.HTTPError as error:
                error.close()
                self.counts["refused"] += 1
                why = f"status {error.code}"
            except (OSError, http.client.HTTPException) as error:
                self.counts["failed"] += 1
                why = type(error.reason if isinstance(error, urllib.error.URLError) else error).__name__
        log.warning("an alarm cannot be sent to the webhook now (%s); it is tried again", why)
        return False


def pending(store: Store) -> list[AuditEntry]:
    """The steps of alarms that were neither sent nor given up, oldest first."""
    with store.reading() as session:
        done = set(session.scalars(select(AuditEntry.subject).where(AuditEntry.action.in_((SENT, GIVEN_UP)))))
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action.in_(_TOLD)).order_by(AuditEntry.id))
        return [entry for entry in entries if f"alarm {entry.id}" not in done]


def body(entry: AuditEntry) -> dict[str, Any]:
    """What is sent of a step of an alarm."""
    return {
        "type": entry.action,
        "id": entry.id,
        "at": entry.at.isoformat(),
        "figure": entry.subject,
        "message": entry.details.get("told", ""),
        "change": entry.details.get("change", {}),
    }
