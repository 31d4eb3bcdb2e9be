"""`dengar transcribe`: files in, words out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import output


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Audio files.", metavar="FILE...")],
    bundle: Annotated[str, typer.Option(help="Folder, hash or alias; default: the shipped bundle.")] = "",
    nbest: Annotated[int, typer.Option(min=1, max=100, help="Alternatives per file.")] = 1,
    whole: Annotated[bool, typer.Option("--whole", help="Hand over whole files instead of streaming packets.")] = False,
    written: Annotated[bool, typer.Option("--written", help="Add the written form, as in '5th Avenue'.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the acoustic model.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object per file and line.")] = False,
) -> int:
    """Transcribes audio files: WAV, FLAC, MP3, Ogg/Opus, WebM, MP4, G.722; 8 to 48 kHz; mono or stereo.

    A file that fails is reported in its place, and the others are done; the exit code is then 1.

    Example: dengar transcribe --json query.wav other.mp3
    """
    from asr import audio
    from asr.errors import AudioError
    from asr.recognize import Recognizer

    recognizer = Recognizer.open(bundle or None, threads=threads)
    failed = 0
    with output.progress() as progress:
        for path in progress.track(files, description="transcribing"):
            try:
                hypotheses = recognizer.transcribe(audio.load(path), whole=whole, nbest=nbest)
            except AudioError as error:
                failed += 1
                if json_:
                    output.emit_json({"file": str(path), "error": str(error)})
                else:
                    output.fail(str(error))
                continue
            row = _row(path, hypotheses)
            if written:
                from asr.corpus.text import written_form

                row["written"] = written_form(row["text"])
            if json_:
                output.emit_json(row)
            else:
                _print(row, many=len(files) > 1)
    return 1 if failed else 0


def _row(path: Path, hypotheses: list[Any]) -> dict[str, Any]:
    best, *others = hypotheses
    row: dict[str, Any] = {
        "file": str(path),
        "text": best.text,
        "confidence": round(best.confidence, 4),
        "words": [
            {
                "word": word.word,
                "start_s": round(word.start_s, 3),
                "end_s": round(word.end_s, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in best.words
        ],
    }
    if others:
        row["alternatives"] = [{"text": h.text, "confidence": round(h.confidence, 4)} for h in others]
    return row


def _print(row: dict[str, Any], *, many: bool) -> None:
    prefix = f"{row['file']}: " if many else ""
    output.console.print(f"{prefix}{row['text']}", highlight=False, markup=False, soft_wrap=True)
    if "written" in row:
        output.console.print(f"{prefix}written: {row['written']}", highlight=False, markup=False, soft_wrap=True)
    for other in row.get("alternatives", ()):
        output.console.print(
            f"    {other['confidence']:.2f}  {other['text']}", highlight=False, markup=False, soft_wrap=True
        )
