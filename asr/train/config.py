"""Configuration of a training run."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from asr.model.config import ModelConfig

_STRICT = ConfigDict(extra="forbid")
CHARACTERS = ("<blank>", " ", "'", *"abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """What is trained on.

    Attributes:
        train: manifests.
        dev: manifests; their first `dev_utterances` (spread evenly) steer early stopping.
        augment: YAML of `asr.augment.AugmentConfig`, or empty for none.
        noise: folder of noise files for the augmentation, or empty.
        rooms: folder of impulse responses for the augmentation, or empty.
        train_hours: hours to take of the training utterances, spread over corpora and speakers; 0 takes all.
        shares: of each training manifest in the time of all, together 1; empty takes them as they are.
        held_out_share: of the time of each corpus, kept out of the training by whole speakers (see
            `asr.train.held_out`) to measure the error on the training distribution with; 0 for none.
        wordless: share of the training utterances that noise or music alone replaces, whose text is then empty;
            needs `augment`, whose noise it takes.
        batch_s: seconds of audio per batch, padding included.
        max_s: longer utterances are left out and counted.
        workers: processes that load and augment.
    """

    train: tuple[str, ...]
    dev: tuple[str, ...]
    augment: str = ""
    noise: str = ""
    rooms: str = ""
    train_hours: NonNegativeFloat = 0.0
    shares: tuple[NonNegativeFloat, ...] = ()
    held_out_share: float = Field(default=0.0, ge=0, le=0.5)
    wordless: float = Field(default=0.0, ge=0, lt=1)
    batch_s: PositiveFloat = 160.0
    max_s: PositiveFloat = 20.0
    dev_utterances: PositiveInt = 200
    workers: NonNegativeInt = 1


@dataclass(frozen=True, config=_STRICT)
class SpecAugmentConfig:
    """SpecAugment (Park et al. 2019): masks in time and frequency, filled with the utterance's mean.

    Attributes:
        time_masks: number per utterance.
        time_share: widest time mask as a share of the utterance.
        time_frames: widest time mask in mel frames.
        frequency_masks: number per utterance.
        frequency_bands: widest frequency mask in mel bands.
    """

    time_masks: NonNegativeInt = 2
    time_share: float = 0.1
    time_frames: PositiveInt = 40
    frequency_masks: NonNegativeInt = 2
    frequency_bands: PositiveInt = 20


@dataclass(frozen=True, config=_STRICT)
class OptimizerConfig:
    """AdamW with linear warm-up and linear decay.

    Attributes:
        lr: peak learning rate of the head.
        encoder_lr: peak learning rate of the encoder.
        final_share: learning rate at the end, as a share of the peak.
        freeze_encoder_steps: steps in which only the head learns.
        freeze: beginnings of the names of weights that never learn, such as ``encoder.conv`` or ``encoder.blocks.0.``.
        clip_norm: largest norm of the gradient.
    """

    lr: PositiveFloat = 1e-3
    encoder_lr: PositiveFloat = 1e-3
    weight_decay: float = 0.01
    warmup_steps: PositiveInt = 100
    final_share: float = 0.05
    freeze_encoder_steps: NonNegativeInt = 0
    freeze: tuple[str, ...] = ()
    clip_norm: PositiveFloat = 1.0


@dataclass(frozen=True, config=_STRICT)
class DistilConfig:
    """A teacher whose posteriors a run learns beside the transcripts (Hinton et al. 2015), frame by frame.

    Attributes:
        teacher: run folder or bundle, with the same tokens and features.
        weight: share of the teacher's loss.
        temperature: softens the posteriors of both.
        untaught: corpora (of the manifests' rows) of which the teacher knows nothing; they are learned from the
            transcripts alone.
    """

    teacher: str
    weight: float = Field(default=0.5, ge=0, le=1)
    temperature: PositiveFloat = 1.0
    untaught: tuple[str, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """A training run; with the commit and the command it is all that reproduces one.

    Attributes:
        tokens: symbols of the output, the CTC blank first. A run that starts from a model's output layer or has a
            teacher takes that model's.
        subwords: how many symbols to learn from the training's transcripts, made of the letters of `tokens`, all of
            which are among them (`asr.train.subwords`); 0 for `tokens` as they are.
        max_steps: where the schedule ends.
        max_minutes: ends the schedule by the clock where that comes first; 0 for never. A run that the clock
            ended is not reproducible to the step.
        evaluate_every: steps between evaluations on dev, each of which writes a checkpoint.
        patience: evaluations without a better dev loss before the run stops; 0 for never.
        average: number of last checkpoints whose weights are averaged at the end.
        chunk_frames: attention chunks, one drawn per batch.
        random_start: share of utterances that start at a random position (``whisper``).
        init_from: run folder or bundle whose weights the model starts from, or empty.
        init_parts: beginnings of the names of the weights taken from there, such as ``encoder.``; empty for all.
        intermediate_weight: share of the intermediate layer's CTC loss, where ``model.intermediate`` is set.
        consistency_weight: of consistency-regularised CTC (Yao et al. 2024; their weight is 0.2): two maskings of each
            utterance are to agree. A step costs twice as much. 0 for none.
        distil: a teacher, or none.
        precision: ``bfloat16`` computes matrix products in bfloat16 and keeps float32 weights.
        threads: of torch on the CPU; 0 leaves torch's default.
    """

    name: str
    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    tokens: tuple[str, ...] = CHARACTERS
    subwords: NonNegativeInt = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    spec_augment: SpecAugmentConfig = field(default_factory=SpecAugmentConfig)
    seed: int = 1
    max_steps: PositiveInt = 1000
    max_minutes: float = 0.0
    evaluate_every: PositiveInt = 100
    patience: NonNegativeInt = 0
    average: PositiveInt = 3
    chunk_frames: tuple[PositiveInt, ...] = ()
    random_start: float = 0.0
    init_from: str = ""
    init_parts: tuple[str, ...] = ()
    intermediate_weight: float = Field(default=0.3, ge=0, lt=1)
    consistency_weight: NonNegativeFloat = 0.0
    distil: DistilConfig | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: NonNegativeInt = 0
