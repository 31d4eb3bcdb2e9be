"""What the live bundle writes for an approved name that espeak-ng says."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from asr.bundle import load_bundle
from asr.learn import load_learn_config
from services.learner import names
from services.learner.misheard import QuickListener
from services.registry import Registry
from services.store.database import Store
from services.store.models import Name


def misheard(store: Store) -> dict[str, list[str] | None]:
    with store.reading() as session:
        return {row.text: row.misheard for row in session.execute(select(Name.text, Name.misheard))}


def test_approved_names_are_listened_to_once_and_anew_when_respelled(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/dengar.db")
    registry = Registry(tmp_path / "registry")
    registry.begin()
    listener = QuickListener(load_bundle(registry.path(registry.live())), load_learn_config(), 2, tmp_path / "speech")
    try:
        assert listener.turn(store) == 0
        added = store.run(lambda session: names.add_name(session, "Tomas Berdych", actor="test").id)
        before = names_revision(store)
        assert misheard(store) == {"tomas berdych": None}
        assert listener.turn(store) == 1
        heard = misheard(store)["tomas berdych"]
        assert heard is not None
        assert all(text != "tomas berdych" and len(text) >= 6 for text in heard)
        assert names_revision(store) != before  # servers read the names anew
        assert listener.turn(store) == 0
        assert not (tmp_path / "speech").exists()
        store.run(lambda session: names.approve_name(session, added, "Tomas Berdich", actor="test"))
        assert misheard(store) == {"tomas berdich": None}
        with store.reading() as session:
            found, left_out = names.approved(session, 10)
        assert (found, left_out) == ([("tomas berdich", ("tomas berdych",))], 0)
    finally:
        store.close()


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/dengar.db")
    registry = Registry(tmp_path / "registry")
    registry.begin()
    try:
        store.run(lambda session: names.add_name(session, "tomas berdych", actor="test"))
        bundle = load_bundle(registry.path(registry.live()))
        assert QuickListener(bundle, load_learn_config(), 0, tmp_path / "speech").turn(store) == 0
        assert misheard(store) == {"tomas berdych": None}
    finally:
        store.close()


def names_revision(store: Store) -> names.Revision:
    with store.reading() as session:
        return names.revision(session)
