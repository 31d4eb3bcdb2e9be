"""What the acoustic model makes of a test set, computed once and kept on disk, for searches that try many decoders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr.bundle import ENGINE
from asr.config import config_to_json
from asr.corpus.manifest import AudioReader, Manifest, Problem
from asr.errors import DengarError
from asr.evaluate.run import RunConfig
from asr.recognize import Recognizer


@dataclass(frozen=True)
class Heard:
    """One utterance after the acoustic model.

    Attributes:
        text: the reference.
        corpus: it belongs to.
        log_probs: natural-log posteriors, shape (T, V); half precision is enough, to 0.01 at the usual -10.
    """

    text: str
    corpus: str
    log_probs: npt.NDArray[np.floating]


def hear(
    recognizer: Recognizer,
    manifests: Sequence[Manifest],
    config: RunConfig,
    folder: Path | None = None,
    *,
    report: Callable[[int, int], None] = lambda _, __: None,
) -> tuple[list[Heard], list[Problem]]:
    """Runs the acoustic model over the chosen items, each under one of the conditions, in turn.

    Args:
        recognizer: whose acoustic model listens.
        manifests: items without a transcript are left out.
        config: which items, and the conditions (`snr_db`); packets play no part.
        folder: keeps the posteriors, and is asked first; they stay valid whatever the decoder's settings.
        report: told how many items of how many are done.

    Returns:
        What was heard, and the items that could not be read, with the reasons.
    """
    cache = folder / f"posteriors-{_key(recognizer, manifests, config)}.npz" if folder else None
    if cache and cache.is_file():
        return _load(cache)
    augmenters = config.augmenters()
    chosen = [(manifest, item) for manifest in manifests for item in config.chosen(manifest) if item.text]
    readers = {manifest.root: AudioReader(manifest.root) for manifest in manifests}
    heard: list[Heard] = []
    problems: list[Problem] = []
    for index, (manifest, item) in enumerate(chosen):
        reader, augmenter = readers[manifest.root], augmenters[index % len(augmenters)]
        try:
            samples = reader.read(item)
            if augmenter is not None:
                samples, _ = augmenter.apply(samples, item.id or item.audio_filepath)
            log_probs = recognizer.posteriors(samples).astype(np.float16)
            heard.append(Heard(item.text, item.corpus or manifest.path.stem, log_probs))
        except DengarError as error:
            problems.append(Problem(reader.name(item), str(error)))
        report(index + 1, len(chosen))
    if cache:
        _save(cache, heard, problems)
    return heard, problems


def _key(recognizer: Recognizer, manifests: Sequence[Manifest], config: RunConfig) -> str:
    digest = hashlib.sha256(json.dumps(config_to_json(config), sort_keys=True).encode())
    for path in [recognizer.bundle.path / ENGINE, *(manifest.path for manifest in manifests)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _save(path: Path, heard: Sequence[Heard], problems: Sequence[Problem]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    about = {
        "texts": [item.text for item in heard],
        "corpora": [item.corpus for item in heard],
        "problems": [[problem.where, problem.reason] for problem in problems],
    }
    frames = np.array([len(item.log_probs) for item in heard], np.int64)
    log_probs = np.concatenate([item.log_probs for item in heard]) if heard else np.zeros((0, 0), np.float16)
    with partial.open("wb") as file:
        np.savez(file, log_probs=log_probs, frames=frames, about=np.array(json.dumps(about)))
    partial.replace(path)


def _load(path: Path) -> tuple[list[Heard], list[Problem]]:
    with np.load(path) as saved:
        about = json.loads(str(saved["about"]))
        parts = np.split(saved["log_probs"], np.cumsum(saved["frames"])[:-1])
    heard = [Heard(*row) for row in zip(about["texts"], about["corpora"], parts, strict=False)]
    return heard, [Problem(*row) for row in about["problems"]]
