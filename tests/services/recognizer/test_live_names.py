"""Names that are approved are heard in the next query: at once by RPC, soon by whoever else writes into the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from sqlalchemy import select

from asr.recognize import Recognizer
from asr.synth import of_engine, open_engine
from services.dengar.v1 import names_pb2, names_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from services.learner import names
from services.learner.names import Revision
from services.recognizer.config import server_config
from services.recognizer.live_names import LiveNames, LiveNamesConfig
from services.recognizer.phrases import MAX_IN_REQUEST, Wanted
from services.recognizer.served_names import NO_NAMES, ServedNames
from services.recognizer.server import Server
from services.store.database import Store
from services.store.models import Query, Span
from tests.services.conftest import ToneVoice, linear16

NAME, VOICE = "tavia brunello", "espeak:en-us+adam"
ENOUGH = 200


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    """The shipped bundle."""
    return Recognizer.open()


@pytest.fixture(scope="module")
def query() -> bytes:
    """The name, which the bundle does not know, in a query."""
    voice = next(voice for voice in of_engine("espeak") if voice.id == VOICE)
    spoken = open_engine("espeak").speak(f"call {NAME} please", voice)
    return linear16(np.concatenate([np.zeros(4000, np.float32), spoken, np.zeros(8000, np.float32)]))


async def heard(channel: grpc.aio.Channel, query: bytes, *phrases: str) -> str:
    config = pb.RecognitionConfig(
        encoding=pb.RecognitionConfig.LINEAR16,
        sample_rate_hertz=16_000,
        speech_contexts=[pb.SpeechContext(phrases=phrases)],
    )
    request = pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=query))
    answer = await speech_pb2_grpc.SpeechStub(channel).Recognize(request)
    assert not answer.metadata.unused_phrases
    return str(answer.results[0].alternatives[0].transcript)


async def test_a_name_is_heard_a_moment_after_it_was_approved(
    recognizer: Recognizer, query: bytes, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/dengar.db"
    config = server_config(
        port=0, drain_s=0.0, threads=1, state=str(tmp_path / "state"), store={"url": url}, names={"follow_s": 0.05}
    )
    server = Server(recognizer, config, voice=ToneVoice())
    port = await server.start()
    store = Store.open(url)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = names_pb2_grpc.NamesStub(channel)
        assert NAME not in await heard(channel, query)
        added = await stub.AddName(names_pb2.AddNameRequest(text="Tavia Brunello"))
        assert (added.text, added.status, added.reason) == (NAME, names_pb2.APPROVED, "added by 127.0.0.1")
        assert NAME in await heard(channel, query)
        assert NAME in await heard(channel, query, "call my sister")  # beside phrases of the request
        await stub.RejectName(names_pb2.RejectNameRequest(name=added.id, reason="a test"))
        assert NAME not in await heard(channel, query)
        await asyncio.to_thread(approve, store)  # by another process, as it were
        for _ in range(ENOUGH):
            if len(server.storing.names):
                break
            await asyncio.sleep(0.05)
        assert NAME in await heard(channel, query)
    await server.drain()
    store.close()


def approve(store: Store) -> None:
    with store.session() as session:
        names.approve_name(session, NAME, actor="ann")


def test_a_request_keeps_its_own_boosts_and_hears_nothing_of_the_names(recognizer: Recognizer) -> None:
    served = ServedNames(["tavia brunello", "zoë ☃", "anton drexler"], boost=2.0)
    given = served.hints(recognizer, Wanted((("Anton  Drexler", -3.0), ("☃", 0.0)), {}))
    assert given.hints.phrases == 2
    assert [text for text, _ in given.unused] == ["☃"]
    again = served.hints(recognizer, Wanted((("Anton  Drexler", -3.0), ("☃", 0.0)), {}))
    assert again.hints is given.hints
    alone = served.hints(recognizer, None)
    assert (alone.hints.phrases, list(alone.unused)) == (2, [])
    assert served.hints(recognizer, Wanted()) is alone


def test_a_full_request_gets_no_names_on_top(recognizer: Recognizer) -> None:
    full = Wanted(
        tuple((f"word {'a' * (n % 20 + 1)} {'b' * (n // 20 % 20 + 1)}", 1.0) for n in range(MAX_IN_REQUEST)), {}
    )
    given = ServedNames(["tavia brunello"]).hints(recognizer, full)
    assert given.hints is recognizer.hints(full.phrases, full.classes)
    assert NO_NAMES.hints(recognizer, None).hints is None


def test_spellings_that_the_bundle_knows_are_left_alone(recognizer: Recognizer) -> None:
    spellings = {"siobhan quill": ["chevron quill", "shivawn quill", "siobhan quilt", "x", "shivon kwill"]}
    given = ServedNames(["siobhan quill", "siobhan quilt"], spellings=spellings).compile(recognizer)
    assert given.hints.phrases == 5  # all but "x"
    assert given.aliases


async def test_a_name_is_written_where_its_other_spelling_is_heard(
    recognizer: Recognizer, query: bytes, tmp_path: Path
) -> None:
    """As if the name were written otherwise than it sounds."""
    config = server_config(
        port=0, drain_s=0.0, threads=1, state=str(tmp_path / "state"), store={"url": f"sqlite:///{tmp_path}/dengar.db"}
    )
    server = Server(recognizer, config, voice=ToneVoice())
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = names_pb2_grpc.NamesStub(channel)
        await stub.AddName(names_pb2.AddNameRequest(text="Thaevia Broounneilau", spellings=[NAME]))
        assert "thaevia broounneilau" in await heard(channel, query)
    await server.drain()


async def test_unknown_words_are_kept_with_what_they_may_be(
    recognizer: Recognizer, query: bytes, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/dengar.db"
    config = server_config(port=0, drain_s=0.0, threads=1, state=str(tmp_path / "state"), store={"url": url})
    server = Server(recognizer, config, voice=ToneVoice())
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        entities = [names_pb2.Entity(name=name) for name in (NAME, "boris malinov", "odessa klemp")]
        await names_pb2_grpc.NamesStub(channel).Import(names_pb2.ImportNamesRequest(entities=entities, source="test"))
        asked = pb.RecognitionConfig(
            encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000, consent=pb.CONSENT_TRANSCRIPT, user="ann"
        )
        request = pb.RecognizeRequest(config=asked, audio=pb.RecognitionAudio(content=query))
        answer = await speech_pb2_grpc.SpeechStub(channel).Recognize(request)
    await server.drain()  # writes what waits
    store = Store.open(url)
    with store.reading() as session:
        spans = session.scalars(select(Span).where(Span.query_id == answer.metadata.query_id)).all()
        kept = session.scalars(select(Query)).one()
    store.close()
    assert kept.transcript == answer.results[0].alternatives[0].transcript
    assert kept.snr_db > 20
    assert spans
    best = [span.proposals[0]["name"] for span in spans if span.proposals]
    assert best == [NAME]


class Source:
    """Names as a store would have them, which may be away."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.spellings: dict[str, tuple[str, ...]] = {}
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self.away = False
        self.reads = 0

    def change(self, *names: str) -> None:
        self.names, self.at = list(names), self.at + timedelta(seconds=1)

    def revision(self) -> Revision:
        if self.away:
            raise OSError("away")
        return Revision(len(self.names), self.at)

    def approved(self, limit: int) -> tuple[Sequence[tuple[str, Sequence[str]]], int]:
        self.reads += 1
        return [(name, self.spellings.get(name, ())) for name in self.names[:limit]], max(0, len(self.names) - limit)


def test_the_store_is_followed_bounded_and_survived(recognizer: Recognizer) -> None:
    source, failures = Source(), []
    live = LiveNames(source, LiveNamesConfig(most=2), lambda: [recognizer], lambda: failures.append(1))
    live.look()
    assert (live.current.names, set(live.left_out.values())) == ((), {0})
    source.change("one", "two", "three")
    live.look()
    live.look()
    assert (live.current.names, live.left_out["left_out"], source.reads) == (("one", "two"), 1, 2)
    before = live.current
    source.away = True
    live.look()
    live.look()
    assert live.current is before
    assert len(failures) == 2
    source.away = False
    source.change()
    live.look()
    assert len(live.current) == sum(live.left_out.values()) == 0


def test_what_finds_no_room_is_told_once_and_counted(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    names = [f"q{word(number)}" for number in range(2_000)]
    source.spellings = {name: tuple(f"{name}{end}" for end in ("jq", "vq", "xq", "zq")) for name in names}
    source.change(*names)
    live = LiveNames(source, LiveNamesConfig(most=MAX_IN_REQUEST), lambda: [recognizer])
    with caplog.at_level(logging.WARNING, "dengar.names"):
        live.look()
        live.look()
    assert live.left_out == {
        "left_out": 0, "spellings_left_out": 5_000, "learned_left_out": 0, "learned_spellings_left_out": 0
    }  # fmt: skip
    assert caplog.messages == ["no phrases for want of room: 5000 spellings of approved names"]
    full = Wanted(tuple((f"g{word(number)}", 1.0) for number in range(4_000)), {})
    with caplog.at_level(logging.WARNING, "dengar.names"):
        first, again = (live.current.hints(recognizer, full) for _ in range(2))
    assert (first.names_left_out, first.spellings_left_out) == (1_000, 8_000)
    assert again.names_left_out == 1_000
    assert caplog.messages[1:] == [
        "4000 phrases of a request leave no room for 1000 approved names and 8000 spellings"
    ]  # fmt: skip
    source.change(names[0])
    live.look()
    assert sum(live.left_out.values()) == 0
    assert caplog.messages[2:] == ["no phrases for want of room: none any more"]


def word(number: int) -> str:
    """Letters that no other number has."""
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(3))


def test_the_newest_come_first_and_then_those_of_most_users(sqlite_names: Store) -> None:
    now = datetime.now(UTC)
    with sqlite_names.session() as session:
        for text, users, mentions, days in (
            ("often", 3, 90, 9), ("by many", 9, 40, 8), ("new", 0, 0, 0.1), ("newer", 0, 0, 0.05), ("late", 3, 90, 7),
        ):  # fmt: skip
            name = names.new_name(text, source="person", now=now)
            name.users, name.mentions = users, mentions
            names.set_status(session, name, "approved", actor="ann", now=now - timedelta(days=days))
    with sqlite_names.reading() as session:
        found, left_out = names.approved(session, 4, now)
    assert ([text for text, _ in found], left_out) == (["newer", "new", "by many", "late"], 1)


@pytest.fixture
def sqlite_names(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path}/dengar.db")
    yield store
    store.close()
