"""`dengar stream`: speaks to a running server, and prints the words as they come."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from services.cli import output

if TYPE_CHECKING:
    from services.client import StreamResult, Word

CHUNK_S = 0.1


def stream(
    source: Annotated[str, typer.Argument(metavar="FILE|mic", help="An audio file, or the word mic.")],
    *,
    address: Annotated[
        str | None, typer.Option(envvar="DENGAR_ADDRESS", help="The server, host:port; 127.0.0.1:50051 if not given.")
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime/--no-realtime", help="Send a file as fast as it was spoken, or at once.")
    ] = True,
    interim: Annotated[bool, typer.Option("--interim/--no-interim", help="Show words before they are final.")] = True,
    single_utterance: Annotated[
        bool | None,
        typer.Option("--single-utterance/--whole", help="End when the speaker falls silent (the default for mic)."),
    ] = None,
    consent: Annotated[
        str, typer.Option(help="What the server may keep of the query: none, transcript or audio.")
    ] = "none",
    user: Annotated[
        str, typer.Option(envvar="DENGAR_USER", help="Who asks; needed with consent, kept as a keyed hash.")
    ] = "",
    key: Annotated[str, typer.Option(envvar="DENGAR_KEY", help="API key, if the server wants one.")] = "",
    written: Annotated[bool, typer.Option("--written", help="Show the written form too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each result.")] = False,
) -> None:
    """Stream FILE, or the microphone, to a running server and print the words as they come.

    Start a server with `dengar serve`. Ctrl-C ends a recording and prints what was understood.

    Example: dengar stream query.wav --address 127.0.0.1:50051

    Example: dengar stream query.wav --consent audio --user ann
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's C core logs to stderr; what matters is raised
    from services.client import DEFAULT_ADDRESS, Client, Options, open_audio, paced
    from services.client.microphone import SAMPLE_RATE_HZ, microphone

    stop = threading.Event()
    if source == "mic":
        single = single_utterance is not False
        options = Options(encoding="LINEAR16", sample_rate_hz=SAMPLE_RATE_HZ, written_form=written)
        chunks = microphone(stop)
    else:
        single = single_utterance is True
        file = open_audio(source)
        options = file.options(written_form=written)
        chunks = file.chunks(CHUNK_S)
        if realtime and file.duration_s is None:
            output.warn(
                f"{source}: how long it lasts is not known without PyAV (pip install av), so it is sent at once"
            )
        elif realtime:
            chunks = paced(chunks, CHUNK_S)
    options = dataclasses.replace(options, consent=consent, user=user)
    with Client(address or DEFAULT_ADDRESS, key) as client:
        client.info()  # a clear word, before anyone speaks, if no server is there
        with _interrupt_sets(stop if source == "mic" else None):
            results = client.stream(chunks, options, interim_results=interim, single_utterance=single)
            if json:
                for result in results:
                    output.emit_json(_row(result))
            elif output.console.is_terminal:
                _show_live(results)
            else:
                _show_lines(results)


def _show_lines(results: Iterator[StreamResult]) -> None:
    for result in results:
        if result.end_of_utterance:
            continue
        mark = "final" if result.is_final else f"{result.stability:.2f} "
        _print(f"{result.end_s:7.2f} s  {mark}  {result.text}")
        if result.is_final:
            _show_written(result)
            _show_id(result)


def _show_live(results: Iterator[StreamResult]) -> None:
    final = None
    with Live(Text("listening ..."), console=output.console, transient=True, auto_refresh=False) as live:
        for result in results:
            if result.is_final:
                final = result
            elif result.text:
                live.update(Text(result.text, style="bold" if result.stability > 0.8 else "dim"), refresh=True)
    if final is not None:
        output.console.print(Text(final.text or "(no words)"), Text(f"({final.end_s:.1f} s)", style="dim"))
        _show_written(final)
        _show_id(final)


def _show_id(result: StreamResult) -> None:
    if result.query_id:
        _print(f"kept as query {result.query_id}")


def _show_written(result: StreamResult) -> None:
    if result.alternatives and result.alternatives[0].written:
        _print(f"written: {result.alternatives[0].written}")


def _print(line: str) -> None:
    output.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _row(result: StreamResult) -> dict[str, object]:
    """A result as JSON; a final one has the keys of `dengar transcribe --json`."""
    if result.end_of_utterance:
        return {"event": "end_of_utterance", "end_s": result.end_s}
    if not result.is_final:
        return {"event": "interim", "text": result.text, "stability": round(result.stability, 4), "end_s": result.end_s}
    best = result.alternatives[0]
    row: dict[str, object] = {"event": "final", "text": best.text, "confidence": round(best.confidence, 4)}
    row["words"] = [_word_row(word) for word in best.words]
    if best.written:
        row["written"] = best.written
    if result.query_id:
        row["query"] = result.query_id
    return row | {"audio_s": result.audio_s, "bundle": result.bundle_hash}


def _word_row(word: Word) -> dict[str, object]:
    row = dataclasses.asdict(word)
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


@contextlib.contextmanager
def _interrupt_sets(stop: threading.Event | None) -> Iterator[None]:
    """Makes the first Ctrl-C end the recording rather than the command; a second one ends the command."""
    if stop is None:
        yield
        return

    def end_recording(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, end_recording)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
