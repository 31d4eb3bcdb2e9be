"""Checks what a bundle serves against its own float weights, and each stream against loud neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as validated

from asr.bundle import Bundle
from asr.corpus.manifest import AudioReader, Manifest, Problem, Utterance
from asr.decode import Decoder
from asr.decode.types import LogProbs
from asr.engine import Engine, MelWindows
from asr.errors import DengarError, InputError
from asr.evaluate import Resampling, Results, ScoredUtterance, compare
from asr.features import FeatureConfig, Mel, log_mel


@validated(frozen=True, config={"extra": "forbid"})
class CheckConfig:
    """What is heard, and where the line is drawn.

    Attributes:
        every: one item of so many, from the first.
        max_relative_wer: by how much the served WER may exceed the float one, as a share of it.
        beside: how many items are heard again in a batch; spread over all.
        neighbours: streams beside each of them: other items, amplified.
        louder_db: by how much.
        max_neighbour_difference: of a posterior, alone and beside them.
    """

    every: Annotated[int, Field(ge=1)] = 1
    max_relative_wer: Annotated[float, Field(ge=0)] = 0.01
    beside: Annotated[int, Field(ge=1)] = 20
    neighbours: Annotated[int, Field(ge=1)] = 7
    louder_db: float = 30.0
    max_neighbour_difference: Annotated[float, Field(ge=0)] = 0.01


@dataclass(frozen=True, slots=True)
class BundleCheck:
    """What was found; posteriors are probabilities, rates fractions.

    Attributes:
        bundle: its hash.
        arithmetic: how the served engine keeps weights and activations.
        utterances, words, audio_s: heard.
        wer_float, wer_served: word error rates of the float weights and of what is served, same decoder.
        relative_difference: the second over the first, less 1; None if the first makes no error and the second does.
        interval: of the absolute difference, by bootstrap; None where there is too little to resample.
        changed: utterances with other words.
        mean_difference, max_difference: of the posteriors of all frames and symbols.
        beside: utterances heard again among neighbours.
        beside_changed: of them, with other words.
        beside_difference: largest difference of a posterior, alone and among neighbours.
        faults: which limits are passed, in words; empty if all is well.
        left_out: items that could not be heard or have no transcript, with reasons.
    """

    bundle: str
    arithmetic: dict[str, str]
    utterances: int
    words: int
    audio_s: float
    wer_float: float
    wer_served: float
    relative_difference: float | None
    interval: tuple[float, float] | None
    changed: int
    mean_difference: float
    max_difference: float
    beside: int
    beside_changed: int
    beside_difference: float
    faults: tuple[str, ...]
    left_out: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Heard:
    utterance: Utterance
    mel: Mel
    louder: Mel
    served: LogProbs
    text: str


def check(
    bundle: Bundle,
    reference: Engine,
    manifests: Sequence[Manifest],
    config: CheckConfig | None = None,
    *,
    report: Callable[[], None] = lambda: None,
) -> BundleCheck:
    """Hears every item with both engines, and some of them once more among loud neighbours.

    Args:
        bundle: whose engine is checked; its decoder settings and language model are used for both.
        reference: the float engine, such as `asr.model.torch_engine.TorchEngine` with the bundle's weights.
        manifests: what to hear.
        config: how much, and the limits.
        report: called after each item.

    Raises:
        InputError: nothing can be heard.
    """
    config = config or CheckConfig()
    engine = bundle.engine()
    decoder = Decoder(bundle.tokens, bundle.decoder, engine.geometry.frame_s, bundle.language_model())
    features = bundle.model.features
    sides: tuple[list[ScoredUtterance], list[ScoredUtterance]] = ([], [])
    heard: list[_Heard] = []
    failed: list[Problem] = []
    audio_s, total, largest, cells = 0.0, 0.0, 0.0, 0
    for manifest in manifests:
        reader = AudioReader(manifest.root)
        for utterance in manifest.utterances[:: config.every]:
            try:
                samples = reader.read(utterance)
            except DengarError as error:
                failed.append(Problem(utterance.id or utterance.audio_filepath, str(error)))
                continue
            mel = log_mel(samples, features)
            found = [posteriors_together(each, [mel], features)[0] for each in (reference, engine)]
            difference = np.abs(np.exp(found[0]) - np.exp(found[1]))
            total, cells = total + float(difference.sum(dtype=np.float64)), cells + difference.size
            largest = max(largest, float(difference.max(initial=0.0)))
            audio_s += len(samples) / 16_000
            texts = [decoder.decode(log_probs)[0].text for log_probs in found]
            for side, text in zip(sides, texts, strict=True):
                side.append(ScoredUtterance(utterance, text))
            louder = log_mel(samples * np.float32(10 ** (config.louder_db / 20)), features)
            heard.append(_Heard(utterance, mel, louder, found[1], texts[1]))
            report()
    problems = tuple(problem for manifest in manifests for problem in manifest.problems)
    if not any(item.utterance.text for item in heard):
        raise InputError("nothing to check with: no item of the manifests has a transcript and audio that can be read")
    compared = compare(*(Results(tuple(side), problems) for side in sides), resampling=Resampling(seed=0))
    whole = compared.overall
    spread = heard[:: max(1, len(heard) // config.beside)][: config.beside]
    apart, changed = _beside(engine, decoder, features, spread, heard, config.neighbours)
    relative = _relative(whole.wer_a, whole.wer_b)
    return BundleCheck(
        bundle=bundle.hash,
        arithmetic=engine.arithmetic,
        utterances=whole.utterances,
        words=whole.words,
        audio_s=round(audio_s, 2),
        wer_float=whole.wer_a,
        wer_served=whole.wer_b,
        relative_difference=relative,
        interval=None if whole.test.low is None or whole.test.high is None else (whole.test.low, whole.test.high),
        changed=sum(a.hypothesis != b.hypothesis for a, b in zip(*sides, strict=True)),
        mean_difference=total / max(1, cells),
        max_difference=largest,
        beside=len(spread),
        beside_changed=changed,
        beside_difference=apart,
        faults=tuple(_faults(relative, changed, apart, config)),
        left_out=(*failed, *compared.left_out),
    )


def posteriors_together(engine: Engine, mels: Sequence[Mel], features: FeatureConfig) -> list[LogProbs]:
    """Natural-log posteriors of whole recordings that are stepped as one batch, each (U, V).

    Args:
        engine: runs them.
        mels: log-mel frames of each recording, (T, n_mels); streams that end early hear silence until the last ends.
        features: of the model.
    """
    cuts = []
    for mel in mels:
        cutter = MelWindows(engine.geometry, features.silence, features.n_mels)
        windows = [*cutter.accept(mel), *cutter.finish()]
        frames = len(windows) * engine.geometry.chunk_frames
        cuts.append((windows, cutter.real_frames(0, frames, finished=True)))
    silence = np.full((engine.geometry.window, features.n_mels), features.silence, np.float32)
    state = engine.initial_state(len(mels))
    outputs: list[LogProbs] = []
    for step in range(max(len(windows) for windows, _ in cuts)):
        batch = np.stack([windows[step] if step < len(windows) else silence for windows, _ in cuts])
        log_probs, state = engine.step(batch, state)
        outputs.append(log_probs)
    joined = np.concatenate(outputs, axis=1)
    return [joined[i, real] for i, (_, real) in enumerate(cuts)]


def _beside(
    engine: Engine,
    decoder: Decoder,
    features: FeatureConfig,
    chosen: Sequence[_Heard],
    heard: Sequence[_Heard],
    neighbours: int,
) -> tuple[float, int]:
    """Largest difference of a posterior among loud neighbours, and how many items then have other words."""
    apart, changed = 0.0, 0
    for index, item in enumerate(chosen):
        others = [heard[(index + 1 + k) % len(heard)].louder for k in range(neighbours)]
        together = posteriors_together(engine, [item.mel, *others], features)[0]
        apart = max(apart, float(np.abs(np.exp(together) - np.exp(item.served)).max(initial=0.0)))
        changed += decoder.decode(together)[0].text != item.text
    return apart, changed


def _relative(before: float, after: float) -> float | None:
    if before > 0:
        return after / before - 1
    return 0.0 if after == 0 else None


def _faults(relative: float | None, changed: int, apart: float, config: CheckConfig) -> list[str]:
    faults = []
    if relative is None or relative > config.max_relative_wer:
        more = "errors where the float weights make none" if relative is None else f"{relative:.2%} more word errors"
        faults.append(f"what is served makes {more}; at most {config.max_relative_wer:.2%} are allowed")
    if changed or apart > config.max_neighbour_difference:
        faults.append(
            f"loud neighbours change a stream: {changed} utterances have other words, posteriors differ by up to "
            f"{apart:.2g}, at most {config.max_neighbour_difference:.2g} is allowed; build the bundle again"
        )
    return faults
