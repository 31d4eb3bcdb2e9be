"""A bundle over manifests in several processes, for tests that somebody waits for."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from asr.bundle import load_bundle
from asr.config import config_to_json
from asr.corpus.manifest import Manifest, read_manifest
from asr.errors import DengarError
from asr.evaluate.results import Results, ScoredUtterance
from asr.evaluate.run import RunConfig, recognise
from asr.recognize import Recognizer

PIECE = 16
"""Items that a process takes at a time: few enough that all end together."""


def recognise_in_parallel(
    bundle: Path,
    paths: Sequence[Path],
    config: RunConfig,
    jobs: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Results:
    """What a bundle hears, as `recognise` gives it, by several processes with one thread each.

    Args:
        bundle: its folder.
        paths: manifests.
        config: how items are heard.
        jobs: processes; 1 stays in this one.
        progress: told how many items of how many are done.

    Returns:
        Items in the order of conditions, manifests and their lines, whoever heard them.

    Raises:
        BundleError, ManifestError: the bundle or a manifest cannot be read.
    """
    manifests = [read_manifest(path) for path in paths]
    opened = load_bundle(bundle)
    pieces = list(_pieces(manifests, config))
    total = sum(len(piece.utterances) for _, piece in pieces)
    heard: dict[int, list[ScoredUtterance]] = {}
    if jobs == 1:
        recognizer = Recognizer(opened)
        recognizer.warm()
        for number, (condition, piece) in enumerate(pieces):
            heard[number] = _hear(recognizer, piece, _alone(config, condition), condition)
            progress(sum(map(len, heard.values())), total)
    else:
        context = multiprocessing.get_context("spawn")  # threads of numeric libraries do not survive a fork
        with ProcessPoolExecutor(min(jobs, max(1, len(pieces))), context, _open, (str(bundle),)) as processes:
            waiting = {
                processes.submit(_hear_there, piece, _alone(config, condition), condition): number
                for number, (condition, piece) in enumerate(pieces)
            }
            try:
                for done in as_completed(waiting):
                    heard[waiting[done]] = done.result()
                    progress(sum(map(len, heard.values())), total)
            except BrokenProcessPool as error:
                raise DengarError(f"{bundle}: a process that listened died, perhaps for want of memory") from error
            except BaseException:
                processes.shutdown(cancel_futures=True)
                raise
    settings = {
        "bundle": str(bundle),
        "bundle_hash": opened.hash,
        "manifests": [str(path) for path in paths],
        "run": config_to_json(config),
    }
    items = tuple(item for number in sorted(heard) for item in heard[number])
    return Results(items, tuple(problem for manifest in manifests for problem in manifest.problems), settings)


def _pieces(manifests: Sequence[Manifest], config: RunConfig) -> Iterator[tuple[int, Manifest]]:
    for condition in range(len(config.snr_db)):
        for manifest in manifests:
            chosen = config.chosen(manifest)
            for start in range(0, len(chosen), PIECE):
                yield condition, replace(manifest, utterances=tuple(chosen[start : start + PIECE]))


def _alone(config: RunConfig, condition: int) -> RunConfig:
    """For a piece, whose items are chosen already, in one condition."""
    return replace(config, half=None, every=1, snr_db=(config.snr_db[condition],))


def _hear(recognizer: Recognizer, piece: Manifest, config: RunConfig, condition: int) -> list[ScoredUtterance]:
    return [replace(item, condition=condition) for item in recognise(recognizer, [piece], config)]


_recognizer: Recognizer | None = None


def _open(bundle: str) -> None:
    global _recognizer  # noqa: PLW0603  (one for each process)
    _recognizer = Recognizer.open(bundle)
    _recognizer.warm()


def _hear_there(piece: Manifest, config: RunConfig, condition: int) -> list[ScoredUtterance]:
    assert _recognizer is not None, "the process was opened with a bundle"
    return _hear(_recognizer, piece, config, condition)
