"""A server in a process of its own, and recordings streamed to it: spoken beside recognised, as the words come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.live import Live
from rich.text import Text

from asr import audio, debian
from asr.corpus.manifest import read_manifest
from asr.errors import ConfigError
from services.client import Client, Options, paced

SOUNDS = "usr/share/asterisk/sounds/en*"
CHUNK_S = 0.1
MICROPHONE = Options(encoding="LINEAR16", sample_rate_hz=audio.SAMPLE_RATE_HZ)
"""Recordings are sent as a microphone would send them."""

STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Recording:
    """An audio file and the words that are spoken in it."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back for a recording.

    Attributes:
        recording: what was sent.
        text: the final result.
        interim: how many interim results came before it.
        final_latency_s: from the last packet to the final result.
    """

    recording: Recording
    text: str
    interim: int
    final_latency_s: float


def prompts(texts: Path, *, sounds: Path | None = None) -> list[Recording]:
    """Debian's recorded prompts that are named in a YAML file; none if the package is not installed.

    Args:
        texts: the file; keys are files without suffix, values their words.
        sounds: folder of the recordings; by default where the package puts them.

    Raises:
        ConfigError: `texts` cannot be read.
    """
    try:
        known = yaml.safe_load(texts.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{texts}: the texts of the prompts cannot be read ({error})") from error
    folder = sounds or debian.find(SOUNDS)
    if folder is None:
        return []
    found = [Recording(folder / f"{name}.g722", text) for name, text in known.items()]
    return [recording for recording in found if recording.path.is_file()]


def queries(manifest: Path, count: int) -> list[Recording]:
    """The first utterances of a manifest."""
    corpus = read_manifest(manifest)
    return [
        Recording(corpus.root / utterance.audio_filepath, utterance.text) for utterance in corpus.utterances[:count]
    ]


def listen(address: str, recordings: Sequence[Recording], console: Console) -> list[Heard]:
    """Streams each recording as fast as it was spoken and prints the words as they come."""
    with Client(address) as client:
        return [_listen(client, recording, console) for recording in recordings]


def _listen(client: Client, recording: Recording, console: Console) -> Heard:
    samples = audio.load(recording.path)
    pcm = np.rint(samples * 32767).astype("<i2")
    step = round(CHUNK_S * audio.SAMPLE_RATE_HZ)
    packets = [pcm[start : start + step].tobytes() for start in range(0, len(pcm), step)]
    sent_s = time.monotonic()

    def chunks() -> Iterator[bytes]:
        nonlocal sent_s
        for packet in paced(packets, CHUNK_S):
            yield packet
            sent_s = time.monotonic()

    text, interim = "", 0
    _say(console, f"{recording.path.name}", "bold")
    _say(console, f"  spoken      {recording.text}")
    with Live(Text(""), console=console, transient=True, auto_refresh=False) as live:
        for result in client.stream(chunks(), MICROPHONE):
            if result.is_final:
                text = result.text
            elif result.text and result.text != text:
                text, interim = result.text, interim + 1
                if console.is_terminal:
                    live.update(Text(f"  hears       {text}", style="dim"), refresh=True)
                else:
                    _say(console, f"  hears       {text}")
    latency_s = time.monotonic() - sent_s
    right = text == recording.text
    _say(console, f"  recognised  {text or '(no words)'}", "green" if right else "yellow")
    return Heard(recording, text, interim, latency_s)


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), soft_wrap=True)
