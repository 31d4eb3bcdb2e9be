"""Noticing names: unknown words that sound alike, gathered over users and time into candidates.

A batch of spans (and of feedback) is one transaction: what it finds is written together with the marks that it was
looked at, so that a batch that was interrupted is done again as if for the first time, and one that was done changes
nothing when it is done again. Within a batch rows are taken in the order of their queries, not in that in which they
were written; the identity of a candidate follows from its first mention.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from asr.unknown.letters import pronounce
from asr.unknown.sound import sound_distance
from services.faults import crash_point
from services.learner import evidence, mentions, names, promotion, rematch
from services.learner.config import LearnerConfig
from services.learner.evidence import Blocklist, Evidence, Judged
from services.learner.known_sounds import KnownSounds
from services.learner.noticed import Noticed
from services.learner.promotion import ACTOR
from services.learner.similar import SoundIndex
from services.learner.weigh import Weight
from services.store.database import Store, lock
from services.store.models import Feedback, Mention, Name, Query, Span

DAY = datetime.timedelta(days=1)
_LESS_LIKELY = 0.02
"""Added to the distance for each place that a spelling stands behind the best."""
_PART = 2
"""Places that a part of a spelling stands behind the whole."""


class Noticer:
    """Turns spans and feedback into names. Several may run on one store: their batches wait for each other.

    Args:
        config: thresholds.
        known: words that the recogniser knows: of its language model, and those that the live bundle learned.
        sounds: of those words, as far as they are known from before; the first `run` pronounces the others, which takes
            some seven processor seconds for 50,000.
    """

    def __init__(
        self, config: LearnerConfig, known: Collection[str] = frozenset(), sounds: KnownSounds | None = None
    ) -> None:
        self.config = config
        self.known = known
        self._blocked = Blocklist.read(config.evidence.blocklists)
        self._index = SoundIndex()
        self._indexed: dict[str, tuple[str, ...]] = {}
        self._sounds = sounds or KnownSounds()

    def run(self, store: Store, now: datetime.datetime) -> Noticed:
        """Looks at everything that was not looked at, batch by batch; each is committed.

        Raises:
            StoreError: the store fails; what was committed before is whole.
        """
        total = Noticed()
        self._sounds.follow(self.known)  # outside of any transaction
        for step in (self.take_spans, self.take_feedback):
            taken = self.config.cluster.batch
            while taken >= self.config.cluster.batch:
                found = store.run(lambda session, step=step: step(session, now))  # type: ignore[misc]
                total.add(found)
                taken = found.spans + found.feedback
        total.add(self.take_catalogue(store, now))
        total.add(store.run(lambda session: self.tidy(session, now)))
        return total

    def take_spans(self, session: Session, now: datetime.datetime) -> Noticed:
        """Looks at the next batch of spans; the caller commits. With nothing left it finds nothing."""
        lock(session, "names")
        rows = session.execute(
            select(Span, Query)
            .join(Query, Query.id == Span.query_id)
            .where(Span.clustered.is_(False))
            .order_by(Query.at, Query.id, Span.start_s, Span.id)
            .limit(self.config.cluster.batch)
        ).all()
        found = Noticed(spans=len(rows))
        if not rows:
            return found
        self._follow(session)
        heard: list[Evidence] = []
        for span, query in rows:
            span.clustered = True
            heard += self._judged(evidence.of_span(span, query, self.config.evidence, self.known, self._blocked), found)
        self._gather(session, heard, found, now)
        crash_point("learner.spans-gathered")
        return found

    def take_feedback(self, session: Session, now: datetime.datetime) -> Noticed:
        """Looks at the next batch of feedback; the caller commits. To be called when no spans are left."""
        lock(session, "names")
        rows = session.execute(
            select(Feedback, Query)
            .join(Query, Query.id == Feedback.query_id)
            .where(Feedback.handled.is_(False))
            .order_by(Feedback.at, Query.id, Feedback.id)
            .limit(self.config.cluster.batch)
        ).all()
        found = Noticed(feedback=len(rows))
        if not rows:
            return found
        self._follow(session)
        heard: list[Evidence] = []
        touched: set[str] = set()
        spans = self._spans(session, [query.id for _, query in rows])
        for feedback, query in rows:
            feedback.handled = True
            retry = None
            if feedback.kind == "retried" and (later := session.get(Query, feedback.text)) is not None:
                retry = later, self._spans(session, [later.id]).get(later.id, [])
            of_query = spans.get(query.id, [])
            judged = evidence.of_feedback(
                feedback, query, of_query, retry, self.config.evidence, self.known, self._blocked
            )
            if judged.explained:
                gone = session.scalars(select(Mention).where(Mention.query_id == query.id, Mention.source == "span"))
                for mention in gone.all():
                    touched.add(mention.name_id)
                    session.delete(mention)
                    found.explained += 1
            heard += self._judged(judged, found)
        session.flush()
        self._gather(session, heard, found, now, touched)
        crash_point("learner.feedback-gathered")
        return found

    def take_catalogue(self, store: Store, now: datetime.datetime) -> Noticed:
        """Compares the next batch of new catalogue entries with what was heard before; a span that one of them explains
        is looked at as if it had just come with that proposal. One batch a turn, for it is slow."""
        with store.reading() as session:
            batch = rematch.read(session, self.config, self._blocked, now)
        if batch is None:
            return Noticed()
        proposals = rematch.match(batch, self.config.cluster.catalogue)
        return store.run(lambda session: self._explain(session, batch, proposals, now))

    def _explain(
        self, session: Session, batch: rematch.Batch, proposals: rematch.Proposals, now: datetime.datetime
    ) -> Noticed:
        lock(session, "names")
        if not rematch.strike_out(session, batch):
            return Noticed()
        found = Noticed(entities=len(batch.ids))
        self._follow(session)
        heard: list[Evidence] = []
        touched: set[str] = set()
        for span, query in rematch.rows(session, proposals):
            span.proposals = proposals[span.id]
            found.explained_late += 1
            for mention in session.scalars(select(Mention).where(Mention.span_id == span.id)).all():
                touched.add(mention.name_id)
                session.delete(mention)
                found.mentions -= 1
            heard += evidence.of_span(span, query, self.config.evidence, self.known, self._blocked).evidence
        session.flush()
        self._gather(session, heard, found, now, touched)
        crash_point("learner.catalogue-matched")
        return found

    def tidy(self, session: Session, now: datetime.datetime) -> Noticed:
        """Weighs names anew that nobody mentions any more, and drops watched ones that are forgotten."""
        lock(session, "names")
        found = Noticed()
        old = now - datetime.timedelta(days=self.config.promotion.forget_days)
        for name in session.scalars(select(Name).where(Name.status == "watched", Name.last_at < old)).all():
            session.delete(name)
            found.dropped += 1
        fading = select(Name).where(Name.trend > 0, Name.last_at < now - DAY)
        for name in session.scalars(fading.order_by(Name.id)).all():
            names.recount(session, name, now, self.config.flood)
        return found

    def _follow(self, session: Session) -> None:
        """Brings the index up to what the store holds: others change names too."""
        stored = {
            key: (text, *spellings)
            for key, text, spellings in session.execute(select(Name.id, Name.text, Name.spellings))
        }
        for key in self._indexed.keys() - stored.keys():
            self._put(key, ())
        for key, spellings in sorted(stored.items()):
            self._put(key, spellings)

    def _put(self, key: str, spellings: Iterable[str]) -> None:
        spellings = tuple(dict.fromkeys(spellings))
        if self._indexed.get(key) != spellings:
            self._index.set(key, (part for text in spellings for part in (text, self._last(text)) if part))
            self._indexed[key] = spellings
        if not spellings:
            del self._indexed[key]

    def _sounds_known(self, text: str) -> str:
        """The known word that a spelling sounds like, or nothing."""
        return self._sounds.near(text, self.config.promotion.known_sound)

    def _last(self, text: str) -> str:
        """The last of several words, such as a surname, if it can stand for all of them; else nothing."""
        *others, last = text.split() or [""]
        enough = others and len(pronounce(last)[0]) > self.config.evidence.min_phones and last not in self.known
        return last if enough else ""

    @staticmethod
    def _judged(judged: Judged, found: Noticed) -> tuple[Evidence, ...]:
        if judged.passed:
            found.passed[judged.passed] += 1
        return judged.evidence

    @staticmethod
    def _spans(session: Session, queries: Collection[str]) -> dict[str, list[Span]]:
        spans: dict[str, list[Span]] = {}
        for span in session.scalars(select(Span).where(Span.query_id.in_(queries)).order_by(Span.start_s, Span.id)):
            spans.setdefault(span.query_id, []).append(span)
        return spans

    def _gather(
        self,
        session: Session,
        heard: list[Evidence],
        found: Noticed,
        now: datetime.datetime,
        touched: Iterable[str] = (),
    ) -> None:
        """Adds mentions to the names that they are of, or to new ones, and weighs these anew."""
        names_touched = set(touched)
        of_query = mentions.of_queries(session, {each.query_id for each in heard})
        of_user = self._recent(session, heard)
        for each in sorted(heard, key=lambda item: item.order):
            recent = [at for at in of_user.get(each.user_hash, ()) if each.at - DAY < at <= each.at]
            if len(recent) >= self.config.evidence.per_user_a_day and not of_query.get(each.query_id):
                found.passed["too many of one user"] += 1
                continue
            name = self._find(session, each) or self._found(session, each, found)
            if name is None:
                found.passed["known words"] += 1
                continue
            if self._mention(session, name, each, of_query, names_touched):
                of_user.setdefault(each.user_hash, []).append(each.at)
                found.mentions += 1
        session.flush()
        for key in sorted(names_touched):
            self._weigh(session, key, found, now)
        for key in sorted(names_touched):
            self._merge(session, key, found, now)

    def _recent(self, session: Session, heard: list[Evidence]) -> dict[str, list[datetime.datetime]]:
        """When the users of a batch were listened to in the day before it."""
        if not heard:
            return {}
        first = min(each.at for each in heard) - DAY
        users = sorted({each.user_hash for each in heard})
        rows = session.execute(
            select(Mention.user_hash, Mention.at).where(Mention.user_hash.in_(users), Mention.at > first)
        )
        recent: dict[str, list[datetime.datetime]] = {}
        for user, at in rows:
            recent.setdefault(user, []).append(at)
        return recent

    def _find(self, session: Session, each: Evidence) -> tuple[Name, float] | None:
        """The name that something heard is a mention of, and its distance from it."""
        cluster = self.config.cluster
        listed = each.proposals[0][0] if each.proposals and each.proposals[0][1] >= cluster.catalogue else ""
        for _, key, text in self._index.near(listed, 0.0) if listed else ():
            if text == listed and (name := session.get(Name, key)) is not None and name.text == listed:
                return name, 0.0
        near = [
            (distance + _LESS_LIKELY * (rank + _PART * place), key, distance)
            for rank, spelling in enumerate(each.spellings)
            for place, text in enumerate((spelling, self._last(spelling)))
            for distance, key, _ in (self._index.near(text, cluster.join) if text else ())
        ]
        for _, key, distance in sorted(near):
            name = session.get(Name, key)
            # Two catalogue entries may sound alike and are still two.
            if name is not None and not (listed and name.source == "catalogue" and name.text != listed):
                return name, distance
        return None

    def _found(self, session: Session, each: Evidence, found: Noticed) -> tuple[Name, float] | None:
        """A new name, or None if what was heard is spelled in known words."""
        text, source = each.spellings[0], "heard" if each.source == "span" else "feedback"
        if each.proposals and each.proposals[0][1] >= self.config.cluster.catalogue:
            text, source = each.proposals[0][0], "catalogue"
        elif not each.founds:
            return None
        name = names.new_name(text[: names.MAX_LETTERS], source=source, now=each.at)
        name.id = hashlib.sha256(f"{each.query_id} {text}".encode()).hexdigest()[:16]
        if session.get(Name, name.id) is not None:
            return None
        session.add(name)
        names.set_status(
            session, name, "watched", actor=ACTOR, reason="heard for the first time", cause=each.query_id, now=each.at
        )
        session.flush()
        self._put(name.id, (text, *each.spellings))
        found.new += 1
        return name, 0.0

    def _mention(
        self,
        session: Session,
        match: tuple[Name, float],
        each: Evidence,
        of_query: dict[str, list[Mention]],
        touched: set[str],
    ) -> bool:
        """Writes a mention down: one for a query and a name; what the user wrote replaces what was heard."""
        name, distance = match
        there = of_query.setdefault(each.query_id, [])
        mention = next((one for one in there if one.name_id == name.id), None)
        touched.add(name.id)
        if each.source == "feedback":
            for other in [one for one in there if one.source == "span" and one.name_id != name.id]:
                touched.add(other.name_id)
                there.remove(other)
                session.delete(other)
        if mention is not None:
            if each.source == "feedback" and (mention.source, mention.spelling) != ("feedback", each.spellings[0]):
                mention.source, mention.spelling, mention.distance = each.source, each.spellings[0], distance
            return False
        mention = Mention(
            name_id=name.id,
            query_id=each.query_id,
            span_id=each.span_id,
            at=each.at,
            user_hash=each.user_hash,
            spelling=each.spellings[0],
            source=each.source,
            distance=distance,
        )
        session.add(mention)
        there.append(mention)
        return True

    def _weigh(self, session: Session, key: str, found: Noticed, now: datetime.datetime) -> None:
        """Counts a name anew; spells and promotes it while it is still open."""
        name = session.get(Name, key)
        if name is None:
            return
        names.recount(session, name, now, self.config.flood)
        if name.status == "watched" and not name.mentions:
            session.delete(name)
            session.flush()
            self._put(key, ())
            found.dropped += 1
            return
        weight = promotion.weight_of(session, name, self.config, self._blocked, self.known, now)
        if weight is None or name.status not in promotion.OPEN:
            return
        self._spell(name, weight)
        came_to = promotion.promote(session, name, weight, self.config, now, self._sounds_known)
        found.proposed += [key] * ("proposed" in came_to)
        found.approved += [key] * ("approved" in came_to)

    def _spell(self, name: Name, weight: Weight) -> None:
        text = weight.text[: names.MAX_LETTERS]
        if text != name.text:
            name.text, name.misheard = text, None
        name.source = weight.source
        name.spellings = list(weight.spellings)
        name.phones = pronounce(name.text)[0]
        self._put(name.id, (name.text, *name.spellings))

    def _merge(self, session: Session, key: str, found: Noticed, now: datetime.datetime) -> None:
        """Lets a watched name be absorbed by another that sounds the same, the older one if both are watched."""
        name = session.get(Name, key)
        if name is None:
            return
        near = [session.get(Name, other) for _, other, _ in self._index.near(name.text, self.config.cluster.merge)]
        alike = [
            other for other in near
            if other is not None and other is not name
            and sound_distance(name.text, other.text) <= self.config.cluster.merge
            and (other.status == "watched" or name.status == "watched")
        ]  # fmt: skip
        for other in sorted(alike, key=lambda each: (each.first_at, each.id)):
            kept, gone = sorted((name, other), key=lambda each: (each.status == "watched", each.first_at, each.id))
            if mentions.spelled_apart(kept, gone):
                continue
            mentions.absorb(session, kept, gone)
            self._put(gone.id, ())
            found.merged += 1
            self._weigh(session, kept.id, found, now)
            if gone is name:
                return
