"""Text to speech with many voices: the corpus of a product that has no recordings yet."""

from asr.synth.engine import ENGINES, Engine, open_engine, trim_silence
from asr.synth.voices import SPLITS, Voice, blend, catalogue, find, of_engine

__all__ = [
    "ENGINES",
    "SPLITS",
    "Engine",
    "Voice",
    "blend",
    "catalogue",
    "find",
    "of_engine",
    "open_engine",
    "trim_silence",
]
