"""`dengar names` in a store and through a server, and a server that is killed right after it acknowledged feedback."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from asr.errors import ConfigError, DengarError
from services.cli.main import main
from services.client import Client, Options, SpeechServiceError
from services.load.server import scrape, served
from services.store.database import Store
from services.store.models import Feedback, Query
from tests.services.conftest import linear16, tones

DATA = linear16(tones("one two"))


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["names", *arguments, "--json"]) == code
    said = capsys.readouterr()
    return json.loads(said.out) if code == 0 else said.err


def test_the_story_of_a_name_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--store", f"sqlite:///{tmp_path}/dengar.db")
    assert run(capsys, "list", *where) == []
    added = run(capsys, "add", "Siobhan Quill", "--spelling", "shivawn quill", *where)
    assert (added["text"], added["status"], added["spellings"]) == ("siobhan quill", "approved", ["shivawn quill"])
    assert run(capsys, "reject", "siobhan quill", "--reason", "a joke", *where)["status"] == "rejected"
    assert run(capsys, "approve", added["id"], "--text", "siobhan quills", *where)["text"] == "siobhan quills"
    assert [row["text"] for row in run(capsys, "list", "--status", "approved", *where)] == ["siobhan quills"]
    assert run(capsys, "list", "--status", "watched", "--status", "proposed", *where) == []
    trail = run(capsys, "show", "Siobhan Quills", *where)["trail"]
    assert [entry["action"] for entry in trail] == ["name.approved", "name.rejected", "name.approved"]
    assert "no name 'nobody'" in run(capsys, "show", "nobody", *where, code=2)
    assert "it is one of watched" in run(capsys, "list", "--status", "gone", *where, code=2)

    assert main(["names", "list", *where]) == 0
    assert "siobhan quills" in capsys.readouterr().out
    assert main(["names", "show", added["id"], *where]) == 0
    shown = capsys.readouterr().out
    assert "siobhan quills: approved (approved by" in shown
    assert shown.count("name.approved") == 2


def test_a_catalogue_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--store", f"sqlite:///{tmp_path}/dengar.db")
    table, lines, wrong = tmp_path / "artists.csv", tmp_path / "names.txt", tmp_path / "wrong.csv"
    table.write_text("name,kind,weight\nTavia Brunello,artist,2.5\n☃,artist,1\n,,\n", encoding="utf-8")
    lines.write_text("Odessa Klemp\n\nTavia Brunello\n", encoding="utf-8")
    wrong.write_text("name,weight\nOdessa,much\n", encoding="utf-8")
    first = run(capsys, "import", str(table), *where)
    assert first == {"added": 1, "updated": 0, "refused": ["☃"], "refused_count": 1}
    assert run(capsys, "import", str(lines), "--source", "contacts", *where)["added"] == 1
    assert "wrong.csv:2: weight 'much' is no number" in run(capsys, "import", str(wrong), *where, code=2)
    assert "cannot be read" in run(capsys, "import", str(tmp_path / "none"), *where, code=2)
    assert main(["names", "import", str(table), *where]) == 0
    assert "cannot be said" in capsys.readouterr().err


def test_a_server_that_is_killed_right_after_it_said_yes(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/dengar.db"
    said: dict[str, Any] = {}

    def use_and_kill() -> None:
        arguments = ("--bundle", str(tiny_bundle), "--store", url, "--state", str(tmp_path), "--threads", "1")
        with served(*arguments) as server, Client(server.address) as client:
            decide(server.address, client, capsys)
            said.update(ask(server.address, client, capsys, tmp_path))
            said["counted"] = scrape(str(server.metrics_url))
            os.kill(server.pid, signal.SIGKILL)

    with pytest.raises(DengarError, match="ended with code -9"):
        use_and_kill()
    assert said["counted"]['dengar_query_log_queries_total{outcome="written"}'] == 3
    assert said["counted"]['dengar_feedback_total{kind="retried"}'] == 1
    store = Store.open(url)
    with store.reading() as session:
        queries = {query.id: query for query in session.scalars(select(Query))}
        kinds = session.execute(select(Feedback.query_id, Feedback.kind).order_by(Feedback.id)).all()
    streamed, whole, typed = said["streamed"], said["whole"], said["typed"]
    assert kinds == [(whole.query_id, "retried"), (typed, "corrected"), (streamed.query_id, "accepted")]
    assert [queries[each].consent for each in (whole.query_id, streamed.query_id, typed)] == [
        "audio",
        "audio",
        "transcript",
    ]
    assert queries[whole.query_id].transcript == whole.text
    recording = np.rint(store.audio.get(queries[streamed.query_id].audio_ref) * 32768)
    assert np.abs(recording - np.frombuffer(DATA, "<i2")).max() <= 1
    store.close()


def decide(address: str, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--address", address)
    assert run(capsys, "add", "Tavia Brunello", *at)["reason"] == "added by 127.0.0.1"
    assert "trail" not in run(capsys, "show", "tavia brunello", *at)
    assert [row["text"] for row in run(capsys, "list", *at)] == ["tavia brunello"]
    assert client.names.reject("tavia brunello", "a test").status == "rejected"
    assert client.names.import_entities([("Odessa Klemp", "artist", 1.0)], "test").added == 1
    with pytest.raises(SpeechServiceError, match="no query"):
        client.feedback("f" * 32, accepted=True)
    with pytest.raises(ConfigError, match="says one of"):
        client.feedback("f" * 32)
    assert client.forget("nobody").queries == 0


def ask(address: str, client: Client, capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, Any]:
    """Three queries, each kept, and what became of them."""
    options = Options(encoding="LINEAR16", sample_rate_hz=16_000, consent="audio", user="ann", max_alternatives=3)
    streamed = list(client.stream([DATA], options))[-1]
    whole = client.recognize(DATA, options)
    command = ["stream", str(_wav(folder)), "--address", address, "--json", "--no-realtime", "--consent", "transcript"]
    assert main([*command, "--user", "bob"]) == 0
    typed = json.loads(capsys.readouterr().out.splitlines()[-1])["query"]
    client.feedback(whole.query_id, retried_as=streamed.query_id)
    client.feedback(typed, corrected_text="one two")
    client.feedback(streamed.query_id, accepted=True)
    return {"streamed": streamed, "whole": whole, "typed": typed}


def _wav(folder: Path) -> Path:
    import soundfile

    path = folder / "query.wav"
    soundfile.write(path, np.frombuffer(DATA, "<i2"), 16_000)
    return path
