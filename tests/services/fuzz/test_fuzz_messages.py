"""Any bytes as any request to a real server: an answer or one sentence, never INTERNAL, and it goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import given
from hypothesis import strategies as st

from asr.recognize import Recognizer
from tests.services.fuzz.mutations import examples, mutated
from tests.services.fuzz.requests import messages, packets
from tests.services.fuzz.served import Outcome, Served, served_in_thread

ALLOWED = {
    grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
}  # fmt: skip
STREAMING = "/dengar.v1.Speech/StreamingRecognize"
REGRESSIONS = [json.loads(line) for line in (Path(__file__).parent / "requests.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def served(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real recogniser with random weights, behind the real server."""
    recognizer = Recognizer.open(tiny_bundle)
    recognizer.warm()
    state = str(tmp_path_factory.mktemp("state"))
    bounds = {"max_audio_s": 10.0, "max_packet_bytes": 200_000}
    with served_in_thread(recognizer, Recognizer.open, state=state, **bounds) as found:
        yield found


@pytest.fixture(scope="module")
def methods(served: Served) -> dict[str, object]:
    """Every method that the server has, with the type of its requests."""
    services = ProtoReflectionDescriptorDatabase(served.channel).get_services()
    found = {}
    for name in services:
        service = descriptor_pool.Default().FindServiceByName(name)
        found |= {f"/{name}/{method.name}": method.input_type for method in service.methods}
    return found


def check(served: Served, outcome: Outcome) -> None:
    assert outcome.code in ALLOWED, (outcome.code, outcome.details)
    if outcome.code is not grpc.StatusCode.OK:
        assert 10 < len(outcome.details) < 1100
        assert "\n" not in outcome.details
        assert "Traceback" not in outcome.details
        assert "Error:" not in outcome.details
    assert not served.take_complaints()


@given(data=st.data())
@examples(150)
def test_any_message_to_any_method(served: Served, methods: dict[str, object], data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([each for each in sorted(methods) if each != "/grpc.health.v1.Health/Watch"]))
    request = data.draw(messages(methods[method])).SerializeToString()
    if data.draw(st.booleans()):
        request = data.draw(mutated(request))
    metadata = data.draw(
        st.dictionaries(
            st.sampled_from(["authorization", "x-api-key", "traceparent", "tracestate", "user-agent-x"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
        )
    )
    check(served, served.call(method, [request], list(metadata.items())))


@given(data=st.data())
@examples(120)
def test_any_packets_in_any_order(served: Served, data: st.DataObject) -> None:
    check(served, served.call(STREAMING, data.draw(st.lists(packets(), max_size=6))))


@pytest.mark.parametrize("found", REGRESSIONS, ids=lambda found: found["name"])
def test_what_once_went_wrong(served: Served, found: dict) -> None:
    outcome = served.call(found["method"], [bytes.fromhex(packet) for packet in found["packets"]])
    check(served, outcome)
    assert outcome.code.name == found["code"], outcome.details
    assert found["says"] in outcome.details


@pytest.mark.parametrize(
    "junk",
    [b"", b"\0" * 100, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000],
    ids=["nothing", "zeros", "http 1", "bad frames"],
)
def test_bytes_that_are_no_calls(served: Served, junk: bytes) -> None:
    host, _, port = served.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    assert not served.take_complaints()


def test_a_message_that_unpacks_to_too_much(served: Served) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(served.address, options, grpc.Compression.Gzip) as channel:
        call = channel.unary_unary("/dengar.v1.Speech/Recognize")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\x12\x80\x80\x80\x20" + bytes(64 * 2**20), timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not served.take_complaints()


def test_it_answers_as_before(served: Served) -> None:
    before = served.understands()
    for packet in (b"\xff", b"", b"\x12\xff\xff\xff\xff\x0f"):
        served.call(STREAMING, [packet])
        assert served.understands() == before
