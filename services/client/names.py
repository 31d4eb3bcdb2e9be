"""What a client says of queries and of names: feedback, decisions on names, users to forget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import grpc

from asr.errors import ConfigError
from services.client.errors import error_of
from services.dengar.v1 import feedback_pb2, names_pb2, names_pb2_grpc, privacy_pb2

Status: TypeAlias = Literal["watched", "proposed", "approved", "learned", "rejected"]
IMPORT_AT_ONCE = 10_000
_TIMEOUT_S = 60.0
_STATUSES = {
    "watched": names_pb2.WATCHED,
    "proposed": names_pb2.PROPOSED,
    "approved": names_pb2.APPROVED,
    "learned": names_pb2.LEARNED,
    "rejected": names_pb2.REJECTED,
}
Metadata: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the recogniser was not taught.

    Attributes:
        id, text: either names it.
        status: ``watched``, ``proposed``, ``approved``, ``learned`` or ``rejected``.
        mentions, users: how often it was heard, and by how many users.
        first_heard, last_heard: when.
        spellings: other likely ones, best first.
        trend: mentions in the last day over the daily mean of the week before.
        reason: why it has the status.
        bundle_hash: of the bundle that learned it; empty if none did.
    """

    id: str
    text: str
    status: str
    mentions: int
    users: int
    first_heard: datetime
    last_heard: datetime
    spellings: tuple[str, ...]
    trend: float
    reason: str
    bundle_hash: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import: entities added and updated, those that cannot be said (the first ones), how many."""

    added: int
    updated: int
    refused: tuple[str, ...]
    refused_count: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted of a user, and the hashes of bundles that had learned from them."""

    queries: int
    recordings: int
    training_rows: int
    bundles: tuple[str, ...]


class NamesClient:
    """The service `dengar.v1.Names`; `Client.names` is one. Needs a key with the role admin where there are keys.

    Every method raises `SpeechServiceError` when the server refuses or cannot be reached.
    """

    def __init__(self, channel: grpc.Channel, address: str, metadata: Metadata) -> None:
        self._stub = names_pb2_grpc.NamesStub(channel)  # type: ignore[no-untyped-call]
        self._address, self._metadata = address, metadata

    def list(self, statuses: Iterable[Status] = (), *, limit: int = 100) -> Sequence[Name]:
        """Names, most mentions first; of all statuses if none is given."""
        wanted = [_status(status) for status in statuses]
        answer = self._call(self._stub.ListNames, names_pb2.ListNamesRequest(statuses=wanted, limit=limit))
        return [name_of(each) for each in answer.names]

    def get(self, name: str) -> Name:
        """A name by id or text."""
        return name_of(self._call(self._stub.GetName, names_pb2.GetNameRequest(name=name)))

    def add(self, text: str, spellings: Iterable[str] = ()) -> Name:
        """Adds a name, approved: it is recognised from the next query on."""
        return name_of(self._call(self._stub.AddName, names_pb2.AddNameRequest(text=text, spellings=spellings)))

    def approve(self, name: str, text: str = "") -> Name:
        """Approves a name by id or text, with another spelling if `text` gives one."""
        return name_of(self._call(self._stub.ApproveName, names_pb2.ApproveNameRequest(name=name, text=text)))

    def reject(self, name: str, reason: str = "") -> Name:
        """Rejects a name by id or text."""
        return name_of(self._call(self._stub.RejectName, names_pb2.RejectNameRequest(name=name, reason=reason)))

    def import_entities(self, entities: Iterable[tuple[str, str, float]], source: str = "") -> Imported:
        """Adds (name, kind, weight) to the catalogue that unknown words are matched with; any number of them."""
        rows = [names_pb2.Entity(name=name, kind=kind, weight=weight) for name, kind, weight in entities]
        done = Imported(0, 0, (), 0)
        for start in range(0, max(1, len(rows)), IMPORT_AT_ONCE):
            request = names_pb2.ImportNamesRequest(entities=rows[start : start + IMPORT_AT_ONCE], source=source)
            answer = self._call(self._stub.Import, request)
            done = Imported(
                done.added + answer.added,
                done.updated + answer.updated,
                (*done.refused, *answer.refused),
                done.refused_count + answer.refused_count,
            )
        return done

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=_TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None


def feedback_request(
    query_id: str,
    corrected_text: str | None,
    chosen_result: str | None,
    retried_as: str | None,
    accepted: bool | None,
) -> feedback_pb2.SendFeedbackRequest:
    """The request of `SendFeedback`; raises `ConfigError` unless one thing is said."""
    said = {
        "corrected_text": corrected_text,
        "chosen_result": chosen_result,
        "retried_as": retried_as,
        "accepted": accepted,
    }
    given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if len(given) != 1:
        raise ConfigError(f"feedback says one of {', '.join(said)}; {len(given)} were given")
    return feedback_pb2.SendFeedbackRequest(query_id=query_id, **given)


def name_of(message: names_pb2.Name) -> Name:
    """Reads a name."""
    return Name(
        message.id,
        message.text,
        names_pb2.NameStatus.Name(message.status).lower(),
        message.mentions,
        message.users,
        message.first_heard.ToDatetime(tzinfo=UTC),
        message.last_heard.ToDatetime(tzinfo=UTC),
        tuple(message.spellings),
        message.trend,
        message.reason,
        message.bundle_hash,
    )


def forgotten_of(message: privacy_pb2.ForgetResponse) -> Forgotten:
    """Reads the answer of `Forget`."""
    return Forgotten(message.queries, message.recordings, message.training_rows, tuple(message.bundles))


def _status(status: str) -> names_pb2.NameStatus:
    if status not in _STATUSES:
        raise ConfigError(f"a name cannot be {status!r}; it is one of {', '.join(_STATUSES)}")
    return _STATUSES[status]
