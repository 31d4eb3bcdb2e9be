"""CMU Flite: four small recorded voices, 15 to 400 times faster than real time (`libflite` through ctypes).

The shared library is used and not the program: starting a process costs more than speaking a query does.
"""

from __future__ import annotations

import ctypes

import numpy as np

from asr import audio, debian
from asr.errors import ConfigError
from asr.synth.engine import check_request
from asr.synth.voices import Voice, of_engine


class _Wave(ctypes.Structure):
    """``cst_wave`` of flite's cst_wave.h."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _VoiceStruct(ctypes.Structure):
    """The head of ``cst_voice`` of flite's cst_voice.h."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


def _library(name: str) -> ctypes.CDLL:
    return debian.library(name, "flite")


class Flite:
    """Flite as an `asr.synth.engine.Engine`."""

    name = "flite"
    has_pitch = True
    can_blend = False

    def __init__(self) -> None:
        self._flite = _library("libflite.so.1")
        _library("libflite_cmulex.so.1")
        _library("libflite_usenglish.so.1")
        self._flite.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        self._flite.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.POINTER(_VoiceStruct))
        self._flite.delete_wave.argtypes = (ctypes.POINTER(_Wave),)
        self._flite.flite_feat_set_float.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)
        self._flite.flite_init()
        self._libc = ctypes.CDLL(None)
        self._voices: dict[str, ctypes._Pointer[_VoiceStruct]] = {}

    def voices(self) -> list[Voice]:
        """The four voices that Debian's library carries."""
        return list(of_engine(self.name))

    def speak(self, text: str, voice: Voice, speed: float = 1.0, pitch: float = 1.0) -> audio.Samples:
        """See `asr.synth.engine.Engine.speak`."""
        check_request(self, text, voice, speed, pitch)
        handle = self._voice(voice.name)
        features = handle.contents.features
        self._flite.flite_feat_set_float(features, b"duration_stretch", 1.0 / speed)
        self._flite.flite_feat_set_float(features, b"f0_shift", pitch)
        self._libc.srand(1)  # the excitation's noise comes from rand(): the same request shall give the same samples
        wave = self._flite.flite_text_to_wave(text.encode("ascii", "replace"), handle)
        if not wave:
            raise ConfigError(f"flite could not speak {text!r}")
        try:
            head = wave.contents
            pcm = np.ctypeslib.as_array(head.samples, (head.num_samples,)).astype(np.float32) / 32768.0
            return audio.to_mono_16k(pcm, head.sample_rate, voice.id)
        finally:
            self._flite.delete_wave(wave)

    def phones(self, text: str, voice: str = "slt") -> tuple[str, ...]:
        """What Flite's lexicon and letter-to-sound rules make of a text: ARPAbet, vowels with their stress (``AA1``).

        Args:
            text: plain English.
            voice: whose front end reads it; all four have the same lexicon.

        Raises:
            ConfigError: Flite makes nothing of it.
        """
        flite = self._flite
        for name, result, arguments in (
            ("flite_synth_text", ctypes.c_void_p, (ctypes.c_char_p, ctypes.POINTER(_VoiceStruct))),
            ("utt_relation", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)),
            ("relation_head", ctypes.c_void_p, (ctypes.c_void_p,)),
            ("item_next", ctypes.c_void_p, (ctypes.c_void_p,)),
            ("ffeature_string", ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_char_p)),
            ("delete_utterance", None, (ctypes.c_void_p,)),
        ):
            function = getattr(flite, name)
            function.restype, function.argtypes = result, arguments
        spoken = flite.flite_synth_text(text.encode("ascii", "replace"), self._voice(voice))
        if not spoken:
            raise ConfigError(f"flite could not speak {text!r}")
        found: list[str] = []
        try:
            segment = flite.relation_head(flite.utt_relation(spoken, b"Segment"))
            while segment:
                phone = flite.ffeature_string(segment, b"name").decode().upper()
                vowel = flite.ffeature_string(segment, b"ph_vc") == b"+"
                stress = flite.ffeature_string(segment, b"R:SylStructure.parent.stress").decode()
                if phone != "PAU":
                    found.append("AH0" if phone == "AX" else f"{phone}{stress}" if vowel else phone)
                segment = flite.item_next(segment)
        finally:
            flite.delete_utterance(spoken)
        if not found:
            raise ConfigError(f"flite makes no sounds of {text!r}")
        return tuple(found)

    def _voice(self, name: str) -> ctypes._Pointer[_VoiceStruct]:
        if name not in self._voices:
            register = getattr(_library(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
            register.restype = ctypes.POINTER(_VoiceStruct)
            register.argtypes = (ctypes.c_char_p,)
            self._voices[name] = register(None)
        return self._voices[name]
