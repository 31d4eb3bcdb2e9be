"""The sounds of known words are kept: only new words are pronounced, and a file of no use is as none."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from services.learner import known_sounds
from services.learner.candidates import Noticer
from services.learner.config import LearnerConfig
from services.learner.known_sounds import FILE, KnownSounds
from services.learner.similar import SoundIndex
from services.store.database import Store
from tests.services.learner.heard import HOUR, KNOWN, T0, hear

WORDS = frozenset(["pharmacy", "coward", "kitchen", "gouda", "jaguar", "o'", "'"])


def followed(folder: Path | None, words: frozenset[str] = WORDS) -> KnownSounds:
    sounds = KnownSounds(folder)
    sounds.follow(words)
    return sounds


def test_what_was_pronounced_is_read_again_and_answers_alike(tmp_path: Path) -> None:
    first, again = followed(tmp_path / "work"), followed(tmp_path / "work")
    assert (first.pronounced, again.pronounced) == (7, 1)  # an apostrophe alone has no sound
    for text in ("farmacy", "cowart", "hagwar", "kichen", "nothing alike"):
        assert first.near(text, 0.2) == again.near(text, 0.2)
    assert again.near("farmacy", 0.1) == "pharmacy"


def test_only_what_changes_is_pronounced(tmp_path: Path) -> None:
    sounds = followed(tmp_path)
    changed = WORDS - {"pharmacy"} | {"messerschmidt"}
    sounds.follow(changed)
    for own in (sounds, followed(tmp_path, changed)):
        assert own.near("farmacy", 0.1) == ""
        assert own.near("messershmit", 0.1) == "messerschmidt"
    assert sounds.pronounced == 9
    before = (tmp_path / FILE).stat().st_mtime_ns
    assert followed(tmp_path, changed).pronounced == 1
    assert (tmp_path / FILE).stat().st_mtime_ns == before


def test_a_file_of_no_use_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    followed(tmp_path)
    path = tmp_path / FILE
    whole = path.read_bytes()
    for content in (b"", b"no such file", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING, "dengar.learner"):
            assert followed(tmp_path).pronounced == 7
        assert "cannot be read and is made anew" in caplog.messages[-1]
        assert followed(tmp_path).pronounced == 1
    monkeypatch.setattr(known_sounds, "_rules", lambda: "others")
    assert followed(tmp_path).pronounced == 7


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "dengar.learner"):
        assert followed(tmp_path / "file").near("farmacy", 0.1) == "pharmacy"
    assert "cannot be written" in caplog.text


def test_arrays_that_do_not_fit_are_refused() -> None:
    index = SoundIndex()
    index.set("a", ["ann", "annie"])
    index.set("b", ["bob"])
    index.set("a", ["anna"])
    arrays = index.arrays()
    assert SoundIndex.of_arrays(arrays).near("bobb", 0.3) == index.near("bobb", 0.3)
    assert SoundIndex.of_arrays(SoundIndex().arrays()).near("bob", 0.9) == []
    for name in arrays:
        with pytest.raises(ValueError, match="do not fit"):
            SoundIndex.of_arrays({**arrays, name: np.concatenate([arrays[name], arrays[name]])})


def test_a_noticer_knows_misheard_words_by_what_was_kept(sqlite_store: Store, tmp_path: Path) -> None:
    with sqlite_store.session() as session:
        for number in range(12):
            hear(session, number, "farmacy")
    followed(tmp_path, KNOWN)
    kept = KnownSounds(tmp_path)
    found = Noticer(LearnerConfig(), KNOWN, kept).run(sqlite_store, T0 + 30 * HOUR)
    assert (found.proposed, kept.pronounced) == ([], 0)
