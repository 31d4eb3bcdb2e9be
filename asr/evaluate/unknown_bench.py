"""Measures the search for unknown words: fitted or judged on one half of the utterances, reported on the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from asr.config import config_to_json
from asr.corpus.manifest import Manifest, Problem
from asr.errors import BundleError, InputError
from asr.evaluate.halves import Half, take_half
from asr.evaluate.heard import hear
from asr.evaluate.run import RunConfig
from asr.evaluate.unknown import (
    BEST_ONLY,
    Sample,
    average_precision,
    calibration_error,
    curve,
    prepare,
    spans,
)
from asr.evaluate.unknown_fit import best_threshold, fit
from asr.evaluate.unknown_names import (
    Listed,
    NamesFound,
    fit_catalogue,
    fit_rescoring,
    list_names,
    names_found,
)
from asr.recognize import Recognizer
from asr.unknown import Catalogue, CatalogueConfig, Entity, RescoreConfig, UnknownConfig

THRESHOLDS = tuple(step / 20 for step in range(20))
Key = tuple[str, float | None]


@dataclass
class Settings:
    """All weights of the search."""

    unknown: UnknownConfig = field(default_factory=UnknownConfig)
    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    rescoring: RescoreConfig = field(default_factory=RescoreConfig)


class UnknownBench:
    """Utterances of some test sets in some conditions, heard and examined, in two halves.

    Args:
        recognizer: that is examined.
        manifests: test sets with transcripts.
        snr_db: conditions: None as it is, else cabin noise at that ratio.
        most: hear at most so many utterances of each half, evenly taken.
        work: keeps posteriors.
        report: told what is being done.

    Raises:
        BundleError: the recogniser has no language model.
        InputError: a half is empty.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        manifests: Sequence[Manifest],
        snr_db: Sequence[float | None],
        most: int,
        work: Path,
        report: Callable[[str], None],
    ) -> None:
        if recognizer.decoder.lm is None:
            raise BundleError(f"{recognizer.bundle.path}: has no language model, so no word is unknown to it")
        self.recognizer = recognizer
        self.left_out: list[Problem] = [problem for manifest in manifests for problem in manifest.problems]
        self.samples: dict[tuple[Half, Key], list[Sample]] = {}
        for manifest in manifests:
            for snr in snr_db:
                for half in ("tune", "report"):
                    report(f"listening to {manifest.path} ({half}, {condition_name(snr)})")
                    size = len(take_half(manifest.utterances, half))
                    config = RunConfig(snr_db=(snr,), half=half, every=max(1, math.ceil(size / most)))
                    heard, problems = hear(recognizer, [manifest], config, work)
                    samples, unaligned = prepare(heard, recognizer.decoder)
                    self.left_out += [*problems, *unaligned]
                    for sample in samples:
                        self.samples.setdefault((half, (sample.corpus, snr)), []).append(sample)

        if not all(self.half(half) for half in ("tune", "report")):
            raise InputError("unknown words: each half needs an utterance with a transcript that can be aligned")

    def half(self, half: Half) -> list[Sample]:
        """All utterances of a half."""
        return [sample for (found, _), samples in self.samples.items() if found == half for sample in samples]

    def keys(self) -> list[Key]:
        """Corpora and conditions, in their order."""
        return list(dict.fromkeys(key for _, key in self.samples))

    def fit(self, names: Catalogue | None, report: Callable[[str], None]) -> Settings:
        """Weights fitted to the tuning half.

        Args:
            names: a catalogue; without it the weights of names stay as they are.
            report: told what is being done.
        """
        frame_s = self.recognizer.geometry.frame_s
        report("fitting the weights of words and spans")
        tune = self.half("tune")
        unknown = replace(fit(tune, frame_s), threshold=0.0)
        unknown = replace(unknown, threshold=best_threshold(tune, spans(tune, unknown, frame_s)))
        settings = Settings(unknown)
        if names:
            report("fitting the weights of names")
            listed = self.listed("tune", settings, names, "emissions")
            settings.catalogue = fit_catalogue(listed, settings.catalogue)
            settings.rescoring, _ = fit_rescoring(listed, settings.rescoring)
        return settings

    def listed(self, half: Half, settings: Settings, names: Catalogue, source: Any) -> list[Listed]:
        """The spans of a half with the names proposed for them."""
        decoder = self.recognizer.decoder
        return list_names(self.half(half), decoder, settings.unknown, names, source, settings.rescoring)

    def report(self, settings: Settings, names: Catalogue | None) -> dict[str, Any]:
        """Figures of the reporting half: with the emissions, and with the best hypothesis alone.

        The baseline's weights are fitted to the tuning half in the same way, on the features that need no posteriors.
        """
        frame_s = self.recognizer.geometry.frame_s
        tune = self.half("tune")
        alone = fit(tune, frame_s, BEST_ONLY)
        alone = replace(alone, threshold=best_threshold(tune, spans(tune, alone, frame_s)))
        sets = []
        for key in [*self.keys(), None]:
            samples = self.samples.get(("report", key), []) if key else self.half("report")
            row: dict[str, Any] = {
                "corpus": key[0] if key else "all",
                "condition": condition_name(key[1]) if key else "all",
                "utterances": len(samples),
                "words": sum(len(sample.words) for sample in samples),
                "unknown_words": sum(len(sample.unknown) for sample in samples),
            }
            for name, config in (("emissions", settings.unknown), ("best", alone)):
                found = spans(samples, config, frame_s)
                row[name] = {
                    "at_threshold": asdict(curve(samples, found, [config.threshold])[0]),
                    "average_precision": average_precision(samples, found),
                    "calibration_error": calibration_error(found),
                    "curve": [asdict(point) for point in curve(samples, found, THRESHOLDS)] if key is None else [],
                }
            sets.append(row)
        result: dict[str, Any] = {"sets": sets, "baseline": config_to_json(alone)}
        if names:
            result["proposals"] = self._names(settings, replace(settings, unknown=alone), names)
        return result

    def _names(self, settings: Settings, alone: Settings, names: Catalogue) -> list[dict[str, Any]]:
        rows = []
        for key in self.keys():
            samples = self.samples.get(("report", key), [])
            if not names_found(samples, [], names, None).spoken:
                continue
            decoder = self.recognizer.decoder
            heard = list_names(samples, decoder, settings.unknown, names, "emissions", settings.rescoring)
            best = list_names(samples, decoder, alone.unknown, names, "best", alone.rescoring)
            ways: dict[str, NamesFound] = {
                "acoustics": names_found(samples, heard, names, settings.rescoring),
                "sound": names_found(samples, heard, names, None),
                "best": names_found(samples, best, names, None),
            }
            row = {"corpus": key[0], "condition": condition_name(key[1]), "spoken": ways["sound"].spoken}
            for way, found in ways.items():
                row[way] = {"spotted": found.spotted, "first_1_3_10": list(found.among)}
            rows.append(row)
        return rows


def condition_name(snr_db: float | None) -> str:
    """What a condition is called in the result."""
    return "clean" if snr_db is None else f"cabin {snr_db:g} dB"


def read_catalogue(path: Path, config: CatalogueConfig | None = None) -> Catalogue:
    """The names of a list or table (see `asr.synth.names.read_names`), all as likely."""
    from asr.synth.names import read_names

    return Catalogue((Entity(name.text) for name in read_names(path).names), config or CatalogueConfig())
