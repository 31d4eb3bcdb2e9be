"""Encryption at rest: nothing that a user said lies open, each key opens what it closed, and a missing one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, text

from asr.errors import ConfigError
from services.store import encryption, keys
from services.store.config import store_config
from services.store.database import Store
from services.store.encryption import Cipher, EncryptedJson, EncryptedText
from services.store.errors import StoreError
from services.store.models import Feedback, Query, Span
from services.store.rekey import encrypted_columns, rekey
from tests.services.store.conftest import KEY, NOW, OpenStore, noise, put, query

OLD, NEW = bytes([7] * 32), bytes([8] * 32)
SECRET_WORDS = ("call anna", "hannah", "anja", "AnjA", "correction")


def fill(store: Store) -> str:
    [key] = put(store, query())
    with store.session() as session:
        session.add(Feedback(query_id=key, at=NOW, kind="corrected", text="call the correction"))
    return key


def read(store: Store) -> tuple[object, ...]:
    with store.reading() as session:
        found, span = session.scalars(select(Query)).one(), session.scalars(select(Span)).one()
        feedback = session.scalars(select(Feedback)).one()
        assert np.array_equal(store.audio.get(found.audio_ref), noise())
        return (
            found.transcript,
            found.nbest[1]["text"],
            found.words[0]["word"],
            span.spellings[0]["text"],
            feedback.text,
        )


READ = ("call anna", "call hannah", "call", "anja", "call the correction")


def raw(store: Store) -> str:
    """All cells of all tables, as they lie there."""
    with store.engine.connect() as connection:
        tables = [table.name for table in Query.metadata.sorted_tables]
        return repr([connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables])


def test_an_encrypted_store_reads_as_a_plain_one_and_holds_no_words(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(encryption_keys=(OLD,))
    fill(store)
    assert read(store) == READ
    held = raw(store)
    assert not [word for word in SECRET_WORDS if word in held]
    store.close()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [word for word in (*SECRET_WORDS, "fLaC") if any(word.encode() in data for data in files)]


def test_a_plain_store_holds_them(open_store: OpenStore) -> None:
    store = open_store()
    fill(store)
    assert all(word in raw(store) for word in SECRET_WORDS)


@pytest.mark.parametrize("given", [(), (NEW,)])
def test_a_missing_key_is_named(open_store: OpenStore, given: tuple[bytes, ...]) -> None:
    open_store(encryption_keys=(OLD,))
    with pytest.raises(ConfigError, match=f"is encrypted, and the key {keys.fingerprint(OLD)} is missing") as error:
        open_store(encryption_keys=given)
    assert "\n" not in str(error.value)


def test_to_encrypt_without_a_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make one with dengar store new-key"):
        Store.of(store_config(url=f"sqlite:///{tmp_path}/dengar.db", encrypt=True))


def test_the_keys_of_a_configuration_encrypt(tmp_path: Path) -> None:
    keys.new_key_file(tmp_path / "keys")
    settings = {"url": f"sqlite:///{tmp_path}/dengar.db", "encrypt": True, "encryption_keys": f"{tmp_path}/keys"}
    store = Store.of(store_config(**settings))
    fill(store)
    assert read(store) == READ
    assert "call anna" not in raw(store)
    store.close()


def test_a_key_is_replaced_by_another(open_store: OpenStore) -> None:
    fill(open_store(encryption_keys=(OLD,)))
    both = open_store(encryption_keys=(NEW, OLD))
    assert read(both) == READ, "before"
    done = rekey(both)
    assert (done.rows, done.recordings) == (3, 1)
    assert rekey(both).recordings == 0, "again finds nothing to do"
    store = open_store(encryption_keys=(NEW,))
    assert read(store) == READ
    assert len(list(store.audio.list())) == 1, "the old recording is gone"
    with pytest.raises(ConfigError, match="is missing"):
        open_store(encryption_keys=(OLD,))


def test_a_plain_store_is_encrypted_afterwards(open_store: OpenStore) -> None:
    fill(open_store())
    store = open_store(encryption_keys=(OLD,))
    assert read(store) == READ
    rekey(store)
    assert read(store) == READ
    assert not [word for word in SECRET_WORDS if word in raw(store)]
    assert [stored.ref.endswith(".flac.enc") for stored in store.audio.list()] == [True]


def test_without_encrypting_keys_only_read(open_store: OpenStore) -> None:
    fill(open_store(encryption_keys=(OLD,)))
    store = open_store(encryption_keys=(OLD,), encrypt=False)
    assert read(store) == READ
    put(store, query(transcript="in the open"), spans=0)
    assert "in the open" in raw(store)
    with pytest.raises(ConfigError, match="is not to be encrypted"):
        rekey(store)


def test_stores_with_different_keys_are_open_side_by_side(tmp_path: Path) -> None:
    stores = [
        Store.open(f"sqlite:///{tmp_path}/{n}/dengar.db", key=KEY, encryption_keys=given)
        for n, given in enumerate([(OLD,), (NEW,), ()])
    ]
    for store in stores:
        fill(store)
    assert [read(store) for store in stores] == [READ] * 3
    for store in stores:
        store.close()


def test_a_changed_token_is_refused(open_store: OpenStore) -> None:
    store = open_store(encryption_keys=(OLD,))
    fill(store)
    with store.session() as session:
        session.execute(text("UPDATE queries SET transcript = substr(transcript, 1, 40) || 'AAAA'"))
    with pytest.raises(StoreError, match="cannot be decrypted"):
        read(store)


def test_what_users_say_is_encrypted() -> None:
    assert encrypted_columns(Query) == ["transcript", "nbest", "words"]
    assert encrypted_columns(Feedback) == ["text"]
    assert encrypted_columns(Span) == ["heard", "before", "after", "spellings", "phones", "proposals"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.booleans())
def test_any_text_comes_back(value: str, encrypts: bool) -> None:
    engine = create_engine("sqlite://")
    encryption.attach(engine, Cipher([OLD]) if encrypts else None)
    kind = EncryptedText()
    stored = kind.process_bind_param(value, engine.dialect)
    assert stored is not None
    assert kind.process_result_value(stored, engine.dialect) == value
    assert not encrypts or len(value) < 3 or value not in stored


@given(st.lists(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False) | st.none())), st.booleans())
def test_any_list_comes_back(value: list[dict[str, object]], encrypts: bool) -> None:
    engine = create_engine("sqlite://")
    encryption.attach(engine, Cipher([OLD]) if encrypts else None)
    kind = EncryptedJson()
    assert kind.process_result_value(kind.process_bind_param(value, engine.dialect), engine.dialect) == value
