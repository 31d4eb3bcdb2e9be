"""The clients: one that blocks, one for asyncio; the same methods, the same results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from types import TracebackType

import grpc

from services.client.errors import error_of
from services.client.names import Forgotten, NamesClient, feedback_request, forgotten_of
from services.client.options import (
    CHANNEL_OPTIONS,
    DEFAULT_ADDRESS,
    Audio,
    Options,
    audio_requests,
    first_request,
    unary_request,
)
from services.client.reconnect import Reconnect, stream_again, stream_again_async
from services.client.results import Info, StreamResult, Transcript, info_of, stream_results_of, transcript_of
from services.dengar.v1 import feedback_pb2_grpc, privacy_pb2, privacy_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb

_DEFAULTS = Options()


class Client:
    """A connection to a speech server; use it in a ``with`` statement, from any number of threads.

    Every method raises `SpeechServiceError` when the server refuses or cannot be reached.

    Args:
        address: ``host:port``; plain text.
        key: API key, where the server wants one.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, key: str = "") -> None:
        self.address = address
        self._metadata = (("x-api-key", key),) if key else ()
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._stub = speech_pb2_grpc.SpeechStub(self._channel)  # type: ignore[no-untyped-call]
        self.names = NamesClient(self._channel, address, self._metadata)

    def __enter__(self) -> Client:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Closes the connection; running calls are cancelled."""
        self._channel.close()

    def info(self, *, timeout_s: float = 10.0) -> Info:
        """Asks what the server runs and accepts."""
        try:
            return info_of(self._stub.GetInfo(pb.GetInfoRequest(), timeout=timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None

    def recognize(self, audio: Audio, options: Options = _DEFAULTS, *, timeout_s: float = 300.0) -> Transcript:
        """Recognises a whole recording: the bytes of a file, or samples with their rate in `options`."""
        try:
            return transcript_of(
                self._stub.Recognize(unary_request(audio, options), timeout=timeout_s, metadata=self._metadata)
            )
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None

    def stream(
        self,
        chunks: Iterable[Audio],
        options: Options = _DEFAULTS,
        *,
        interim_results: bool = True,
        single_utterance: bool = False,
        timeout_s: float | None = None,
        reconnect: Reconnect | None = None,
    ) -> Iterator[StreamResult]:
        """Recognises speech while it comes in.

        Args:
            chunks: audio in order, of any sizes; iterated in another thread, its end closes the stream. What it
                raises is raised here.
            options: how the audio is sent and what is asked for.
            interim_results: also yield what has been understood so far.
            single_utterance: end when the speaker falls silent.
            timeout_s: for the whole stream, or for each that it is begun anew with.
            reconnect: how hard to try again when the connection is lost; None: not at all.

        Yields:
            Interim results, and at the end one with `is_final`.
        """
        if reconnect is not None:
            yield from stream_again(
                lambda kept: self.stream(
                    kept,
                    options,
                    interim_results=interim_results,
                    single_utterance=single_utterance,
                    timeout_s=timeout_s,
                ),
                chunks,
                reconnect,
            )
            return
        first = first_request(options, interim_results=interim_results, single_utterance=single_utterance)
        failures: list[Exception] = []
        begun, ended = threading.Event(), threading.Event()

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield first
            try:
                for chunk in chunks:
                    if ended.is_set():
                        break
                    yield from audio_requests(chunk)
            except Exception as error:
                failures.append(error)
                begun.wait()
                call.cancel()

        call = self._stub.StreamingRecognize(requests(), timeout=timeout_s, metadata=self._metadata)
        begun.set()
        try:
            for response in call:
                for result in stream_results_of(response):
                    if result.end_of_utterance:
                        ended.set()
                    yield result
        except grpc.RpcError as error:
            if not failures:
                raise error_of(error, self.address) from None
        finally:
            call.cancel()
        if failures:
            raise failures[0]

    def feedback(
        self,
        query_id: str,
        *,
        corrected_text: str | None = None,
        chosen_result: str | None = None,
        retried_as: str | None = None,
        accepted: bool | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Says what became of a query that the server keeps: one of these; kept when this returns.

        Args:
            query_id: came with the final result.
            corrected_text: the words as the user corrected them.
            chosen_result: title of the result that was chosen.
            retried_as: id of the query by which the user said it again.
            accepted: the answer was taken as it was, or given up.
            timeout_s: for the call.
        """
        request = feedback_request(query_id, corrected_text, chosen_result, retried_as, accepted)
        stub = feedback_pb2_grpc.FeedbackStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            stub.SendFeedback(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None

    def forget(self, user: str, *, timeout_s: float = 60.0) -> Forgotten:
        """Deletes what is kept of a user; needs a key with the role admin where there are keys."""
        stub = privacy_pb2_grpc.PrivacyStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            answer = stub.Forget(privacy_pb2.ForgetRequest(user=user), timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None
        return forgotten_of(answer)


class AsyncClient:
    """The same for asyncio; use it in an ``async with`` statement.

    Args:
        address: ``host:port``; plain text.
        key: API key, where the server wants one.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, key: str = "") -> None:
        self.address = address
        self._metadata = (("x-api-key", key),) if key else ()
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._stub = speech_pb2_grpc.SpeechStub(self._channel)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> AsyncClient:
        """Returns itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        await self.close()

    async def close(self) -> None:
        """Closes the connection; running calls are cancelled."""
        await self._channel.close(grace=None)

    async def info(self, *, timeout_s: float = 10.0) -> Info:
        """See `Client.info`."""
        try:
            return info_of(await self._stub.GetInfo(pb.GetInfoRequest(), timeout=timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None

    async def recognize(self, audio: Audio, options: Options = _DEFAULTS, *, timeout_s: float = 300.0) -> Transcript:
        """See `Client.recognize`."""
        try:
            request = unary_request(audio, options)
            return transcript_of(await self._stub.Recognize(request, timeout=timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None

    async def stream(
        self,
        chunks: AsyncIterable[Audio],
        options: Options = _DEFAULTS,
        *,
        interim_results: bool = True,
        single_utterance: bool = False,
        timeout_s: float | None = None,
        reconnect: Reconnect | None = None,
    ) -> AsyncIterator[StreamResult]:
        """See `Client.stream`; `chunks` is iterated in another task."""
        if reconnect is not None:
            again = stream_again_async(
                lambda kept: self.stream(
                    kept,
                    options,
                    interim_results=interim_results,
                    single_utterance=single_utterance,
                    timeout_s=timeout_s,
                ),
                chunks,
                reconnect,
            )
            async for result in again:
                yield result
            return
        first = first_request(options, interim_results=interim_results, single_utterance=single_utterance)
        failures: list[Exception] = []
        ended = asyncio.Event()

        async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
            yield first
            try:
                async for chunk in chunks:
                    if ended.is_set():
                        break
                    for request in audio_requests(chunk):
                        yield request
            except Exception as error:
                failures.append(error)
                call.cancel()

        call = self._stub.StreamingRecognize(requests(), timeout=timeout_s, metadata=self._metadata)
        try:
            async for response in call:
                for result in stream_results_of(response):
                    if result.end_of_utterance:
                        ended.set()
                    yield result
        except grpc.RpcError as error:
            if not failures:
                raise error_of(error, self.address) from None
        except asyncio.CancelledError:
            if not failures:
                raise
        finally:
            call.cancel()
        if failures:
            raise failures[0]

    async def feedback(
        self,
        query_id: str,
        *,
        corrected_text: str | None = None,
        chosen_result: str | None = None,
        retried_as: str | None = None,
        accepted: bool | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """See `Client.feedback`."""
        request = feedback_request(query_id, corrected_text, chosen_result, retried_as, accepted)
        stub = feedback_pb2_grpc.FeedbackStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            await stub.SendFeedback(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None
