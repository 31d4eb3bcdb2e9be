"""What is learned, how, and what came of it."""

from __future__ import annotations

import os
import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from asr.config import make_config
from asr.decode.hint_text import MAX_BOOST
from asr.errors import ConfigError
from asr.synth.engine import ENGINES
from asr.synth.queries import ALPHABET

_STRICT = ConfigDict(extra="forbid")
PROJECT = Path(__file__).parents[2]
DEFAULT = PROJECT / "data" / "learn.yaml"
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")

Share = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[float, float], Field(description="lowest and highest")]


@dataclass(frozen=True, config=_STRICT)
class NewName:
    """A name to learn.

    Attributes:
        text: as it is spoken, in the recogniser's alphabet (``taylor swift``).
        pronunciations: how it sounds, in IPA (``kɔˈvalski``), in ARPAbet (``K OW0 V AA1 L S K IY0``), or in one
            character a phone as `asr.unknown` writes it (``kovalski``); only Kokoro can say them.
        heard: spellings of it as the recogniser heard it (``kovalski``); they are read aloud in its place.
        weight: how often it is asked for, relative to the other names.
    """

    text: str
    pronunciations: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _spoken(self) -> NewName:
        for text in (self.text, *self.heard):
            if not ALPHABET.fullmatch(text):
                raise ValueError(f"{text!r} is not made of a-z, apostrophe and single blanks; normalise it first")
        if not all(pronunciation.strip() for pronunciation in self.pronunciations):
            raise ValueError(f"{self.text}: a pronunciation is empty")
        return self


@dataclass(frozen=True, config=_STRICT)
class CastConfig:
    """Who speaks a share of the utterances; ranges as in `asr.synth.recipe.Part`.

    Attributes:
        engine: of `asr.synth.ENGINES`.
        otherwise: the engine that takes over where that is not installed; empty for none.
        share: of the utterances, relative to the others' shares.
    """

    engine: str
    otherwise: str = ""
    share: Annotated[float, Field(gt=0)] = 1.0
    speed: Range = (1.0, 1.0)
    pitch: Range = (1.0, 1.0)
    vocal_tract: Range = (1.0, 1.0)
    blend: Share = 0.0

    @model_validator(mode="after")
    def _known(self) -> CastConfig:
        for engine in filter(None, (self.engine, self.otherwise)):
            if engine not in ENGINES:
                raise ValueError(f"there is no speech engine {engine!r}; known: {', '.join(ENGINES)}")
        return self


@dataclass(frozen=True, config=_STRICT)
class SynthesisConfig:
    """How the names are spoken.

    Attributes:
        queries: grammars (`asr.synth.queries`) whose templates are filled with the names.
        slots: which of their slots hold a name.
        utterances_per_name: to learn from.
        held_out_per_name: more of them, by voices of the dev split, which only tell when to stop.
        cast: who speaks; voices of the train split only.
        reserved: engines kept for measuring, which learning may not use; the voices of the catalogue's test split are
            kept for it as well.
        jobs: processes.
        format: of the audio files.
    """

    queries: tuple[str, ...] = ("data/queries/names.yaml",)
    slots: tuple[str, ...] = ("person", "famous")
    utterances_per_name: Annotated[int, Field(ge=1, le=1000)] = 10
    held_out_per_name: Annotated[int, Field(ge=0, le=100)] = 1
    cast: Annotated[tuple[CastConfig, ...], Field(min_length=1)] = (CastConfig("kokoro", "espeak"),)
    reserved: tuple[str, ...] = ("flite",)
    jobs: Annotated[int, Field(ge=1)] = 2
    format: str = "opus"

    @model_validator(mode="after")
    def _apart(self) -> SynthesisConfig:
        for part in self.cast:
            for engine in (part.engine, part.otherwise):
                if engine in self.reserved:
                    raise ValueError(f"cast: {engine} is reserved for measuring; choose another engine")
        return self


@dataclass(frozen=True, config=_STRICT)
class ExtensionConfig:
    """The language model of names (`asr.decode.names`).

    Attributes:
        queries: grammars that show where a name stands, and where none does.
        slots: the slots in which a name may stand.
        sentences: how many are drawn for the class n-gram.
        order: of the class n-gram.
        prior_names: how many names the base model knows, as it were: with as many learned, half of the names that are
            asked for are learned ones.
        boost: what a whole name is worth beside that, in nats.
        context_boost: what it is worth behind words that stand before names in those queries, if that is more; without
            `boost` names are no hints, nor there.
        beam_width: readings that the new bundle follows, at least: prefixes of names crowd out others in a narrow beam.
        spellings: at most so many further spellings of a name, as the served recogniser hears it; 0 for none.
    """

    queries: tuple[str, ...] = ("data/queries/names.yaml", "data/queries/voice-search.yaml")
    slots: tuple[str, ...] = ("person", "famous", "artist")
    sentences: Annotated[int, Field(ge=10, le=1_000_000)] = 6000
    order: Annotated[int, Field(ge=2, le=6)] = 3
    prior_names: Annotated[float, Field(gt=0)] = 50.0
    boost: Annotated[float, Field(ge=0, le=MAX_BOOST)] = 1.0
    context_boost: Annotated[float, Field(ge=0, le=MAX_BOOST)] = 12.0
    beam_width: Annotated[int, Field(ge=0, le=1000)] = 144
    spellings: Annotated[int, Field(ge=0, le=50)] = 24


@dataclass(frozen=True, config=_STRICT)
class ReplaySource:
    """Old data that is heard again.

    Attributes:
        manifest: path; one with ``$NAME`` in it that is not set is passed over, as is one that is not there.
        share: of the replayed time, relative to the other sources.
        kind: what it is, for the report: "corpus" (the user's), "synthetic" or "prompts".
    """

    manifest: str
    share: Annotated[float, Field(gt=0)] = 1.0
    kind: str = "corpus"


@dataclass(frozen=True, config=_STRICT)
class ReplayConfig:
    """What guards against forgetting.

    Attributes:
        share: of the time of what is learned from; the rest are the names. 0 for no replay at all.
        corpora: the user's; they are used where at least one is there.
        fallback: used where none of them is.
        dev: manifests that, with the held-out utterances of the names, tell when to stop; the first that is there.
        dev_utterances: how many of them.
    """

    share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    corpora: tuple[ReplaySource, ...] = ()
    fallback: tuple[ReplaySource, ...] = ()
    dev: tuple[str, ...] = ()
    dev_utterances: Annotated[int, Field(ge=0)] = 40


@dataclass(frozen=True, config=_STRICT)
class TuneConfig:
    """The acoustic model's fine-tuning; 0 steps leave it as it is.

    Attributes:
        steps: where the schedule ends.
        max_minutes: ends it by the clock where that comes first; 0 for never.
        batch_s: seconds of audio per step.
        lr, encoder_lr: peak learning rates of the head and of the encoder.
        freeze: beginnings of the names of weights that never learn.
        teacher_weight: share of the loss in which the served bundle teaches its own posteriors, on all but the names.
        augment: YAML of `asr.augment.AugmentConfig`; empty for none.
        noise, rooms: folders for it; one that is not there is passed over.
        wordless: share of what is heard that noise alone replaces, so that noise stays without words.
        evaluate_every: steps between looks at the held-out data.
        patience: looks without gain before it stops; 0 for never.
        average: number of last checkpoints whose weights are averaged.
        precision, threads, workers: as in `asr.train.config.TrainConfig`.
    """

    steps: Annotated[int, Field(ge=0)] = 80
    max_minutes: Annotated[float, Field(ge=0)] = 8.0
    batch_s: Annotated[float, Field(gt=0)] = 64.0
    lr: Annotated[float, Field(gt=0)] = 2e-4
    encoder_lr: Annotated[float, Field(gt=0)] = 5e-5
    warmup_steps: Annotated[int, Field(ge=1)] = 10
    freeze: tuple[str, ...] = ()
    teacher_weight: Share = 0.3
    augment: str = "data/augment/car.yaml"
    noise: str = ""
    rooms: str = ""
    wordless: Annotated[float, Field(ge=0, lt=1)] = 0.02
    evaluate_every: Annotated[int, Field(ge=1)] = 20
    patience: Annotated[int, Field(ge=0)] = 2
    average: Annotated[int, Field(ge=1)] = 2
    precision: str = "bfloat16"
    threads: Annotated[int, Field(ge=0)] = 1
    workers: Annotated[int, Field(ge=0)] = 1


@dataclass(frozen=True, config=_STRICT)
class LearnConfig:
    """How names are learned for good; with the names and the bundle it is all that reproduces the result.

    Attributes:
        seed: of every draw.
        synthesis, extension, replay, tune: by stage.
        audio: manifests of real recordings in which the names are said; rows whose ``consent`` is "audio" are used.
        second_listener: folder of a model that transcribes those of them without a transcript (see
            `asr.learn.second_listener`); empty for none.
    """

    seed: int = 1
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    extension: ExtensionConfig = field(default_factory=ExtensionConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    audio: tuple[str, ...] = ()
    second_listener: str = ""


@dataclass(frozen=True)
class Learned:
    """What came of it.

    Attributes:
        bundle: the new bundle's folder.
        names: learned now, as spoken.
        all_names: those and the ones that the bundle knew from rounds before.
        utterances: synthesised to learn from.
        audio_utterances: real recordings learned from.
        replay_utterances: of old data, as many as one pass holds.
        steps: of training.
        stopped: why training ended: "steps", "clock", "no gain" or "not trained".
        data: which old data was replayed, by manifest with its kind; and what was passed over.
        engines: synthesised utterances by engine; by_pronunciation: by source of the pronunciation.
        synthesis_s, training_s, export_s: that the stages took, by the clock, over all calls.
        left_out: what could not be used, with the reasons.
    """

    bundle: Path
    names: tuple[str, ...]
    all_names: tuple[str, ...]
    utterances: int
    audio_utterances: int
    replay_utterances: int
    steps: int
    stopped: str
    data: dict[str, str]
    engines: dict[str, int]
    pronunciations: dict[str, int]
    synthesis_s: float
    training_s: float
    export_s: float
    left_out: tuple[str, ...]


def load_learn_config(path: str | Path = DEFAULT, overrides: tuple[str, ...] = ()) -> LearnConfig:
    """Reads the configuration; a path that names an unset ``$VARIABLE`` is one that is not there, and no error.

    Raises:
        ConfigError: unreadable, an unknown key, a value of the wrong type or out of range.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    return make_config(LearnConfig, _without_unset(raw), str(path), overrides)


def located(path: str) -> Path:
    """A path of the configuration: as seen from here, or else within the project."""
    here = Path(path)
    return here if here.exists() or here.is_absolute() else PROJECT / path


def _without_unset(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_unset(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_unset(inner) for inner in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: match[0] if match[1] in os.environ else f"unset-{match[1]}", value)
    return value
