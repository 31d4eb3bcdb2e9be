"""The options of the store: for the signatures of commands that use one, and what becomes of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from services.store.config import StoreConfig

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="DENGAR_STORE",
        help="Where queries are kept whose users allow it, and names found: sqlite:///FOLDER/FILE.db, "
        "postgresql://USER@HOST/NAME, or a YAML file of settings. Without it nothing is kept.",
    ),
]
StoreAudio = Annotated[
    str | None,
    typer.Option(
        envvar="DENGAR_STORE_AUDIO", help="Folder or fsspec URL of its recordings; beside the database if none."
    ),
]
StoreKeyFile = Annotated[
    str | None,
    typer.Option(envvar="DENGAR_STORE_KEY_FILE", help="File with the key that hashes users; made beside the database."),
]
StoreEncryptionKeys = Annotated[
    str | None,
    typer.Option(
        envvar="DENGAR_STORE_ENCRYPTION_KEY_FILE", help="File with keys that encrypt it, the newest first; see docs."
    ),
]
LiveNames = Annotated[
    int,
    typer.Option(min=0, envvar="DENGAR_LIVE_NAMES", help="Approved names served to every stream; more are left out."),
]
LiveNamesBoost = Annotated[
    float,
    typer.Option(
        min=0, max=20, envvar="DENGAR_LIVE_NAMES_BOOST", help="What each is worth, in nats; 0: the bundle's own."
    ),
]


def store_of(
    where: str | None, *, audio: str | None = None, key_file: str | None = None, encryption_keys: str | None = None
) -> StoreConfig | None:
    """The store's settings from the options; None if there is to be none.

    Raises:
        ConfigError: one of them makes no sense, or is given without a store.
    """
    from asr.errors import ConfigError
    from services.store.config import load_store_config, store_config

    given = {"audio": audio, "user_key": key_file, "encryption_keys": encryption_keys}
    values = {name: value for name, value in given.items() if value}
    if not where:
        if values:
            raise ConfigError("options of the store are given without one; name it with --store")
        return None
    config = load_store_config(where)
    if encryption_keys:
        values["encrypt"] = True  # type: ignore[assignment]
    return store_config(**{**dataclasses.asdict(config), **values})
