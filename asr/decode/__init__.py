"""Decoding: greedy or beam search with an n-gram language model, in a stream, without torch."""

from asr.decode.config import Calibration, DecoderConfig
from asr.decode.decoder import Decoder, DecoderStream
from asr.decode.lm import LanguageModel
from asr.decode.types import Hypothesis, Tokens, Word

__all__ = ["Calibration", "Decoder", "DecoderConfig", "DecoderStream", "Hypothesis", "LanguageModel", "Tokens", "Word"]
