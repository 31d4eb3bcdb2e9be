"""Names on their way from heard to learned: who changes their status, and what is written down about it.

The functions work on a session of the store; whoever opened it commits. Every change of a status is an entry of the
audit trail in the same transaction. Texts are spoken forms: a-z, apostrophe, space.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from asr.corpus.text import normalise
from asr.errors import ConfigError, MissingDependencyError, NotFoundError, TextError
from services.learner.config import FloodConfig
from services.learner.weigh import count
from services.store import audit
from services.store.models import Mention, Name

Status: TypeAlias = Literal["watched", "proposed", "approved", "learned", "rejected"]
STATUSES: tuple[Status, ...] = ("watched", "proposed", "approved", "learned", "rejected")
MAX_LETTERS = 100
"""Of a name, as of any phrase that is hinted at (`asr.decode.hint_text`)."""
MAX_SPELLINGS = 20
HEARD = 3
"""Spellings of a name that are served, of those that people heard or wrote."""
MAX_REASON = 500
DAY = datetime.timedelta(days=1)
_TREND_MENTIONS = 5000
"""Newest mentions of a name of which its trend is made."""
_DEFAULT_FLOOD = FloodConfig()
PERSON = "person"


@dataclass(frozen=True, slots=True)
class _Heard:
    """See `services.learner.weigh.Heard`."""

    at: datetime.datetime
    user: str


@dataclass(frozen=True, slots=True)
class Revision:
    """Changes when the names that are served change.

    Attributes:
        count: approved names.
        changed_at: when the status of any name changed last; None without names.
        listened: approved names of which it is known how they are misheard.
    """

    count: int
    changed_at: datetime.datetime | None
    listened: int = 0


def spoken(text: str) -> str:
    """The spoken form of a name.

    Raises:
        TextError: it cannot be said in the recogniser's alphabet, or is too long.
    """
    try:
        said = normalise(text) if len(text) <= 2 * MAX_LETTERS else ""
    except MissingDependencyError as error:
        raise TextError(f"{text!r}: write numbers and symbols in words; reading them needs dengar[train]") from error
    if not 0 < len(said) <= MAX_LETTERS:
        raise TextError(f"{text[:MAX_LETTERS]!r} is too long for a name: at most {MAX_LETTERS} letters when spoken")
    return said


def find_name(session: Session, key: str) -> Name:
    """A name by its id or its text.

    Raises:
        NotFoundError: there is none.
    """
    found = session.get(Name, key)
    if found is None and key:
        wanted = {key}
        with contextlib.suppress(TextError):
            wanted.add(spoken(key))
        query = select(Name).where(Name.text.in_(wanted)).order_by(Name.status == "rejected", Name.mentions.desc())
        found = session.scalars(query).first()
    if found is None:
        raise NotFoundError(f"no name {key!r} is known, by id or text; dengar names list shows those that are")
    return found


def list_names(session: Session, statuses: Collection[str] = (), limit: int = 100) -> Sequence[Name]:
    """Names, most mentions first, then the newest.

    Args:
        session: of the store.
        statuses: only these; all if empty.
        limit: at most so many.

    Raises:
        ConfigError: a status that does not exist.
    """
    for status in statuses:
        _check_status(status)
    query = select(Name).order_by(Name.mentions.desc(), Name.last_at.desc(), Name.id).limit(limit)
    if statuses:
        query = query.where(Name.status.in_(list(statuses)))
    return session.scalars(query).all()


def set_status(
    session: Session,
    name: Name,
    status: Status,
    *,
    actor: str,
    reason: str = "",
    cause: str = "",
    details: Mapping[str, Any] | None = None,
    now: datetime.datetime | None = None,
) -> Name:
    """Changes the status of a name, and writes it down as ``name.STATUS``.

    Args:
        session: of the store.
        name: whose.
        status: from now on.
        actor: ``server``, ``learner``, or who decided.
        reason: in words.
        cause: id or hash of what led to it.
        details: figures for the audit trail; no words of queries.
        now: when; by default now.

    Raises:
        ConfigError: a status that does not exist.
    """
    _check_status(status)
    now = now or datetime.datetime.now(datetime.UTC)
    before, name.status, name.reason, name.changed_at = name.status, status, reason[:MAX_REASON], now
    session.add(name)
    told = {"before": before, "mentions": name.mentions, "users": name.users, **(details or {})}
    audit.record(session, actor, f"name.{status}", name.id, cause, at=now, **told)
    return name


def add_name(session: Session, text: str, spellings: Sequence[str] = (), *, actor: str) -> Name:
    """Adds a name by hand, approved; one that is there already is approved with the spellings added.

    Raises:
        TextError: it, or a spelling, cannot be said.
        ConfigError: too many spellings.
    """
    said = spoken(text)
    others = _spellings(spellings, said)
    now = datetime.datetime.now(datetime.UTC)
    name = session.scalars(select(Name).where(Name.text == said).order_by(Name.status == "rejected")).first()
    if name is None:
        name = new_name(said, source=PERSON, now=now)
    name.spellings = list(dict.fromkeys([*others, *name.spellings]))[:MAX_SPELLINGS]
    if name.status == "learned":
        return name
    return set_status(session, name, "approved", actor=actor, reason=f"added by {actor}", now=now)


def approve_name(session: Session, key: str, text: str = "", *, actor: str) -> Name:
    """Approves a name, with another spelling if one is given.

    A name that the live bundle has learned stays learned, unless it gets another spelling.

    Raises:
        NotFoundError: there is no such name.
        TextError: the spelling cannot be said.
        ConfigError: another name has that spelling.
    """
    name = find_name(session, key)
    said = spoken(text) if text else name.text
    if said != name.text:
        other = session.scalars(select(Name).where(Name.text == said, Name.id != name.id)).first()
        if other is not None:
            raise ConfigError(f"{said!r} is another name already ({other.id}, {other.status}); approve that one")
        name.spellings = list(dict.fromkeys([name.text, *(each for each in name.spellings if each != said)]))
        name.text, name.bundle, name.misheard = said, "", None
    elif name.status == "learned":
        return name
    recount(session, name)
    return set_status(session, name, "approved", actor=actor, reason=f"approved by {actor}")


def reject_name(session: Session, key: str, reason: str = "", *, actor: str) -> Name:
    """Rejects a name: it is not served and not noticed again.

    Raises:
        NotFoundError: there is no such name.
    """
    why = f"rejected by {actor}" + (f": {reason}" if reason else "")
    return set_status(session, find_name(session, key), "rejected", actor=actor, reason=why)


def new_name(text: str, *, source: str, now: datetime.datetime) -> Name:
    """A name that nobody has heard yet, without a status: `set_status` adds it to the session and gives it one."""
    return Name(
        id=secrets.token_hex(8),
        text=text,
        status="",
        spellings=[],
        phones="",
        source=source,
        mentions=0,
        users=0,
        trend=0.0,
        reason="",
        bundle="",
        first_at=now,
        last_at=now,
        changed_at=now,
    )


def recount(
    session: Session, name: Name, now: datetime.datetime | None = None, flood: FloodConfig = _DEFAULT_FLOOD
) -> None:
    """Counts the mentions of a name anew, as they stand in the store: forgotten users are not in it any more.

    Mentions and users are all that there are. The trend is that of `trend_of`.

    Args:
        session: of the store.
        name: whose.
        now: the time; None for the clock's.
        flood: which mentions count in the trend.
    """
    session.flush()
    now = now or datetime.datetime.now(datetime.UTC)
    query = select(
        func.count(), func.count(func.distinct(Mention.user_hash)), func.min(Mention.at), func.max(Mention.at)
    ).where(Mention.name_id == name.id)
    name.mentions, name.users, first_at, last_at = session.execute(query).one()
    if first_at is not None:
        name.first_at, name.last_at = first_at, last_at
    name.trend, _ = trend_of(session, name.id, now, flood)


def trend_of(session: Session, key: str, now: datetime.datetime, flood: FloodConfig) -> tuple[float, int]:
    """How many times as often a name was heard in the last day as in the week before, and by how many users that day.

    What counts is what counts for a proposal: little of one user, and a burst once. A week without any counts as one
    with a single mention, so that a name's first day has a trend of seven times its mentions.

    Args:
        session: of the store.
        key: id of the name.
        now: the time.
        flood: which mentions count.
    """
    own = select(Mention.at, Mention.user_hash.label("user")).where(
        Mention.name_id == key, Mention.at > now - 8 * DAY, Mention.at <= now
    )
    newest = session.execute(
        own.order_by(Mention.at.desc(), Mention.user_hash, Mention.query_id).limit(_TREND_MENTIONS)
    )
    counted, _ = count([_Heard(at, user) for at, user in reversed(newest.all())], flood)
    today = [each for each in counted if each.at > now - DAY]
    return len(today) / (max(1, len(counted) - len(today)) / 7), len({each.user for each in today})


def revision(session: Session) -> Revision:
    """Whether the names that are served may have changed; three small queries on indices."""
    listened = select(func.count()).select_from(Name).where(Name.status == "approved", Name.misheard.is_not(None))
    changed_at = session.scalar(select(func.max(Name.changed_at)))
    return Revision(_approved_count(session), changed_at, session.scalar(listened) or 0)


def approved(
    session: Session, limit: int, now: datetime.datetime | None = None
) -> tuple[list[tuple[str, tuple[str, ...]]], int]:
    """The names to serve, the most wanted first, and how many are left out.

    Those that were approved in the last day come first, since nobody can have asked for them often yet; then those that
    most users said, then the newest.

    Args:
        session: of the store.
        limit: at most so many.
        now: the time; None for the clock's.

    Returns:
        Texts with their other spellings, first `HEARD` of those that people heard or wrote, and how many approved names
        are beyond `limit`.
    """
    old = Name.changed_at <= (now or datetime.datetime.now(datetime.UTC)) - DAY
    ordered = (
        select(Name.text, Name.spellings, Name.misheard)
        .where(Name.status == "approved")
        .order_by(old, Name.users.desc(), Name.mentions.desc(), Name.changed_at.desc(), Name.id)
        .limit(limit)
    )
    found = [(text, (*spellings[:HEARD], *(misheard or ()))) for text, spellings, misheard in session.execute(ordered)]
    return found, max(0, _approved_count(session) - len(found))


def _approved_count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Name).where(Name.status == "approved")) or 0


def _spellings(given: Iterable[str], text: str) -> list[str]:
    others = list(dict.fromkeys(spoken(each) for each in given))
    if len(others) > MAX_SPELLINGS:
        raise ConfigError(f"{len(others)} other spellings were given; at most {MAX_SPELLINGS} are kept")
    return [each for each in others if each != text]


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise ConfigError(f"a name cannot be {status!r}; it is one of {', '.join(STATUSES)}")
