"""How an approved name is misheard, told at once: espeak-ng says it, and the live bundle writes what it hears.

A name that nobody taught the acoustic model is seldom spelled as it is written, and the live phrases of a server only
help where it nearly is. What is written for it instead is a spelling that stands for the name from the next query on
(`services.recognizer.served_names`). espeak-ng takes a tenth of a second for a query, so this is done within seconds;
the natural voices are for the job that learns the name for good.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from asr.bundle import Bundle
from asr.errors import MissingDependencyError
from asr.learn import LearnConfig, NewName, synthesise
from asr.learn.config import CastConfig
from asr.learn.spellings import hear_names
from services.store.database import Store
from services.store.models import Name

NAMES_A_TURN = 4
"""So that a worker's turn stays short."""
MOST = 12
"""Spellings of a name."""
ENGINE = "espeak"
log = logging.getLogger("dengar.learner")


class QuickListener:
    """Listens to approved names of a store.

    Args:
        bundle: the live one.
        config: of learning; its queries are spoken.
        utterances: of each name.
        work: folder for the speech, which is not kept.
    """

    def __init__(self, bundle: Bundle, config: LearnConfig, utterances: int, work: Path) -> None:
        cast = (CastConfig(ENGINE, speed=(0.8, 1.1), pitch=(0.8, 1.4)),)
        speech = dataclasses.replace(
            config.synthesis, cast=cast, utterances_per_name=max(1, utterances), held_out_per_name=0, jobs=1
        )
        self._bundle, self._work = bundle, work
        self._config = dataclasses.replace(config, synthesis=speech)
        self._off = not utterances or ENGINE in config.synthesis.reserved

    def turn(self, store: Store) -> int:
        """Listens to a few names that were approved since, and writes down what was heard; returns how many.

        Raises:
            StoreError: the store fails; the next turn begins anew.
        """
        if self._off:
            return 0
        with store.reading() as session:
            wanted = select(Name.id, Name.text).where(Name.status == "approved", Name.misheard.is_(None))
            chosen = wanted.order_by(Name.changed_at).limit(NAMES_A_TURN)
            names = {row.id: row.text for row in session.execute(chosen)}
        if not names:
            return 0
        try:
            heard = self._listen(sorted(set(names.values())))
        except MissingDependencyError as error:
            log.warning("approved names are served as they are written: %s", error)
            self._off = True
            return 0

        def note(session: Session) -> None:
            for key, text in names.items():
                name = session.get(Name, key)
                if name is not None and name.text == text:
                    name.misheard = list(heard.get(text, ()))

        store.run(note)
        return len(names)

    def _listen(self, names: list[str]) -> dict[str, tuple[str, ...]]:
        shutil.rmtree(self._work, ignore_errors=True)
        spoken = synthesise([NewName(name) for name in names], self._config, self._work)
        heard = hear_names(self._bundle, names, spoken.train, MOST, self._config.seed)
        shutil.rmtree(self._work, ignore_errors=True)
        return heard
