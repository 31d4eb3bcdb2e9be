"""Names are noticed: alike ones together, floods not, whatever the order, and nothing twice."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pytest
from sqlalchemy import select

from services.learner import names
from services.learner.candidates import Noticer
from services.learner.config import LearnerConfig, load_learner_config
from services.learner.mentions import waiting
from services.learner.noticed import Noticed
from services.store.database import Store
from services.store.models import AuditEntry, Feedback, Mention, Name, Span
from tests.services.crashing import crash
from tests.services.learner.heard import HOUR, KNOWN, T0, hear, query_id, say

SPELLINGS = ("kovalchick", "kowalchik", "kovalcheck", "koval chick", "covalchik", "kovalchuk")
NOW = T0 + 30 * HOUR
CRASH_POINTS = ("learner.spans-gathered", "learner.feedback-gathered")


def noticer(**sections: object) -> Noticer:
    return Noticer(LearnerConfig(**sections), KNOWN)  # type: ignore[arg-type]


def state(store: Store) -> list[tuple[object, ...]]:
    """Everything about names that is in the store."""
    with store.reading() as session:
        found = session.scalars(select(Name).order_by(Name.id))
        rows: list[tuple[object, ...]] = [
            (n.id, n.text, n.status, tuple(n.spellings), n.source, n.mentions, n.users, n.reason) for n in found
        ]
        mentions = session.scalars(select(Mention).order_by(Mention.name_id, Mention.query_id))
        rows += [(m.name_id, m.query_id, m.spelling, m.source, round(m.distance, 5)) for m in mentions]
        return rows


def only_name(store: Store) -> Name:
    with store.reading() as session:
        (name,) = session.scalars(select(Name)).all()
        return name


def test_the_shipped_file_holds_the_defaults() -> None:
    assert load_learner_config() == LearnerConfig()


def test_what_sounds_alike_becomes_one_name_and_is_proposed(store: Store) -> None:
    with store.session() as session:
        for number in range(12):
            hear(session, number, SPELLINGS[number % 6], SPELLINGS[(number + 1) % 6])
        hear(session, 12, "oyelaran")
    found = noticer().run(store, NOW)
    assert (found.spans, found.mentions, found.new) == (13, 13, 2)
    with store.reading() as session:
        name, other = session.scalars(select(Name).order_by(Name.mentions.desc())).all()
        assert (name.text, name.status, name.mentions, name.users) == ("kovalchick", "proposed", 12, 12)
        assert set(name.spellings) <= set(SPELLINGS)
        assert "kowalchik" in name.spellings
        assert (other.text, other.status) == ("oyelaran", "watched")
        trail = session.scalars(select(AuditEntry).where(AuditEntry.subject == name.id).order_by(AuditEntry.id)).all()
        assert [(entry.action, entry.cause) for entry in trail] == [
            ("name.watched", query_id(0)), ("name.proposed", query_id(11))
        ]  # fmt: skip
        assert waiting(session) == (0, 0)


def test_a_query_answered_since_the_turn_began_counts_in_it(store: Store) -> None:
    with store.session() as session:
        for number in range(7):
            hear(session, number, SPELLINGS[number % 6])
    noticer(promotion={"min_mentions": 7}).run(store, T0 + 5.5 * HOUR)
    assert only_name(store).status == "proposed"


def test_running_again_changes_nothing(store: Store) -> None:
    with store.session() as session:
        for number in range(8):
            hear(session, number, SPELLINGS[number % 6])
        say(session, 3, "corrected", "who is kowalczyk")
    noticer().run(store, NOW)
    before = state(store)
    assert noticer().run(store, NOW) == Noticed()
    with store.session() as session:
        for row in (*session.scalars(select(Span)), *session.scalars(select(Feedback))):
            setattr(row, "clustered" if isinstance(row, Span) else "handled", False)
    again = noticer().run(store, NOW)
    assert (again.new, again.mentions) == (0, 0)
    assert state(store) == before


def test_the_order_of_rows_and_the_size_of_batches_play_no_part(
    sqlite_store: Store, tmp_path: Path, migrated_sqlite: Path
) -> None:
    rng = random.Random(5)
    others = ("oyelaran", "oi laran", "brzezinski", "zhezinsky", "messerschmidt")
    rows = [(number, rng.choice(SPELLINGS + others), f"user {rng.randrange(9)}") for number in range(60)]

    def states(order: list[tuple[int, str, str]], store: Store, batch: int) -> list[tuple[object, ...]]:
        with store.session() as session:
            for number, spelling, user in order:
                hear(session, number, spelling, user=user)
        noticer(cluster={"batch": batch}).run(store, NOW + 30 * HOUR)
        return state(store)

    expected = states(rows, sqlite_store, 500)
    for place, batch in enumerate((500, 7)):
        path = tmp_path / f"{place}.db"
        path.write_bytes(migrated_sqlite.read_bytes())
        other = Store.open(f"sqlite:///{path}", key=bytes(range(32)))
        found = states(rng.sample(rows, len(rows)), other, batch)
        other.close()
        # Names in all that they are but the reason, mentions but their distance from what the name was called then.
        assert [row[:-1] for row in found] == [row[:-1] for row in expected]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_batch_is_whole_or_not_there(point: str, sqlite_store: Store, tmp_path: Path) -> None:
    with sqlite_store.session() as session:
        for number in range(8):
            hear(session, number, SPELLINGS[number % 6])
            say(session, number, "corrected", "who is kowalczyk")
    url = f"sqlite:///{tmp_path / 'only.db'}"
    code = (
        "import datetime, sys\nfrom services.store.database import Store\n"
        "from services.learner.candidates import Noticer\nfrom services.learner.config import LearnerConfig\n"
        "store = Store.open(sys.argv[1], key=bytes(range(32)), state=sys.argv[2])\n"
        "Noticer(LearnerConfig(), set(sys.argv[3].split())).run(store, datetime.datetime.fromisoformat(sys.argv[4]))"
    )
    crash(point, code, url, str(tmp_path / "state"), " ".join(sorted(KNOWN)), NOW.isoformat())
    with sqlite_store.reading() as session:
        left = waiting(session)
        mentions = len(session.scalars(select(Mention)).all())
    assert (left, mentions) == (((8, 8), 0) if point == CRASH_POINTS[0] else ((0, 8), 8))
    noticer().run(sqlite_store, NOW)
    name = only_name(sqlite_store)
    assert (name.text, name.status, name.mentions, name.source) == ("kowalczyk", "approved", 8, "feedback")


def test_corrections_by_several_users_spell_and_approve(store: Store) -> None:
    with store.session() as session:
        for number in range(4):
            hear(session, number, SPELLINGS[number])
            if number:
                say(session, number, "corrected", "who is kowalczyk")
    found = noticer().run(store, NOW)
    name = only_name(store)
    assert (name.text, name.status, name.mentions) == ("kowalczyk", "approved", 4)
    assert found.approved == [name.id]
    assert "3 users wrote it alike" in name.reason


def test_a_chosen_result_spells_what_sounds_like_it(sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        hear(session, 1, "kovalchick")
        say(session, 1, "chosen", "Anna Kowalczyk")
        hear(session, 2)
        say(session, 2, "chosen", "Oyelaran Records")
    found = noticer().run(sqlite_store, NOW)
    with sqlite_store.reading() as session:
        mentions = {m.query_id: m.spelling for m in session.scalars(select(Mention))}
    assert mentions == {query_id(1): "kowalczyk"}
    assert found.passed["unlike what was heard"] == 1


def test_what_the_user_explains_is_no_unknown_word(store: Store) -> None:
    with store.session() as session:
        for number, kind, text in ((1, "accepted", ""), (2, "corrected", "who is an old cow"), (3, "abandoned", "")):
            hear(session, number, "oldoyl" + "abc"[number - 1])
            say(session, number, kind, text)
        hear(session, 4, "brzezinski", user="bob", at=T0)
        hear(session, 5, user="bob", at=T0 + datetime.timedelta(seconds=9), transcript="play the cow")
        say(session, 4, "retried", query_id(5), at=T0 + datetime.timedelta(seconds=10))
        hear(session, 6, "messerschmidt", user="ann", at=T0)
        hear(session, 7, user="eve", at=T0 + datetime.timedelta(seconds=9), transcript="play the cow")
        say(session, 6, "retried", query_id(7), at=T0 + datetime.timedelta(seconds=10))
    found = noticer().run(store, NOW)
    assert found.explained == 3
    with store.reading() as session:
        kept = {mention.query_id for mention in session.scalars(select(Mention))}
    assert kept == {query_id(3), query_id(6)}


def test_a_catalogue_entry_spells_and_approves(store: Store) -> None:
    with store.session() as session:
        for number in range(8):
            heard = ("gwishitsky", "kvishchitsky", "gvishinski", "wishitsky")[number % 4]
            hear(session, number, heard, proposals=[("grzegorz brzeczyszczykiewicz", 0.8), ("brent", 0.1)])
    noticer().run(store, NOW)
    name = only_name(store)
    assert (name.text, name.status, name.source) == ("grzegorz brzeczyszczykiewicz", "approved", "catalogue")


def test_approval_can_be_left_to_people(sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        for number in range(8):
            hear(session, number, "kovalchick", proposals=[("kowalczyk", 0.9)])
    noticer(promotion={"auto_approve": False}).run(sqlite_store, NOW)
    assert only_name(sqlite_store).status == "proposed"


def test_two_catalogue_entries_that_sound_alike_stay_two(sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        for number in range(8):
            hear(session, number, "kovalchick", proposals=[(("kowalczyk", "kovalchik")[number % 2], 0.9)])
    noticer().run(sqlite_store, NOW)
    with sqlite_store.reading() as session:
        assert sorted(session.scalars(select(Name.text))) == ["kovalchik", "kowalczyk"]


def test_one_user_makes_no_name_and_few_counts(store: Store) -> None:
    with store.session() as session:
        for number in range(120):
            hear(session, number, "kovalchick", user="mallory", at=T0 + number * HOUR / 12)
            if number < 50:
                say(session, number, "corrected", "who is kowalczyk", at=T0 + number * HOUR / 12)
    found = noticer().run(store, NOW)
    name = only_name(store)
    assert (name.status, name.users, name.mentions) == ("watched", 1, 50)
    assert found.passed["too many of one user"] == 70
    assert "heard 2 times by 1 users" in name.reason


def test_a_song_heard_by_many_devices_at_once_counts_once_each_time(store: Store) -> None:
    with store.session() as session:
        for number in range(60):
            airing, device = divmod(number, 30)
            at = T0 + airing * 3 * HOUR + datetime.timedelta(seconds=device * 0.2)
            hear(session, number, "kovalchick", at=at, proposals=[("kowalczyk", 0.9)])
    noticer(promotion={"min_mentions": 2, "min_users": 2, "catalogue_users": 2}).run(store, NOW)
    name = only_name(store)
    assert name.status == "proposed"
    assert "for a person to judge" in name.reason


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("low score", {"score": 0.2}),
        ("noisy", {"snr_db": -3.0}),
        ("not live", {"role": "candidate"}),
    ],
)
def test_weak_evidence_is_passed_over_and_counted(reason: str, fields: dict[str, object], sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        hear(session, 0, "kovalchick", **fields)  # type: ignore[arg-type]
    assert noticer().run(sqlite_store, NOW).passed == {reason: 1}


@pytest.mark.parametrize(
    ("reason", "spelling"),
    [
        ("too short", "ox"),
        ("too long", "ko val chi ck lu"),
        ("blocked", "lalala kovalchick"),
        ("blocked", "testting"),
        ("known words", "cow all chick"),
    ],
)
def test_what_can_be_no_name_is_passed_over(reason: str, spelling: str, sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        hear(session, 0, spelling)
    assert noticer().run(sqlite_store, NOW).passed == {reason: 1}


def test_known_words_may_be_a_mention_of_a_name_that_is_there(sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        hear(session, 0, "kovalchick")
        hear(session, 1, "cow all chick")
    noticer().run(sqlite_store, NOW)
    name = only_name(sqlite_store)
    assert (name.mentions, name.text) == (2, "kovalchick")


@pytest.mark.parametrize(
    ("spelling", "step", "reason"),
    [("kovalchick", 3, "always beside the same words"), ("farmacy", 1, "sounds like pharmacy")],
)
def test_what_is_always_misheard_is_no_name(spelling: str, step: int, reason: str, sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        for number in range(0, 12 * step, step):
            hear(session, number, spelling)
    noticer().run(sqlite_store, NOW)
    name = only_name(sqlite_store)
    assert name.status == "watched"
    assert reason in name.reason
    with sqlite_store.session() as session:
        for number in range(100, 103):
            hear(session, number, spelling, at=NOW - number * HOUR / 60)
            say(session, number, "corrected", f"who is {spelling}", at=NOW)
    noticer().run(sqlite_store, NOW)
    assert only_name(sqlite_store).status == "approved"


def test_a_rejected_name_is_not_proposed_again_and_an_approved_one_keeps_its_spelling(store: Store) -> None:
    with store.session() as session:
        hear(session, 0, "kovalchick")
        hear(session, 1, "oyelaran")
    first = noticer()
    first.run(store, NOW)
    with store.session() as session:
        names.reject_name(session, "kovalchick", actor="tess")
        names.approve_name(session, "oyelaran", "oyelaran smith", actor="tess")
    with store.session() as session:
        for number in range(2, 20):
            hear(session, number, "kovalchik" if number % 2 else "oyelarann")
            say(session, number, "corrected", "who is kowalczyk" if number % 2 else "who is oielaran")
    first.run(store, NOW)
    with store.reading() as session:
        found = {name.text: (name.status, name.mentions) for name in session.scalars(select(Name))}
    assert found == {"kovalchick": ("rejected", 10), "oyelaran smith": ("approved", 10)}


def test_old_mentions_do_not_add_up_and_forgotten_names_go(sqlite_store: Store) -> None:
    weeks = [T0 + datetime.timedelta(days=9 * number) for number in range(8)]
    with sqlite_store.session() as session:
        for number, at in enumerate(weeks):
            hear(session, number, "kovalchick", at=at)
    own = noticer()
    own.run(sqlite_store, weeks[-1] + HOUR)
    assert only_name(sqlite_store).status == "watched"
    found = own.run(sqlite_store, weeks[-1] + datetime.timedelta(days=40))
    assert found.dropped == 1
    assert state(sqlite_store) == []


def test_names_that_grow_together_become_one(sqlite_store: Store) -> None:
    own = noticer(cluster={"join": 0.02})
    with sqlite_store.session() as session:
        for number in range(3):
            hear(session, number, "kovalchick")
        for number in range(3, 9):
            hear(session, number, "kovaljick")
    own.run(sqlite_store, NOW)
    assert only_name(sqlite_store).mentions == 9


def test_many_names_are_told_apart(sqlite_store: Store) -> None:
    rng = random.Random(0)
    heads, middles, tails = "bdfgklmnprstvz", "aeiou", "lnrstkm"

    def made() -> str:
        return "".join(rng.choice(part) for part in (heads, middles, tails, heads, middles, tails, heads, middles))

    with sqlite_store.session() as session:
        for number in range(250):
            hear(session, number, made(), at=T0 + number * HOUR / 60)
    found = noticer().run(sqlite_store, NOW)
    assert found.mentions == 250
    assert 150 < found.new <= 250
