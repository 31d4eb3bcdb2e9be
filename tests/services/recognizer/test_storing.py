"""A real server over a real SQLite store: what is kept with which consent, feedback, and being forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import select

from services.dengar.v1 import feedback_pb2, feedback_pb2_grpc, privacy_pb2, privacy_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from services.recognizer.config import server_config
from services.recognizer.edge import Edge, edge_config
from services.recognizer.keys import new_key
from services.recognizer.server import Server
from services.store import audit
from services.store.config import store_config
from services.store.database import Store
from services.store.models import AuditEntry, Feedback, Query
from tests.services.conftest import ToneRecognizer, ToneVoice, linear16, tones

AUDIO = linear16(tones("one two"))


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/dengar.db"


@contextlib.asynccontextmanager
async def serving(folder: Path, *, keys: Path | None = None, **store: Any) -> AsyncIterator[tuple[str, Server]]:
    kept = store_config(**{"url": url(folder), "commit_ms": 1, **store})
    config = server_config(port=0, drain_s=0.0, threads=1, state=str(folder / "state"), store=kept)
    edge = Edge(edge_config(keys=str(keys)), config.host) if keys else None
    server = Server(ToneRecognizer(), config, voice=ToneVoice(), edge=edge)
    port = await server.start()
    try:
        yield f"127.0.0.1:{port}", server
    finally:
        await server.drain()


def raw(consent: pb.Consent, user: str = "ann", **more: Any) -> pb.RecognitionConfig:
    return pb.RecognitionConfig(
        encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000, consent=consent, user=user, **more
    )


async def ask(channel: grpc.aio.Channel, config: pb.RecognitionConfig, **call: Any) -> pb.RecognizeResponse:
    request = pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=AUDIO))
    return await speech_pb2_grpc.SpeechStub(channel).Recognize(request, **call)


async def stream(channel: grpc.aio.Channel, config: pb.RecognitionConfig) -> pb.StreamingRecognizeResponse:
    first = pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(config=config, interim_results=True)
    )
    requests = [
        first,
        *(pb.StreamingRecognizeRequest(audio_content=AUDIO[at : at + 6400]) for at in range(0, len(AUDIO), 6400)),
    ]
    found = [each async for each in speech_pb2_grpc.SpeechStub(channel).StreamingRecognize(iter(requests))]
    return found[-1]


async def say(channel: grpc.aio.Channel, query_id: str, **feedback: Any) -> None:
    request = feedback_pb2.SendFeedbackRequest(query_id=query_id, **feedback)
    await feedback_pb2_grpc.FeedbackStub(channel).SendFeedback(request)


def kept(folder: Path, table: type[Any] = Query) -> list[Any]:
    store = Store.open(url(folder))
    try:
        with store.reading() as session:
            return list(session.scalars(select(table)).all())
    finally:
        store.close()


async def test_what_is_kept_follows_the_consent(tmp_path: Path) -> None:
    async with serving(tmp_path) as (address, _), grpc.aio.insecure_channel(address) as channel:
        nothing = await ask(channel, raw(pb.CONSENT_NONE))
        words = await ask(channel, raw(pb.CONSENT_TRANSCRIPT, max_alternatives=2))
        audio = await stream(channel, raw(pb.CONSENT_AUDIO, user="bob"))
    assert nothing.metadata.query_id == ""
    assert nothing.results[0].alternatives[0].transcript == "one two"
    found = {query.id: query for query in kept(tmp_path)}
    assert set(found) == {words.metadata.query_id, audio.metadata.query_id}
    transcript, recorded = found[words.metadata.query_id], found[audio.metadata.query_id]
    assert transcript.transcript == "one two"
    assert [each["text"] for each in transcript.nbest] == ["one two", "alternative 1"]
    assert transcript.words[1] == {"word": "two", "start_s": 0.9, "end_s": 1.0, "confidence": 0.75}
    assert transcript.bundle == "tones"
    assert (transcript.consent, transcript.audio_ref, transcript.latency_s) == ("transcript", "", None)
    assert recorded.consent == "audio"
    assert recorded.snr_db == 60
    assert 0 <= recorded.latency_s < 60
    assert recorded.user_hash != transcript.user_hash
    assert "bob" not in (recorded.user_hash, recorded.owner)
    store = Store.open(url(tmp_path))
    assert len(store.audio.get(recorded.audio_ref)) == len(AUDIO) // 2
    store.close()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            raw(pb.CONSENT_TRANSCRIPT, user=""),
            "consent is CONSENT_TRANSCRIPT and user is empty; say whose consent it is",
        ),
        (raw(pb.CONSENT_AUDIO, user="  "), "consent is CONSENT_AUDIO and user is empty"),
        (raw(pb.CONSENT_NONE, user="x" * 257), "user has 257 characters; accepted: at most 256"),
        (raw(7), "consent 7 is unknown; known: CONSENT_NONE"),
    ],
)
async def test_consent_that_makes_no_sense(tmp_path: Path, config: pb.RecognitionConfig, sentence: str) -> None:
    async with serving(tmp_path) as (address, _), grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match=sentence) as refused:
            await ask(channel, config)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert kept(tmp_path) == []


async def test_feedback_is_there_once_it_is_acknowledged(tmp_path: Path) -> None:
    async with serving(tmp_path, commit_ms=1000) as (address, _), grpc.aio.insecure_channel(address) as channel:
        first = (await ask(channel, raw(pb.CONSENT_TRANSCRIPT))).metadata.query_id
        await say(channel, first, corrected_text="one too")  # before the query itself would be written
        assert [(each.query_id, each.kind, each.text) for each in kept(tmp_path, Feedback)] == [
            (first, "corrected", "one too")
        ]
        second = (await ask(channel, raw(pb.CONSENT_TRANSCRIPT))).metadata.query_id
        await say(channel, first, retried_as=second)
        await say(channel, second, chosen_result="Two")
        await say(channel, second, accepted=True)
        await say(channel, second, accepted=False)
    kinds = [each.kind for each in kept(tmp_path, Feedback)]
    assert kinds == ["corrected", "retried", "chosen", "accepted", "abandoned"]


async def test_feedback_that_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as (address, _), grpc.aio.insecure_channel(address) as channel:
        query = (await ask(channel, raw(pb.CONSENT_TRANSCRIPT))).metadata.query_id
        for wanted, code, sentence in (
            ({"query_id": "f" * 32, "accepted": True}, grpc.StatusCode.NOT_FOUND, "no query 'ffff"),
            ({"query_id": query, "retried_as": "e" * 32}, grpc.StatusCode.NOT_FOUND, "no query 'eeee"),
            ({"query_id": query}, grpc.StatusCode.INVALID_ARGUMENT, "nothing is said"),
            ({"query_id": "", "accepted": True}, grpc.StatusCode.INVALID_ARGUMENT, "query_id is empty"),
            ({"query_id": query, "corrected_text": " "}, grpc.StatusCode.INVALID_ARGUMENT, "has 0 characters"),
            ({"query_id": query, "chosen_result": "x" * 501}, grpc.StatusCode.INVALID_ARGUMENT, "501 characters"),
            ({"query_id": query, "retried_as": query}, grpc.StatusCode.INVALID_ARGUMENT, "is the query itself"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=sentence) as refused:
                await say(channel, **wanted)
            assert refused.value.code() == code
        for _ in range(16):
            await say(channel, query, accepted=True)
        with pytest.raises(grpc.aio.AioRpcError, match="16 feedbacks"):
            await say(channel, query, accepted=True)
    assert len(kept(tmp_path, Feedback)) == 16


async def test_only_the_key_that_asked_may_say_what_became_of_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    phones, cars = (new_key(file, name)[0] for name in ("phones", "cars"))
    boss = new_key(file, "boss", role="admin")[0]
    async with serving(tmp_path, keys=file) as (address, _), grpc.aio.insecure_channel(address) as channel:

        def key(secret: str) -> tuple[tuple[str, str]]:
            return (("x-api-key", secret),)

        query = (await ask(channel, raw(pb.CONSENT_TRANSCRIPT), metadata=key(phones))).metadata.query_id
        stub = feedback_pb2_grpc.FeedbackStub(channel)
        request = feedback_pb2.SendFeedbackRequest(query_id=query, accepted=True)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.SendFeedback(request, metadata=key(cars))
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        await stub.SendFeedback(request, metadata=key(phones))
        forget = privacy_pb2_grpc.PrivacyStub(channel).Forget
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await forget(privacy_pb2.ForgetRequest(user="ann"), metadata=key(phones))
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert (await forget(privacy_pb2.ForgetRequest(user="ann"), metadata=key(boss))).queries == 1
    assert "boss" in {entry.actor for entry in kept(tmp_path, AuditEntry)}


async def test_a_forgotten_user_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    async with serving(tmp_path, commit_ms=500) as (address, _), grpc.aio.insecure_channel(address) as channel:
        gone = (await ask(channel, raw(pb.CONSENT_AUDIO, user="ann"))).metadata.query_id
        await say(channel, gone, corrected_text="one too")
        stays = (await ask(channel, raw(pb.CONSENT_AUDIO, user="bob"))).metadata.query_id
        await say(channel, stays, accepted=True)
        await ask(channel, raw(pb.CONSENT_AUDIO, user="ann"))  # on its way when ann is forgotten
        done = await privacy_pb2_grpc.PrivacyStub(channel).Forget(privacy_pb2.ForgetRequest(user="ann"))
        assert (done.queries, done.recordings, list(done.bundles)) == (1, 1, [])
        with pytest.raises(grpc.aio.AioRpcError, match="is forgotten"):
            await say(channel, gone, accepted=True)
        with pytest.raises(grpc.aio.AioRpcError, match="say whom to forget"):
            await privacy_pb2_grpc.PrivacyStub(channel).Forget(privacy_pb2.ForgetRequest())
    assert [query.id for query in kept(tmp_path)] == [stays]
    assert [each.query_id for each in kept(tmp_path, Feedback)] == [stays]
    assert len(list((tmp_path / "audio").rglob("*.flac"))) == 1


async def test_without_a_store_nothing_is_kept_and_the_services_say_so() -> None:
    config = server_config(port=0, drain_s=0.0, threads=1)
    server = Server(ToneRecognizer(), config, voice=ToneVoice())
    address = f"127.0.0.1:{await server.start()}"
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await ask(channel, raw(pb.CONSENT_AUDIO))
        assert answer.metadata.query_id == ""
        assert answer.results[0].alternatives[0].transcript == "one two"
        for call in (
            say(channel, "a" * 32, accepted=True),
            privacy_pb2_grpc.PrivacyStub(channel).Forget(privacy_pb2.ForgetRequest(user="ann")),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="this server keeps nothing") as refused:
                await call
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    await server.drain()


async def test_health_knows_the_services(tmp_path: Path) -> None:
    async with serving(tmp_path) as (address, _), grpc.aio.insecure_channel(address) as channel:
        for service in ("Feedback", "Names", "Privacy"):
            request = health_pb2.HealthCheckRequest(service=f"dengar.v1.{service}")
            answer = await health_pb2_grpc.HealthStub(channel).Check(request)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_store_that_fails_costs_no_answer_and_is_counted(tmp_path: Path) -> None:
    async with serving(tmp_path, retry_s=0.2, busy_s=0.1) as (address, server):
        store = Store.open(url(tmp_path))
        async with grpc.aio.insecure_channel(address) as channel:
            with store.session() as session:
                audit.record(session, "test", "lock.held", "x")
                session.flush()  # from here on nobody else can write
                answer = await ask(channel, raw(pb.CONSENT_TRANSCRIPT))
                assert answer.results[0].alternatives[0].transcript == "one two"
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await say(channel, answer.metadata.query_id, accepted=True)
                assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
                assert str(tmp_path) not in refused.value.details()
                assert server.storing.sources()["query_log"]()["failed"] == 1
                session.rollback()
            later = await ask(channel, raw(pb.CONSENT_TRANSCRIPT))
            await say(channel, later.metadata.query_id, accepted=True)
        store.close()
        counted = server.storing.sources()
        assert counted["query_log"]() == {"written": 1, "left_out": 0, "failed": 1}
        assert counted["query_log_faults"]()["retried"] >= 1
    assert [query.id for query in kept(tmp_path)] == [later.metadata.query_id]
