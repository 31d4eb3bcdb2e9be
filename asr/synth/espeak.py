"""espeak-ng: formant synthesis with many accents and voice variants, and the phonemes that Kokoro reads.

A process for each sentence: the library carries flutter and noise over from one sentence to the next, so only
a fresh one gives the same samples for the same request. It costs about 10 ms.
"""

from __future__ import annotations

import functools
import io
import math
import subprocess

import soundfile

from asr import audio, debian
from asr.errors import ConfigError
from asr.synth.engine import check_request
from asr.synth.voices import Voice, of_engine

_NORMAL_RATE_WPM = 175
# Measured on f2, m3 and klatt; the scale from 0 to 99 so ends at factors of about 0.65 and 1.5.
_PITCH_STEPS_PER_OCTAVE = 80


class Espeak:
    """espeak-ng as an `asr.synth.engine.Engine`; a voice is ``accent+variant`` such as ``en-us+f2``."""

    name = "espeak"
    has_pitch = True
    can_blend = False

    def __init__(self) -> None:
        """Raises `MissingDependencyError` if the program is not installed."""
        _program()

    def voices(self) -> list[Voice]:
        """Every accent with every variant of the catalogue."""
        return list(of_engine(self.name))

    def speak(self, text: str, voice: Voice, speed: float = 1.0, pitch: float = 1.0) -> audio.Samples:
        """See `asr.synth.engine.Engine.speak`."""
        check_request(self, text, voice, speed, pitch)
        rate_wpm = round(_NORMAL_RATE_WPM * speed)
        height = max(0, min(99, round(50 + _PITCH_STEPS_PER_OCTAVE * math.log2(pitch))))
        wav = _espeak(["-v", voice.name, "-s", str(rate_wpm), "-p", str(height), "--stdout", "--", text])
        samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float32")
        return audio.to_mono_16k(samples, rate_hz, voice.id)


def phonemes(text: str, voice: str = "en-us", tie: str = "^") -> str:
    """The IPA of `text`, clauses joined by blanks.

    Args:
        text: plain text.
        voice: espeak-ng's voice, which decides the accent.
        tie: stands between the letters of one phoneme (``t^ʃ``).

    Raises:
        MissingDependencyError: espeak-ng is not installed.
    """
    return " ".join(_espeak(["-q", "--ipa", f"--tie={tie}", "-v", voice, "--", text]).decode().split())


@functools.cache
def _program() -> tuple[debian.Program, list[str]]:
    """The program, and the option that says where its data lies if it is not the system's."""
    program = debian.program("espeak-ng", "espeak-ng")
    data = debian.find("usr/lib/*/espeak-ng-data")
    return program, [f"--path={data.parent}"] if program.environment is not None and data else []


def _espeak(arguments: list[str]) -> bytes:
    program, options = _program()
    command = [program.path, *options, *arguments]
    done = subprocess.run(command, capture_output=True, check=False, env=program.environment)
    if done.returncode != 0:
        detail = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(f"espeak-ng could not speak {arguments[-1]!r} ({detail[-1] if detail else 'it failed'})")
    return done.stdout
