"""Keys, quotas and bounds over real connections: who is refused, how, and what the audit says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.access import Access, AccessConfig, check_role
from services.recognizer.keys import Key, KeyRing, new_key, revoke_keys
from services.recognizer.quotas import Quotas, current_account
from services.recognizer.status import ForbiddenError, QuotaError, abort, status_of
from tests.services.loopback import AUDIO, requests, running, transcript

CODES = grpc.StatusCode


class Clock:
    """Time that moves when the test says so."""

    def __init__(self, seconds: float = 1_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Guarded:
    """A server behind keys; `refusals` are the causes that were reported."""

    def __init__(self, folder: Path, config: AccessConfig | None = None, **quotas: Any) -> None:
        self.path = folder / "keys.json"
        self.key, self.entry = new_key(self.path, "phones", quotas=Quotas(**quotas))
        self.refusals: list[str] = []
        self.clock, self.now = Clock(), Clock(1_700_000_000.0)
        self.access = Access(
            config or AccessConfig(), KeyRing(self.path), self.refusals.append, clock=self.clock, now=self.now
        )


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def info(channel: grpc.aio.Channel, metadata: Any = None) -> pb.GetInfoResponse:
    return await speech_pb2_grpc.SpeechStub(channel).GetInfo(pb.GetInfoRequest(), metadata=metadata, timeout=20)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str, float | None]:
    """Code, sentence, cause and seconds to wait of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    assert "\n" not in error.details()
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    about, retry, seconds = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), None
    assert status.details[0].Unpack(about)
    assert about.domain == "dengar.v1"
    if len(status.details) > 1:
        assert status.details[1].Unpack(retry)
        seconds = retry.retry_delay.ToMilliseconds() / 1000
    return error.code(), error.details(), about.metadata["cause"], seconds


def audit_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "dengar.audit"]


@pytest.mark.parametrize(
    "header", [("authorization", "Bearer {}"), ("authorization", "bearer {}"), ("x-api-key", "{}")]
)
async def test_a_valid_key_is_served(guarded: Guarded, header: tuple[str, str]) -> None:
    metadata = ((header[0], header[1].format(guarded.key)),)
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        assert (await info(channel, metadata)).bundle_hash == "tones"
        assert await transcript(channel, metadata=metadata) == "one two"
    assert guarded.refusals == []


WRONG = "dgr_00000000_" + "A" * 43


@pytest.mark.parametrize(
    ("metadata", "cause", "says"),
    [
        (None, "no_key", "wants an API key"),
        ((("authorization", "Basic abc"),), "no_key", "wants an API key"),
        (bearer(WRONG), "unknown_key", "not known"),
        (bearer("dgr_short"), "unknown_key", "not known"),
        ((("x-api-key", WRONG),), "unknown_key", "not known"),
    ],
)
async def test_calls_without_a_valid_key_are_unauthenticated(
    guarded: Guarded, metadata: Any, cause: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        unary = await refusal(info(channel, metadata))
        stream = await refusal(transcript(channel, data=AUDIO[:3200], metadata=metadata))
    for code, sentence, found, retry_s in (unary, stream):
        assert (code, found, retry_s) == (CODES.UNAUTHENTICATED, cause, None)
        assert says in sentence
    assert guarded.refusals == [cause, cause]
    assert [(line.cause, line.code, line.peer) for line in audit_lines(caplog)] == [
        (cause, "UNAUTHENTICATED", "127.0.0.1")
    ] * 2
    assert [line.method for line in audit_lines(caplog)] == [
        "/dengar.v1.Speech/GetInfo",
        "/dengar.v1.Speech/StreamingRecognize",
    ]


async def test_the_right_id_with_another_secret_is_refused(guarded: Guarded) -> None:
    forged = guarded.key[:-1] + ("A" if guarded.key[-1] != "A" else "Q")
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        assert (await refusal(info(channel, bearer(forged))))[2] == "unknown_key"


async def test_an_expired_key_is_refused_by_name(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    text = guarded.path.read_text()
    expired = '"expires": "2020-01-31T00:00:00+00:00", "role"'
    guarded.path.write_text(text.replace('"role"', expired))
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        code, sentence, cause, _ = await refusal(info(channel, bearer(guarded.key)))
    assert (code, cause) == (CODES.UNAUTHENTICATED, "expired_key")
    assert "2020-01-31" in sentence
    (line,) = audit_lines(caplog)
    assert (line.key, line.key_id) == ("phones", guarded.entry.id)


async def test_rotation_and_revocation_without_a_restart(guarded: Guarded) -> None:
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        await info(channel, bearer(guarded.key))
        second, _ = new_key(guarded.path, "phones")
        for key in (guarded.key, second):
            await info(channel, bearer(key))
        revoke_keys(guarded.path, "phones", guarded.entry.id)
        await info(channel, bearer(second))
        assert (await refusal(info(channel, bearer(guarded.key))))[2] == "unknown_key"


async def test_a_broken_file_leaves_the_keys_as_they_were(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guarded, broken = Guarded(tmp_path), []
    access = Access(AccessConfig(), KeyRing(guarded.path, lambda: broken.append(1)))
    async with running([access]) as address, grpc.aio.insecure_channel(address) as channel:
        good = guarded.path.read_bytes()
        for damage in (b"[{", b"", None):
            guarded.path.unlink() if damage is None else guarded.path.write_bytes(damage)
            await info(channel, bearer(guarded.key))
            await info(channel, bearer(guarded.key))
        assert len(broken) == 3
        assert sum("old API keys stay" in record.getMessage() for record in caplog.records) == 3
        guarded.path.write_bytes(
            good.replace(guarded.entry.hash.encode(), b"hmac-sha256:" + b"0" * 32 + b":" + b"0" * 64)
        )
        assert (await refusal(info(channel, bearer(guarded.key))))[2] == "unknown_key"
    assert len(broken) == 3


async def test_health_needs_no_key_and_reflection_only_if_closed(tmp_path: Path) -> None:
    for is_open in (True, False):
        (tmp_path / str(is_open)).mkdir()
        guarded = Guarded(tmp_path / str(is_open), AccessConfig(open_reflection=is_open))
        async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = reflection_pb2.ServerReflectionRequest(list_services="")

            async def listed(metadata: Any = None) -> int:
                call = stub.ServerReflectionInfo(iter([asked]), metadata=metadata)  # noqa: B023
                return len([response async for response in call])

            if is_open:
                assert await listed() == 1
            else:
                assert (await refusal(listed()))[2] == "no_key"
                assert await listed(bearer(guarded.key)) == 1


class AdminService:
    """Stands where the service of that name will be: the rule is about the method's name."""

    async def Reload(self, request: bytes, context: Any) -> bytes:  # noqa: ARG002, N802
        return b"done"


def admin_handlers() -> Any:
    handler = grpc.unary_unary_rpc_method_handler(AdminService().Reload)
    return grpc.method_handlers_generic_handler("dengar.v1.Admin", {"Reload": handler})


async def reload_over(channel: grpc.aio.Channel, metadata: Any = None) -> bytes:
    return await channel.unary_unary("/dengar.v1.Admin/Reload")(b"", metadata=metadata)


async def test_admin_calls_want_the_role(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dengar.audit")
    admin, _ = new_key(guarded.path, "operator", role="admin")
    server = grpc.aio.server(interceptors=[guarded.access])
    server.add_generic_rpc_handlers([admin_handlers()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        code, sentence, cause, _ = await refusal(reload_over(channel, bearer(guarded.key)))
        assert await reload_over(channel, bearer(admin)) == b"done"
    await server.stop(0)
    assert (code, cause) == (CODES.PERMISSION_DENIED, "role")
    assert "admin" in sentence
    assert [(line.key, line.getMessage().partition(":")[0]) for line in audit_lines(caplog)] == [
        ("phones", "refused"),
        ("operator", "admitted"),
    ]


async def test_without_keys_admin_calls_are_for_this_machine() -> None:
    server = grpc.aio.server(interceptors=[Access(AccessConfig(), None)])
    server.add_generic_rpc_handlers([admin_handlers()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await reload_over(channel) == b"done"
    await server.stop(0)


@pytest.mark.parametrize(
    ("host", "allowed"), [("::1", True), ("unix", True), ("10.0.0.7", False), ("2001:db8::1", False)]
)
def test_without_keys_admin_calls_from_elsewhere_are_forbidden(host: str, allowed: bool) -> None:
    check_role("/dengar.v1.Speech/GetInfo", host, None)
    if allowed:
        check_role("/dengar.v1.Admin/Promote", host, None)
        return
    with pytest.raises(ForbiddenError, match="callers on this machine") as caught:
        check_role("/dengar.v1.Admin/Promote", host, None)
    assert status_of(caught.value)[0] == CODES.PERMISSION_DENIED
    assert caught.value.cause == "not_local"


class Held(speech_pb2_grpc.SpeechServicer):
    """Answers when the test lets it, and counts audio as the real service does: one line a packet."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.entered = asyncio.Semaphore(0)

    async def GetInfo(self, request: Any, context: Any) -> pb.GetInfoResponse:  # noqa: ARG002, N802
        self.entered.release()
        await self.gate.wait()
        return pb.GetInfoResponse(version=current_account().name)

    async def StreamingRecognize(self, request_iterator: Any, context: Any) -> None:  # noqa: N802
        account = current_account()
        try:
            async for request in request_iterator:
                account.heard(len(request.audio_content) / 32_000)
                await context.write(pb.StreamingRecognizeResponse())
        except QuotaError as error:
            await abort(context, error)


async def test_streams_at_once_are_bounded_by_key_and_given_back(tmp_path: Path) -> None:
    guarded, service = Guarded(tmp_path, streams=2), Held()
    other, _ = new_key(guarded.path, "cars")
    async with running([guarded.access], servicer=service) as address, grpc.aio.insecure_channel(address) as channel:
        first = [asyncio.ensure_future(info(channel, bearer(guarded.key))) for _ in range(2)]
        for _ in first:
            await service.entered.acquire()
        code, sentence, cause, retry_s = await refusal(info(channel, bearer(guarded.key)))
        assert (code, cause) == (CODES.RESOURCE_EXHAUSTED, "streams")
        assert retry_s is not None
        assert "phones has 2 calls" in sentence
        first[0].cancel()
        third = asyncio.ensure_future(info(channel, bearer(other)))
        service.gate.set()
        assert (await first[1]).version == "phones"
        assert (await third).version == "cars"
        for _ in range(3):
            await info(channel, bearer(guarded.key))


async def test_requests_per_minute_are_bounded_and_come_back(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, requests_per_minute=30)
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        for _ in range(30):
            await info(channel, bearer(guarded.key))
        code, _, cause, retry_s = await refusal(info(channel, bearer(guarded.key)))
        assert (code, cause, retry_s) == (CODES.RESOURCE_EXHAUSTED, "requests", 2.0)
        guarded.clock.seconds += retry_s
        await info(channel, bearer(guarded.key))
        assert (await refusal(info(channel, bearer(guarded.key))))[2] == "requests"


async def test_audio_per_day_ends_a_stream_and_refuses_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = Guarded(tmp_path, audio_s_per_day=0.25)
    async with (
        running([guarded.access], servicer=Held()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechStub(channel)

        async def stream(packets: int) -> int:
            sent = requests(bytes(3200 * packets))
            return len([_ async for _ in stub.StreamingRecognize(iter(sent), metadata=bearer(guarded.key))])

        assert await stream(2) == 3
        code, sentence, cause, retry_s = await refusal(stream(5))
        assert (code, cause) == (CODES.RESOURCE_EXHAUSTED, "audio")
        assert "0.25 s of audio" in sentence
        assert retry_s == 86_400 - 1_700_000_000 % 86_400
        assert (await refusal(stream(1)))[2] == "audio"
        guarded.now.seconds += retry_s
        assert await stream(2) == 3
    assert guarded.refusals == ["audio", "audio"]
    assert [line.key for line in audit_lines(caplog)] == ["phones", "phones"]


async def test_wrong_keys_from_one_address_are_bounded(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, AccessConfig(failed_keys_per_minute=3))
    newcomer, _ = new_key(guarded.path, "newcomer")
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        await info(channel, bearer(guarded.key))
        for _ in range(3):
            assert (await refusal(info(channel, bearer(WRONG))))[0] == CODES.UNAUTHENTICATED
        code, _, cause, retry_s = await refusal(info(channel, bearer(WRONG)))
        assert (code, cause, retry_s) == (CODES.RESOURCE_EXHAUSTED, "failed_keys", 20.0)
        # A key that worked here goes on working; one that never did is not even looked at.
        await info(channel, bearer(guarded.key))
        assert (await refusal(info(channel, bearer(newcomer))))[2] == "failed_keys"
        guarded.clock.seconds += retry_s
        await info(channel, bearer(newcomer))


async def test_without_keys_each_address_is_bounded() -> None:
    service, refusals = Held(), []
    access = Access(AccessConfig(caller_quotas=Quotas(streams=1)), None, refusals.append)
    async with running([access], servicer=service) as address, grpc.aio.insecure_channel(address) as channel:
        first = asyncio.ensure_future(info(channel))
        await service.entered.acquire()
        assert (await refusal(info(channel)))[2] == "streams"
        port = address.rpartition(":")[2]
        elsewhere = (("grpc.local_subchannel_pool", 1),)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=elsewhere) as again:
            assert (await refusal(info(again)))[2] == "streams"  # another connection, the same address
        service.gate.set()
        assert (await first).version == "127.0.0.1"
        await info(channel)
    assert refusals == ["streams", "streams"]


async def test_neither_audit_nor_answers_hold_a_key(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    forged = guarded.key[:-3] + "AAA"
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        await info(channel, bearer(guarded.key))
        sentence = (await refusal(info(channel, bearer(forged))))[1]
    secret = guarded.key.split("_", 2)[2][:20]
    for record in caplog.records:
        assert secret not in repr(record.__dict__)
    assert secret not in sentence
    assert not re.search(r"dgr_\w", sentence)


async def test_a_stopped_stream_of_a_refused_caller_sees_its_status(guarded: Guarded) -> None:
    async with running([guarded.access]) as address, grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.SpeechStub(channel)
        call = stub.StreamingRecognize(metadata=bearer(WRONG))
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for request in requests(AUDIO * 4):
                await call.write(request)
                await asyncio.sleep(0.002)
        assert await call.code() == CODES.UNAUTHENTICATED


def test_keys_far_in_the_future_are_valid(tmp_path: Path) -> None:
    key, entry = new_key(tmp_path / "k", "n", expires=datetime.now(UTC) + timedelta(days=1))
    assert isinstance(entry, Key)
    assert KeyRing(tmp_path / "k").find(key) == entry
