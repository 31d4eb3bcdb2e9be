"""Exports: consented queries, as other tools read them, within the reach of forgetting."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from asr.corpus.manifest import AudioReader, read_manifest
from asr.errors import ConfigError
from services.store.database import Store
from services.store.export import Export, export
from services.store.models import Feedback, Job, Query
from services.store.retention import forget
from tests.services.store.conftest import NOW, OpenStore, noise, put, query
from tests.services.store.test_retention import mention

HOUR = timedelta(hours=1)


def ids_in(done: Export) -> list[str]:
    lines = (done.folder / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line)["id"] for line in lines]


def test_an_export_reads_as_a_manifest(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(encryption_keys=(bytes(32),))
    spoken, corrected = put(store, query("ann", at=NOW), query("bob", at=NOW + HOUR, transcript="call hannah"))
    [written] = put(store, query("ann", consent="transcript"))
    with store.session() as session:
        for text in ("call anja", "call anya"):
            session.add(Feedback(query_id=corrected, at=NOW, kind="corrected", text=text))
    told: list[tuple[int, int]] = []
    done = export(store, tmp_path / "out", advance=lambda *numbers: told.append(numbers))
    assert (done.recordings, done.seconds, done.transcripts, done.left_out) == (2, 1.0, 1, {})
    assert told == [(1, 3), (2, 3), (3, 3)]
    manifest = read_manifest(done.folder / "manifest.jsonl")
    assert manifest.problems == ()
    first, second = manifest.utterances
    assert (first.id, first.text, first.source) == (spoken, "call anna", "query log, hypothesis")
    assert (second.id, second.text, second.source) == (corrected, "call anya", "query log, corrected")
    assert {(row.consent, row.duration, row.corpus) for row in manifest.utterances} == {("audio", 0.5, "query log")}
    assert first.speaker == store.user_hash("ann")[:16] != second.speaker
    assert np.array_equal(AudioReader(manifest.root).read(first), noise(seed=0))
    [line] = [json.loads(line) for line in (done.folder / "transcripts.jsonl").read_text().splitlines()]
    assert (line["id"], line["text"], line["consent"]) == (written, "call anna", "transcript")
    assert stat.S_IMODE(done.folder.stat().st_mode) == 0o700


def test_an_export_is_bounded_by_time_names_and_number(store: Store, tmp_path: Path) -> None:
    keys = put(store, *(query(at=NOW + n * HOUR) for n in range(5)))
    name = mention(store, "anna", keys[0], keys[3])
    for number, (wanted, bounds) in enumerate(
        [
            (keys, {}),
            (keys[1:3], {"since": NOW + HOUR, "until": NOW + 3 * HOUR}),
            ([keys[0], keys[3]], {"names": [name]}),
            ([keys[3]], {"names": ["anna"], "since": NOW + HOUR}),
            (keys[3:], {"limit": 2}),
        ]
    ):
        assert ids_in(export(store, tmp_path / str(number), **bounds)) == wanted  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'hannah' is neither the id nor the text of a name"):
        export(store, tmp_path / "none", names=["hannah"])
    with pytest.raises(ConfigError, match="no query in the store is of that time"):
        export(store, tmp_path / "nothing", until=NOW)


def test_a_folder_in_use_is_refused(store: Store, tmp_path: Path) -> None:
    put(store, query())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="holds something already"):
        export(store, tmp_path)


def test_recordings_that_cannot_be_read_are_left_out_and_counted(store: Store, tmp_path: Path) -> None:
    good, gone = put(store, query(), query())
    [silent] = put(store, query(), audio=False)
    with store.reading() as session:
        store.audio.remove(session.get_one(Query, gone).audio_ref)
    done = export(store, tmp_path / "out")
    assert ids_in(done) == [good]
    assert done.left_out == {"the recording cannot be read": 1, "the audio was not kept": 1}
    assert silent in _ids(store)
    with store.reading() as session:
        job = session.get_one(Job, done.id)
    assert (job.kind, job.status, job.result["recordings"]) == ("export", "done", 1)


def test_forgetting_reaches_an_export(store: Store, tmp_path: Path) -> None:
    mine, theirs = put(store, query("ann"), query("bob"))
    [written] = put(store, query("ann", consent="transcript"))
    done = export(store, tmp_path / "out")
    found = forget(store, "ann")
    assert (found.deleted.exported, found.deleted.training_rows, found.jobs) == (2, 0, ())
    assert ids_in(done) == [theirs]
    assert [path.stem for path in (done.folder / "rows").iterdir()] == [theirs]
    held = "".join(path.read_text() for path in done.folder.glob("*.jsonl"))
    assert mine not in held
    assert written not in held


def test_who_is_forgotten_while_an_export_is_written_is_not_in_it(store: Store, tmp_path: Path) -> None:
    put(store, query("ann"), query("bob"))

    def advance(done: int, _all: int) -> None:
        if done == 1:
            assert forget(store, "ann").files.left == 1, "the export is being written"

    done = export(store, tmp_path / "out", advance=advance)
    assert done.recordings == 1
    assert done.left_out == {"deleted meanwhile": 1}
    assert ids_in(done) == [path.stem for path in (done.folder / "rows").iterdir()]


def _ids(store: Store) -> list[str]:
    with store.reading() as session:
        return list(session.scalars(select(Query.id)))
