"""The service `dengar.v1.Speech` over gRPC: the edge, asynchronous; `services.recognizer.pipeline` does the work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import grpc

from asr import __version__
from asr.endpoint import Reason
from asr.errors import MissingDependencyError
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer import messages
from services.recognizer.audio_in import ENCODINGS
from services.recognizer.bundles import Bundles
from services.recognizer.config import ServerConfig
from services.recognizer.interceptors import linger
from services.recognizer.metrics import LIVE, Metrics
from services.recognizer.phrases import MAX_IN_REQUEST, wanted_of
from services.recognizer.pipeline import Flow, Pipeline
from services.recognizer.quotas import Account, current_account
from services.recognizer.sending import LoopMeter, Metered, SentMetrics
from services.recognizer.session import (
    EndOfUtterance,
    Failure,
    Final,
    Interim,
    Session,
    SessionConfig,
    SpeechEvent,
    Voice,
)
from services.recognizer.shadow import ShadowListener
from services.recognizer.status import (
    BusyError,
    CallTimeoutError,
    IdleError,
    ProtocolError,
    QuotaError,
    SlowError,
    StalledError,
    StoppingError,
    abort,
)
from services.recognizer.storing import Storing, nothing_stored
from services.recognizer.turn import Meter
from services.telemetry import event

SPEECH = pb.DESCRIPTOR.services_by_name["Speech"].full_name
END_OF_UTTERANCE = pb.StreamingRecognizeResponse.END_OF_SINGLE_UTTERANCE
SPEECH_BEGIN = pb.StreamingRecognizeResponse.SPEECH_ACTIVITY_BEGIN
SPEECH_END = pb.StreamingRecognizeResponse.SPEECH_ACTIVITY_END
SPEECH_TIMEOUT = pb.StreamingRecognizeResponse.SPEECH_ACTIVITY_TIMEOUT
log = logging.getLogger("dengar.recognizer")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class SpeechService(speech_pb2_grpc.SpeechServicer):
    """Answers the calls of `dengar.v1.Speech`.

    Args:
        bundles: who answers.
        config: bounds.
        stored: gives the current caller's phrase sets by name.
        metrics: told what happens.
        voice: hears voices; without it no endpoints.
        storing: keeps queries and knows names; nothing if None.
    """

    def __init__(
        self,
        bundles: Bundles,
        config: ServerConfig,
        stored: Callable[[str], pb.PhraseSet],
        metrics: Metrics | None = None,
        voice: Voice | None = None,
        storing: Storing | None = None,
    ) -> None:
        self._voice = voice
        self._storing = storing or nothing_stored()
        self._stored = stored
        self._bundles = bundles
        self._config = config
        self._metrics = metrics or Metrics()
        self._shadow = ShadowListener()
        self._pipeline = Pipeline(config.threads, config.max_batch, config.batch_wait_ms / 1000, self._metrics)
        self._loop_meter = LoopMeter()
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="settings")
        self._calls = 0
        self._stopping = False
        self.idle = asyncio.Event()
        self.idle.set()

    async def watch(self, on_stall: Callable[[], Awaitable[None]], on_relief: Callable[[], Awaitable[None]]) -> None:
        """Looks after the workers, for ever: one that is stuck is replaced, and its streams fail.

        Args:
            on_stall: awaited when a worker was given up.
            on_relief: awaited when after that a turn was finished.
        """
        limit_s, turns = self._config.stall_s, -1
        while True:
            await asyncio.sleep(min(1.0, limit_s / 4))
            self._loop_meter.look()
            stuck = self._pipeline.give_up_stalled(
                limit_s, lambda: StalledError("the recogniser did not come back in time; send the audio again")
            )
            done = sum(meter.turns for meter in self._pipeline.meters)
            if stuck:
                log.error("%d workers were in one step for longer than %g s and were replaced", stuck, limit_s)
                turns = done
                await on_stall()
            elif 0 <= turns < done:
                turns = -1
                await on_relief()

    def sources(self) -> dict[str, Callable[[], Any]]:
        """What is counted here anyway, for `Edge.watch`."""
        workers, bundles = self._pipeline.meters, self._bundles
        meters: list[Meter | LoopMeter] = [*workers, self._loop_meter]

        def roles() -> dict[str, str]:
            candidate = bundles.candidate
            return {"live": bundles.live.hash, **({"candidate": candidate.hash} if candidate else {})}

        return {
            "queued": lambda: self._pipeline.waiting,
            "stalls": lambda: sum(meter.stalls for meter in workers),
            "processor_s": lambda: dict(sum((Counter(meter.by_stage()) for meter in meters), Counter())),
            "batches": lambda: dict(sum((Counter(dict(meter.recognition.batches)) for meter in workers), Counter())),
            "bundles": roles,
            "shadow": lambda: (bundles.shadow.utterances, bundles.shadow.words, bundles.shadow.word_differences),
        }

    def refuse(self) -> None:
        """Admits no more calls; running ones go on, and `idle` is set when they are over."""
        self._stopping = True

    def close(self) -> None:
        """Ends the worker threads once their work is done."""
        self._pipeline.stop()
        self._shadow.close()
        self._helper.shutdown()

    async def GetInfo(self, request: pb.GetInfoRequest, context: Context) -> pb.GetInfoResponse:  # noqa: N802, ARG002
        """Says what is served."""
        return pb.GetInfoResponse(
            version=__version__,
            bundle_hash=self._bundles.live.hash,
            language_codes=messages.LANGUAGES,
            encodings=ENCODINGS[1:],
            max_audio_duration=messages.duration(self._config.max_audio_s),
            max_audio_content_bytes=self._config.max_packet_bytes,
            max_phrases=MAX_IN_REQUEST,
            voice_activity_timeout=messages.timeouts(self._config.endpoint),
        )

    async def Recognize(self, request: pb.RecognizeRequest, context: Context) -> pb.RecognizeResponse:  # noqa: N802
        """Recognises a whole recording."""
        async with self._call(context):
            settings = await self._settings(request.config)
            async with self._flow(request.config, settings) as flow:
                await flow.push(request.audio.content, end=True)
                final = await flow.next()
                if isinstance(final, Failure):
                    raise final.error
                assert isinstance(final, Final), "without interim results nothing comes before the end"
                self._answered(flow, final)
                self._shadowed(flow, final)
                result = messages.unary_result(final.hypotheses, settings, final.at_s)
                return pb.RecognizeResponse(results=[result], metadata=self._metadata(flow, settings, final))
        raise AssertionError("an aborted call does not come here")

    async def StreamingRecognize(self, requests: Any, context: Context) -> None:  # noqa: N802, ARG002
        """Recognises speech while it comes in."""
        async with self._call(context, lingering=True):
            first = await self._read(context)
            if first is None:
                raise ProtocolError("the stream was closed before its configuration; send streaming_config first")
            if first.WhichOneof("streaming_request") != "streaming_config":
                raise ProtocolError(
                    "the first request of a stream must be streaming_config; audio_content comes after it"
                )
            config = first.streaming_config.config
            settings = await self._settings(config)
            async with self._flow(config, settings, first.streaming_config) as flow:
                listening = asyncio.create_task(self._listen(flow, settings.bytes_per_s, context))
                try:
                    ended = await self._answer(flow, settings, context)
                finally:
                    listening.cancel()
                    await asyncio.wait([listening])  # a read that is under way would swallow what lingering hears
            if ended:
                await linger(context)

    async def _answer(self, flow: Flow, settings: messages.Settings, context: Context) -> bool:
        """Sends outcomes until the last; whether the utterance ended by itself."""
        ended: Reason | None = None
        told, meter = SentMetrics(self._metrics), self._loop_meter
        while True:
            outcome = await flow.next()
            sending, began = time.monotonic(), meter.look()
            match outcome:
                case Interim(partial, at_s):
                    response = pb.StreamingRecognizeResponse(results=[messages.interim_result(partial, at_s)])
                case SpeechEvent(began, at_s):
                    response = pb.StreamingRecognizeResponse(
                        speech_event_type=SPEECH_BEGIN if began else SPEECH_END,
                        speech_event_time=messages.duration(at_s),
                    )
                case EndOfUtterance(at_s, reason, decided_at):
                    ended, flow.decided_at = reason, decided_at
                    response = pb.StreamingRecognizeResponse(
                        speech_event_type=END_OF_UTTERANCE if reason == "silence" else SPEECH_TIMEOUT,
                        speech_event_time=messages.duration(at_s),
                    )
                case Final(hypotheses, at_s):
                    response = pb.StreamingRecognizeResponse(
                        results=[messages.final_result(hypotheses, settings, at_s)],
                        metadata=self._metadata(flow, settings, outcome),
                    )
                case Failure(error):
                    raise error
            meter.send_s += meter.look() - began
            await Metered(meter, context.write(response))
            told.sent(outcome, time.monotonic() - sending)
            if isinstance(outcome, Final):
                self._answered(flow, outcome, ended)
                self._shadowed(flow, outcome)
                return ended is not None

    def _metadata(self, flow: Flow, settings: messages.Settings, final: Final) -> pb.ResponseMetadata:
        """What comes with a final result; with it the query goes to the log, if its user allows it."""
        latency_s = None if flow.decided_at is None else time.monotonic() - flow.decided_at
        query_id = self._storing.keep(settings.consent, settings.user, flow.session, final, self._role(flow), latency_s)
        return messages.metadata(flow.session.recognizer.bundle_hash, final, query_id)

    def _role(self, flow: Flow) -> str:
        """Of the bundle that answers."""
        candidate = self._bundles.candidate
        return "candidate" if candidate and candidate.recognizer is flow.session.recognizer else LIVE

    def _answered(self, flow: Flow, final: Final, ended: Reason | None = None) -> None:
        """Counts a final result; `ended`: why the utterance ended by itself."""
        role, best = self._role(flow), final.hypotheses[0]
        with contextlib.suppress(QuotaError):  # the answer is there
            self._count(flow, final.at_s, current_account())
        reason = ended.replace(" ", "_") if ended else "half_close"
        if flow.decided_at is not None:
            self._metrics.final(time.monotonic() - flow.decided_at, "endpoint" if ended else reason, role)
        self._metrics.endpoint(reason)
        self._metrics.answered(len(best.words) or len(best.text.split()), final.at_s, best.confidence, role)
        event("final", words=len(best.words), audio_s=final.at_s, reason=reason, role=role)

    def _count(self, flow: Flow, audio_s: float, account: Account) -> None:
        """Counts what came since the last time, of `audio_s` in all; raises `QuotaError`."""
        news_s, flow.counted_s = max(0.0, audio_s - flow.counted_s), audio_s
        self._metrics.audio(news_s)
        account.heard(news_s)

    async def _listen(self, flow: Flow, bytes_per_s: int, context: Context) -> None:
        """Takes in audio until the caller half-closes; what goes wrong becomes an outcome."""
        began: float | None = None
        received = 0
        account = current_account()
        try:
            while (request := await self._read(context)) is not None:
                if request.WhichOneof("streaming_request") != "audio_content":
                    raise ProtocolError("streaming_config may come only once, first; open a new stream to change it")
                data = request.audio_content
                if len(data) > self._config.max_packet_bytes:
                    raise ProtocolError(
                        f"audio_content has {len(data)} bytes; at most {self._config.max_packet_bytes} in one request"
                    )
                began = began or time.monotonic()
                await flow.push(data)
                self._count(flow, flow.session.received_s, account)
                received += len(data)
                # What still waits for a worker counts too, where bytes say how long it is.
                audio_s = max(flow.session.received_s, received / bytes_per_s if bytes_per_s else 0.0)
                await self._keep_pace(audio_s, time.monotonic() - began)
            flow.decided_at = time.monotonic()
            await flow.push(b"", end=True)
        except Exception as error:
            flow.fail(error)

    async def _keep_pace(self, audio_s: float, elapsed_s: float) -> None:
        """Reads no further where audio comes faster than its bound; raises `SlowError` where it comes too slowly."""
        if elapsed_s - audio_s > self._config.max_behind_s:
            raise SlowError(
                f"{audio_s:.1f} s of audio came in {elapsed_s:.1f} s; at most {self._config.max_behind_s:g} s of delay "
                "are accepted, send it as it is recorded"
            )
        if audio_s - elapsed_s > self._config.max_ahead_s:
            await asyncio.sleep(min(1.0, audio_s - elapsed_s - self._config.max_ahead_s))

    async def _read(self, context: Context) -> pb.StreamingRecognizeRequest | None:
        """The next request, or None once the caller has half-closed."""
        limit_s = self._config.idle_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                request = await context.read()
        except TimeoutError:
            raise IdleError(
                f"nothing came for {limit_s:g} s; send audio as it is recorded, and close at its end"
            ) from None
        return None if request is grpc.aio.EOF else request  # type: ignore[attr-defined]

    async def _settings(self, config: pb.RecognitionConfig) -> messages.Settings:
        """Checks a configuration, beside the loop where that may take long."""
        if not config.enable_written_form:
            return messages.settings_of(config)
        return await asyncio.get_running_loop().run_in_executor(self._helper, messages.settings_of, config)

    @contextlib.asynccontextmanager
    async def _call(self, context: Context, *, lingering: bool = False) -> AsyncIterator[None]:
        """Admits a call, bounds its time, and turns what it raises into a status."""
        refusal: StoppingError | BusyError | None = None
        if self._stopping:
            refusal = StoppingError("the server is shutting down; connect to another, or again in a moment")
        elif self._calls >= self._config.max_streams:
            refusal = BusyError(f"all {self._config.max_streams} streams are in use; try again in a moment")
        if refusal is not None:
            if lingering:
                await linger(context)
            await abort(context, refusal)
        self._calls += 1
        self.idle.clear()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._config.call_timeout_s):
                yield
        except TimeoutError:
            await abort(context, CallTimeoutError(f"the call lasted longer than {self._config.call_timeout_s:g} s"))
        except Exception as error:
            if isinstance(error, grpc.aio.AbortError):
                raise
            if lingering:
                await linger(context)
            await abort(context, error)
        finally:
            self._calls -= 1
            if not self._calls:
                self.idle.set()
            log.debug("call from %s lasted %.3f s", context.peer(), time.monotonic() - began)

    @contextlib.asynccontextmanager
    async def _flow(
        self,
        request: pb.RecognitionConfig,
        settings: messages.Settings,
        streaming: pb.StreamingRecognitionConfig | None = None,
    ) -> AsyncIterator[Flow]:
        interim = streaming is not None and streaming.interim_results
        endpoint = messages.endpoint_of(streaming, self._config.endpoint) if streaming else None
        events = streaming is not None and streaming.enable_voice_activity_events
        if (endpoint or events) and self._voice is None:
            raise MissingDependencyError("this server cannot tell when somebody speaks; install dengar[serve] there")
        phrases = wanted_of(request, self._stored)
        bundle = self._bundles.take()
        try:
            config = SessionConfig(
                nbest=settings.nbest,
                interim_interval_s=self._config.interim_interval_ms / 1000 if interim else None,
                endpoint=endpoint,
                speech_events=events,
                record=self._bundles.wants_shadow(bundle),
                keep=self._storing.keeps and bool(settings.consent),
                phrases=phrases,
                names=self._storing.names,
            )
            decoder = settings.decoder(self._config.max_audio_s)
            flow = self._pipeline.open(Session(bundle.recognizer, decoder, config, self._voice))
            try:
                yield flow
            finally:
                flow.close()
        finally:
            self._bundles.release(bundle)

    def _shadowed(self, flow: Flow, final: Final) -> None:
        """Lets the candidate hear an answered stream, if that was wanted when it began."""
        candidate = self._bundles.candidate
        config = flow.session.config
        if config.record and candidate is not None:
            answered = final.hypotheses[0].text
            self._shadow.listen(candidate, flow.session.recording, answered, self._bundles.shadow, config)
