"""Requests of every kind, as Hypothesis strategies: from any descriptor of the contract, with values at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from services.dengar.v1 import speech_pb2 as pb
from tests.services.conftest import linear16, tones
from tests.services.fuzz.mutations import mutated
from tests.services.fuzz.seeds import CORPUS

AUDIO = [linear16(tones("one two")), *(path.read_bytes() for path in sorted(CORPUS.iterdir()))]
_INT32 = st.sampled_from([0, 1, -1, 2, 30, 31, 8000, 16_000, 48_000, 2**31 - 1, -(2**31)]) | st.integers(
    -(2**31), 2**31 - 1
)
_INT64 = st.sampled_from([0, 1, -1, 5, 3600, 10**12, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
_FLOATS = st.sampled_from([0.0, 1.0, -20.0, 20.0, 21.0, 1e-40, 3e38, math.inf, -math.inf, math.nan]) | st.floats(
    width=32
)
_WORDS = st.sampled_from(
    ["", "one", "call $WHO", "$WHO", "WHO", "en-US", "tones", "contacts", "../..", "a" * 5000, "\0", "été 7"]
)
_TEXTS = _WORDS | st.text(max_size=20)
_SLOW = "enable_written_form"
"""Loads grammars for some seconds; `tests/services/recognizer/test_speech_service.py` has it."""


@st.composite
def messages(draw: Callable, descriptor: Descriptor, depth: int = 5) -> Message:
    """A message with some of its fields set."""
    message = GetMessageClass(descriptor)()
    fields = [each for each in descriptor.fields if each.name != _SLOW]
    for each in (
        draw(st.lists(st.sampled_from(fields), max_size=5, unique_by=lambda each: each.number)) if fields else ()
    ):
        if each.message_type is not None and depth == 0:
            continue
        if each.is_repeated:
            values = [draw(_value(each, depth)) for _ in range(draw(st.integers(0, 3)))]
            _extend(message, each, values)
        elif each.message_type is not None:
            getattr(message, each.name).CopyFrom(draw(_value(each, depth)))
        else:
            setattr(message, each.name, draw(_value(each, depth)))
    return message


def _extend(message: Message, described: FieldDescriptor, values: list[object]) -> None:
    if described.message_type is not None and described.message_type.GetOptions().map_entry:
        return
    getattr(message, described.name).extend(values)


def _value(described: FieldDescriptor, depth: int) -> st.SearchStrategy:
    match described.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            return messages(described.message_type, depth - 1)
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return _FLOATS
        case FieldDescriptor.CPPTYPE_INT32:
            return _INT32
        case FieldDescriptor.CPPTYPE_INT64:
            return _INT64
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return st.sampled_from([0, 1, 2**32 - 1])
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.sampled_from([*described.enum_type.values_by_number, 5, 99, 2**31 - 1, -1])
        case _ if described.type == FieldDescriptor.TYPE_BYTES:
            return st.sampled_from(AUDIO) | st.binary(max_size=300)
    return _TEXTS


@st.composite
def packets(draw: Callable) -> bytes:
    """One packet of a stream: a configuration, good or not; audio; neither; a message with changes; no message."""
    config = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
    match draw(st.sampled_from(("good", "config", "audio", "any", "mutated", "junk"))):
        case "good":
            streaming = pb.StreamingRecognitionConfig(config=config, interim_results=draw(st.booleans()))
            request = pb.StreamingRecognizeRequest(streaming_config=streaming)
        case "config":
            streaming = draw(messages(pb.StreamingRecognitionConfig.DESCRIPTOR))
            streaming.config.MergeFrom(config)
            request = pb.StreamingRecognizeRequest(streaming_config=streaming)
        case "audio":
            request = pb.StreamingRecognizeRequest(audio_content=draw(st.sampled_from(AUDIO)))
        case "any":
            request = draw(messages(pb.StreamingRecognizeRequest.DESCRIPTOR))
        case "mutated":
            return draw(mutated(draw(packets())))
        case _:
            return draw(st.binary(max_size=60))
    return request.SerializeToString()
