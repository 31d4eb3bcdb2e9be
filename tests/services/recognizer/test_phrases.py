"""Hints in requests and stored sets, over real gRPC."""

from __future__ import annotations

import grpc
import pytest

from asr.errors import ConfigError
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.phrases import MAX_IN_REQUEST, PhraseStore, UnknownPhraseSetError, wanted_of
from services.recognizer.status import DamagedError
from tests.services.conftest import ToneHints, ToneRecognizer, ToneStream, linear16, serving, tones
from tests.services.crashing import crash

CRASH_POINTS = ("phrases.written", "phrases.replaced")
AUDIO = pb.RecognitionAudio(content=linear16(tones("one two")))


class Noting(ToneRecognizer):
    """Keeps what hints it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[object, object]] = []
        self.used: list[ToneHints | None] = []

    def hints(self, phrases, classes, contexts=None) -> ToneHints:  # noqa: ARG002
        self.given.append((tuple(phrases), {name: list(items) for name, items in classes.items()}))
        return super().hints(phrases, classes)

    def stream(self, nbest: int = 1, hints: ToneHints | None = None, **_: object) -> ToneStream:
        self.used.append(hints)
        return super().stream(nbest, hints)


def config(**fields: object) -> pb.RecognitionConfig:
    return pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000, **fields)


def contacts(name: str = "contacts") -> pb.PhraseSet:
    return pb.PhraseSet(
        name=name,
        boost=4,
        phrases=[pb.Phrase(value="one"), pb.Phrase(value="call $WHO", boost=9)],
        custom_classes=[pb.CustomClass(name="WHO", items=[pb.CustomClass.ClassItem(value="two")])],
    )


async def test_hints_reach_the_recogniser_and_the_unused_come_back() -> None:
    recognizer = Noting()
    async with serving(recognizer) as address, grpc.aio.insecure_channel(address) as channel:
        speech, phrases = speech_pb2_grpc.SpeechStub(channel), speech_pb2_grpc.PhrasesStub(channel)
        stored = await phrases.PutPhraseSet(pb.PutPhraseSetRequest(phrase_set=contacts()))
        assert [(each.phrase, each.reason) for each in stored.unused_phrases] == [("call $WHO", "is no tone")]
        asked = config(
            speech_contexts=[pb.SpeechContext(phrases=["three", "xyzzy"], boost=2)],
            adaptation=pb.SpeechAdaptation(
                phrase_set_references=["contacts"],
                custom_classes=[pb.CustomClass(name="WHO", items=[pb.CustomClass.ClassItem(value="four")])],
            ),
        )
        response = await speech.Recognize(pb.RecognizeRequest(config=asked, audio=AUDIO))
        assert [each.phrase for each in response.metadata.unused_phrases] == ["xyzzy", "call $WHO"]
        plain = await speech.Recognize(pb.RecognizeRequest(config=config(), audio=AUDIO))
        assert not plain.metadata.unused_phrases
        assert (await speech.GetInfo(pb.GetInfoRequest())).max_phrases == MAX_IN_REQUEST
    assert recognizer.given[-1] == (
        (("three", 2.0), ("xyzzy", 2.0), ("one", 4.0), ("call $WHO", 9.0)),
        {"WHO": ["two", "four"]},
    )
    assert [used is None for used in recognizer.used] == [False, True]


async def test_sets_are_kept_listed_replaced_and_forgotten() -> None:
    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.PhrasesStub(channel)
        for name in ("b", "a"):
            await stub.PutPhraseSet(pb.PutPhraseSetRequest(phrase_set=contacts(name)))
        await stub.PutPhraseSet(pb.PutPhraseSetRequest(phrase_set=pb.PhraseSet(name="a")))
        listed = (await stub.ListPhraseSets(pb.ListPhraseSetsRequest())).phrase_sets
        assert [(each.name, each.phrases) for each in listed] == [("a", 0), ("b", 2)]
        assert await stub.GetPhraseSet(pb.GetPhraseSetRequest(name="b")) == contacts("b")
        await stub.DeletePhraseSet(pb.DeletePhraseSetRequest(name="b"))
        for call in (
            stub.GetPhraseSet(pb.GetPhraseSetRequest(name="b")),
            stub.DeletePhraseSet(pb.DeletePhraseSetRequest(name="b")),
            stub.PutPhraseSet(pb.PutPhraseSetRequest(phrase_set=contacts("No Such Name"))),
            stub.PutPhraseSet(pb.PutPhraseSetRequest(phrase_set=contacts("../escape"))),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_request_with_too_many_phrases_or_an_unknown_set_is_refused() -> None:
    too_many = config(speech_contexts=[pb.SpeechContext(phrases=["x"] * (MAX_IN_REQUEST + 1))])
    unknown = config(adaptation=pb.SpeechAdaptation(phrase_set_references=["nobody"]))
    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        for asked, says in ((too_many, "at most 5000"), (unknown, "no phrase set called 'nobody'")):
            with pytest.raises(grpc.aio.AioRpcError, match=says) as caught:
                await speech_pb2_grpc.SpeechStub(channel).Recognize(pb.RecognizeRequest(config=asked, audio=AUDIO))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_owners_do_not_see_each_others_sets(tmp_path) -> None:
    store = PhraseStore(tmp_path)
    store.put("ann", contacts())
    assert store.names("bob") == {}
    with pytest.raises(UnknownPhraseSetError):
        store.get("bob", "contacts")
    assert store.get("ann", "contacts") == contacts()


def test_a_damaged_set_is_one_sentence_and_a_full_store_says_so(tmp_path, monkeypatch) -> None:
    store = PhraseStore(tmp_path)
    store.put("ann", contacts())
    (path,) = tmp_path.glob("*/contacts.json")
    for damaged in (b"{", b"\xff\xfe{}", b'{"phrases": 7}', b'{"unheard_of": 1}'):
        path.write_bytes(damaged)
        with pytest.raises(DamagedError, match="damaged"):
            store.get("ann", "contacts")
    assert store.names("ann") == {"contacts": 0}
    monkeypatch.setattr("services.recognizer.phrases.MAX_SETS", 1)
    with pytest.raises(ConfigError, match="delete one first"):
        store.put("ann", contacts("another"))
    store.put("ann", contacts())
    assert store.get("ann", "contacts") == contacts()


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_server_that_is_killed_while_it_stores_a_set_leaves_the_old_or_the_new_one(point: str, tmp_path) -> None:
    store = PhraseStore(tmp_path)
    store.put("ann", contacts())
    put = (
        "import sys, pathlib; from services.recognizer.phrases import PhraseStore, pb;"
        "PhraseStore(pathlib.Path(sys.argv[1])).put('ann', pb.PhraseSet(name='contacts', boost=7))"
    )
    crash(point, put, str(tmp_path))
    old, new = contacts(), pb.PhraseSet(name="contacts", boost=7)
    assert store.get("ann", "contacts") == (old if point == "phrases.written" else new)
    assert store.names("ann").keys() == {"contacts"}
    store.put("ann", new)
    assert store.get("ann", "contacts") == new
    assert [path.name for path in tmp_path.glob("*/.*")] == [".lock"], "what the killed one had begun is cleared away"


def test_no_hints_are_no_hints() -> None:
    assert not wanted_of(config(), lambda _: pb.PhraseSet())
