"""Kokoro-82M: natural voices, at about half a processor second per second of speech (ONNX Runtime).

The model reads phonemes in the convention of its own front end, misaki; `to_kokoro` follows that package's
``espeak.EspeakFallback`` (https://github.com/hexgrad/misaki, Apache-2.0).
"""

from __future__ import annotations

import json
import re

import numpy as np
import numpy.typing as npt

from asr import audio
from asr.errors import ConfigError, MissingDependencyError
from asr.synth import assets
from asr.synth.engine import check_request
from asr.synth.espeak import phonemes
from asr.synth.voices import Voice, of_engine, parse_blend

RATE_HZ = 24_000
MAX_SYMBOLS = 509

# Longest first: an entry must not eat a part of a longer one.
_SHARED = sorted(
    {
        "ʔˌn\u0329": "tᵊn", "ʔn\u0329": "tᵊn", "ʔn": "tᵊn", "ʔ": "t", "a^ɪ": "I", "a^ʊ": "W", "d^ʒ": "ʤ", "e^ɪ": "A",
        "e": "A", "t^ʃ": "ʧ", "ɔ^ɪ": "Y", "ə^l": "ᵊl", "ʲo": "jo", "ʲə": "jə", "ʲ": "", "ɚɹ": "əɹ", "ɚ": "əɹ",
        "r": "ɹ", "x": "k", "ç": "k", "ɐ": "ə", "ɬ": "l", "\u0303": "",
    }.items(),
    key=lambda pair: -len(pair[0]),
)  # fmt: skip
_BRITISH = (("e^ə", "ɛː"), ("iə", "ɪə"), ("ə^ʊ", "Q"))
_AMERICAN = (("o^ʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""))


def to_kokoro(ipa: str, british: bool) -> str:
    """Turns espeak-ng's IPA with ``^`` ties into Kokoro's symbols."""
    for old, new in _SHARED:
        ipa = ipa.replace(old, new)
    ipa = re.sub(r"(\S)\u0329", r"ᵊ\1", ipa).replace("\u0329", "")
    for old, new in _BRITISH if british else _AMERICAN:
        ipa = ipa.replace(old, new)
    return ipa.replace("^", "")


class Kokoro:
    """Kokoro-82M as an `asr.synth.engine.Engine`; voices may be blends such as ``af_bella*0.60+af_sky*0.40``."""

    name = "kokoro"
    has_pitch = False
    can_blend = True

    def __init__(self, threads: int = 1) -> None:
        """Loads the model.

        Args:
            threads: ONNX Runtime's threads inside one run; for many sentences, one each in several processes is faster.

        Raises:
            MissingDependencyError: the model is not installed, or a file of it is corrupt.
        """
        files = assets.installed()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError("Kokoro needs onnxruntime; run: pip install 'dengar[serve]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(files.model), options, providers=["CPUExecutionProvider"])
        self._symbols: dict[str, int] = json.loads(files.symbols.read_text(encoding="utf-8"))["vocab"]
        with np.load(files.styles) as archive:
            self._styles: dict[str, npt.NDArray[np.float32]] = {name: archive[name] for name in archive.files}

    def voices(self) -> list[Voice]:
        """The catalogue's voices whose style tables are installed."""
        return [voice for voice in of_engine(self.name) if voice.name in self._styles]

    def speak(self, text: str, voice: Voice, speed: float = 1.0, pitch: float = 1.0) -> audio.Samples:
        """See `asr.synth.engine.Engine.speak`; the accent of the first part of a blend gives the pronunciation."""
        check_request(self, text, voice, speed, pitch)
        return self.speak_ipa(phonemes(text, accent(voice)), voice, speed)

    def speak_ipa(self, ipa: str, voice: Voice, speed: float = 1.0) -> audio.Samples:
        """Speaks phonemes, whatever front end they come from.

        Args:
            ipa: as `asr.synth.espeak.phonemes` writes it, ``^`` between the letters of one phoneme.
            voice: one of this engine's voices, or a blend.
            speed: 2 is twice as fast.

        Raises:
            ConfigError: a voice that is not installed, or too few or too many phonemes.
        """
        weights = parse_blend(voice.name)
        unknown = [name for name in weights if name not in self._styles]
        if unknown:
            raise ConfigError(f"kokoro has no voice {unknown[0]!r}; known: {', '.join(sorted(self._styles))}")
        symbols = to_kokoro(ipa, is_british(voice))
        tokens = [self._symbols[symbol] for symbol in symbols if symbol in self._symbols]
        if not 0 < len(tokens) <= MAX_SYMBOLS:
            raise ConfigError(f"kokoro speaks 1 to {MAX_SYMBOLS} phonemes at once, not {len(tokens)}: {ipa[:40]!r}")
        # Style tables are (510, 1, 256): one style for each number of phonemes.
        style = sum(weight * self._styles[name][len(tokens) - 1] for name, weight in weights.items())
        feed = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": np.asarray(style, np.float32).reshape(1, 256),
            "speed": np.array([speed], np.float32),
        }
        samples = np.asarray(self._session.run(None, feed)[0], np.float32).ravel()
        return np.clip(audio.to_mono_16k(samples, RATE_HZ, voice.id), -1.0, 1.0)


def is_british(voice: Voice) -> bool:
    """Whether a voice, or the first part of a blend, speaks as in England."""
    return voice.name.startswith("b")


def accent(voice: Voice) -> str:
    """espeak-ng's voice whose phonemes a Kokoro voice reads."""
    return "en" if is_british(voice) else "en-us"
