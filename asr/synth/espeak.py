"""espeak-ng: formant synthesis with many accents and voice variants, and the phonemes that Kokoro reads.

The shared library is used through ctypes and not the program: starting a process costs more than speaking
a query does. The library keeps its state in globals, so there is one of it in a process.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asr import audio, debian
from asr.errors import MissingDependencyError
from asr.synth.engine import check_request
from asr.synth.voices import Voice, of_engine

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_RATE, _PARAMETER_PITCH = 1, 3
_PHONEMES_IPA, _PHONEMES_TIE = 0x02, 0x80

_NORMAL_RATE_WPM = 175
_HOW = "run: apt-get install espeak-ng"

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Library:
    """The loaded library, its sampling rate, and the audio of the sentence being spoken."""

    def __init__(self) -> None:
        self.lib = debian.library("libespeak-ng.so.1", "espeak-ng")
        data = debian.find("usr/lib/*/espeak-ng-data")
        folder = str(data.parent).encode() if data else None
        self.lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.rate_hz = int(self.lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, folder, 0))
        if self.rate_hz <= 0:
            raise MissingDependencyError(f"espeak-ng's data files are not installed; {_HOW}")
        self.blocks: list[npt.NDArray[np.int16]] = []
        self._callback = _Callback(self._collect)  # kept here: the library holds no reference
        self.lib.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self.blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def set_voice(self, name: str) -> None:
        if self.lib.espeak_SetVoiceByName(name.encode()) != 0:
            raise MissingDependencyError(f"this espeak-ng has no voice {name!r}; {_HOW}")


@functools.cache
def _library() -> _Library:
    return _Library()


class Espeak:
    """espeak-ng as an `asr.synth.engine.Engine`; a voice is ``accent+variant`` such as ``en-us+f2``."""

    name = "espeak"
    has_pitch = True
    can_blend = False

    def __init__(self) -> None:
        self._library = _library()

    def voices(self) -> list[Voice]:
        """Every accent with every variant of the catalogue."""
        return list(of_engine(self.name))

    def speak(self, text: str, voice: Voice, speed: float = 1.0, pitch: float = 1.0) -> audio.Samples:
        """See `asr.synth.engine.Engine.speak`."""
        check_request(self, text, voice, speed, pitch)
        library = self._library
        library.set_voice(voice.name)
        library.lib.espeak_SetParameter(_PARAMETER_RATE, round(_NORMAL_RATE_WPM * speed), 0)
        # The parameter runs from 0 (an octave down) over 50 to 100 (an octave up).
        library.lib.espeak_SetParameter(_PARAMETER_PITCH, min(99, round(50 + 50 * math.log2(pitch))), 0)
        library.blocks = []
        data = text.encode() + b"\0"
        library.lib.espeak_Synth(data, len(data), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        pcm = np.concatenate([*library.blocks, np.zeros(0, np.int16)]).astype(np.float32) / 32768.0
        return audio.to_mono_16k(pcm, library.rate_hz, voice.id)


def phonemes(text: str, voice: str = "en-us", tie: str = "^") -> str:
    """The IPA of `text`, clauses joined by blanks.

    Args:
        text: plain text.
        voice: espeak-ng's voice, which decides the accent.
        tie: stands between the letters of one phoneme (``t^ʃ``).

    Raises:
        MissingDependencyError: espeak-ng is not installed.
    """
    library = _library()
    library.set_voice(voice)
    mode = _PHONEMES_IPA | _PHONEMES_TIE | ord(tie) << 8
    rest = ctypes.c_char_p(text.encode())
    clauses = []
    while rest.value is not None:
        clauses.append(library.lib.espeak_TextToPhonemes(ctypes.byref(rest), _CHARS_UTF8, mode).decode().strip())
    return " ".join(clause for clause in clauses if clause)
