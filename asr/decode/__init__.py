"""Decoding: greedy or beam search with an n-gram language model, in a stream, without torch."""

from asr.decode.decoder import Decoder, DecoderStream
from asr.decode.lm import LanguageModel
from asr.decode.types import DecoderConfig, Hypothesis, Tokens, Word

__all__ = ["Decoder", "DecoderConfig", "DecoderStream", "Hypothesis", "LanguageModel", "Tokens", "Word"]
