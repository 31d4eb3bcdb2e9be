"""Configuration of the acoustic model."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from asr.features import FeatureConfig

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class EncoderConfig:
    """The acoustic encoder under the recurrent head.

    Attributes:
        kind: ``conv`` (from scratch: one strided convolution) or ``whisper`` (pretrained, chunked attention).
        width: channels; Whisper tiny has 384, base 512.
        layers: attention blocks (``whisper`` only); Whisper tiny has 4, base 6.
        heads: attention heads (``whisper`` only); Whisper tiny has 6, base 8.
        stride: mel frames per output frame; ``whisper`` has 2.
        left_context_frames: output frames of cached left context (``whisper`` only).
        chunk_frames: output frames per step when streaming.
        pretrained: Whisper weights to start from (see `asr.model.pretrained.load_whisper_encoder`), or empty.
    """

    kind: Literal["conv", "whisper"] = "conv"
    width: PositiveInt = 256
    layers: PositiveInt = 4
    heads: PositiveInt = 6
    stride: PositiveInt = 3
    left_context_frames: PositiveInt = 192
    chunk_frames: PositiveInt = 8
    pretrained: str = ""


@dataclass(frozen=True, config=_STRICT)
class HeadConfig:
    """The recurrent CTC head.

    Attributes:
        cell: recurrent cell; one class each in `asr.model.head.CELLS`.
        layers: recurrent layers, each with layer norm before and a residual around.
        width: units per layer.
        look_ahead_frames: taps of the depth-wise look-ahead convolution beyond the present frame.
        dropout: after each recurrent layer.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    layers: PositiveInt = 4
    width: PositiveInt = 384
    look_ahead_frames: int = field(default=4)
    dropout: float = 0.1


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """Everything that fixes the shape of an acoustic model.

    Attributes:
        intermediate: a linear CTC layer on the encoder's output beside the recurrent head, used in training only
            (intermediate CTC, Lee & Watanabe 2021): it gives the encoder a shorter path to the loss.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    intermediate: bool = False
