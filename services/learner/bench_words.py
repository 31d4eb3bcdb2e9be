"""Words of real recordings, held out of a bundle and learned again from their text alone.

No training of the acoustic model is needed to hold them out: they are words that its training transcripts do not hold.
Only the language model, whose vocabulary is the lexicon, is built again, without every sentence in which one stands.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asr.bundle import Bundle, exchange_lm, load_bundle
from asr.corpus.manifest import AudioReader, Manifest, Utterance, read_manifest, write_manifest
from asr.decode import Decoder, DecoderConfig
from asr.decode.lm_recipe import Recipe, build, read_source
from asr.decode.types import LogProbs
from asr.errors import BundleError, InputError
from asr.evaluate import RunConfig
from asr.evaluate.heard import hear
from asr.evaluate.held_out import HeldOutWord, Scores, changes, choose, figures, score
from asr.evaluate.names import Names
from asr.evaluate.statistics import Resampling
from asr.learn import LearnConfig, NewName, export, extend_lm, fine_tune, synthesise
from asr.learn.config import located
from asr.recognize import Recognizer
from asr.synth.queries import read_grammar

Progress = Callable[[str, int, int], None]
"""Told what is going on, and how much of how much is done."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the words are chosen from, and what a bundle was built from.

    Attributes:
        recordings: manifest of real speech that no training has heard.
        transcripts: manifests that the acoustic model was trained on.
        grammars: query grammars whose sentences were spoken to train it.
        recipe: of the language model.
        texts: folder of the recipe's files.
        names: lists of names; None for those of the repository.
    """

    recordings: Path
    transcripts: tuple[Path, ...]
    grammars: tuple[Path, ...]
    recipe: Path
    texts: Path
    names: tuple[Path, ...] | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What was heard under one condition.

    Attributes:
        name: of it.
        bundle: hash that heard.
        texts: by index of the utterance.
        about: how it came about.
    """

    name: str
    bundle: str
    texts: dict[int, str]
    about: dict[str, Any]


def choose_words(sources: Sources, lexicon: Sequence[str], count: int) -> list[HeldOutWord]:
    """The words to hold out; see `asr.evaluate.held_out.choose`."""
    recipe = Recipe.load(sources.recipe)
    taught = [row.text for path in sources.transcripts for row in read_manifest(path).utterances]
    taught += [text for path in sources.grammars for text in read_grammar(located(str(path))).spoken()]
    return choose(
        [row.text for row in read_manifest(sources.recordings).utterances],
        taught=taught,
        texts=(text for source in recipe.sources for text in read_source(source, sources.texts)),
        lexicon=frozenset(lexicon),
        names=Names.read(sources.names),
        count=count,
    )


def without_words(base: Bundle, words: Sequence[str], sources: Sources, work: Path) -> tuple[Path, dict[str, Any]]:
    """A bundle with the same acoustic model and decoder settings, whose language model never met the words.

    Returns:
        Its folder, and what came of the language model (`asr.decode.lm_recipe.Built`).
    """
    recipe = Recipe.load(sources.recipe)
    content = json.dumps([recipe.model_dump(mode="json"), sorted(words), str(sources.texts)])
    key = hashlib.sha256(content.encode() + sources.recordings.read_bytes()).hexdigest()[:12]
    lm, told = work / "lm" / f"{key}.arpa.gz", work / "lm" / f"{key}.json"
    if not (lm.is_file() and told.is_file()):
        built = build(recipe, sources.texts, lm, sources.recordings, without=words)
        told.write_text(json.dumps(built.to_json(), indent=1) + "\n", encoding="utf-8")
    about = {"parent": base.hash, "without": sorted(words)}
    path = exchange_lm(base, work / "bundles", lm, about=about)
    if left := sorted(set(words).intersection(load_bundle(path).lexicon())):
        raise BundleError(f"{path}: still knows {', '.join(left[:5])}; delete {lm} and try again")
    return path, json.loads(told.read_text(encoding="utf-8"))


class WordsBench:
    """Recordings with held-out words, decoded under several conditions.

    Args:
        base: the bundle to take the words from.
        words: to hold out.
        sources: what it was built from.
        learn: how words are learned.
        work: keeps the language model, speech, bundles and training.
        posteriors: keeps what the acoustic model hears.
        report: told what is going on.
    """

    def __init__(
        self,
        base: Bundle,
        words: Sequence[HeldOutWord],
        sources: Sources,
        learn: LearnConfig,
        work: Path,
        posteriors: Path,
        report: Progress = lambda *_: None,
    ) -> None:
        self.words, self.work, self._posteriors, self._report = words, work, posteriors, report
        self.base = base
        self.manifest = read_manifest(sources.recordings)
        self.left_out = [f"{problem.where}: {problem.reason}" for problem in self.manifest.problems]
        recordings = sources.recordings.resolve()
        stop_by = tuple(path for path in learn.replay.dev if located(path).resolve() != recordings)
        self.learn = dataclasses.replace(learn, replay=dataclasses.replace(learn.replay, dev=stop_by))
        report("language model without the words", 0, 1)
        path, self.language_model = without_words(base, [row.word for row in words], sources, work)
        report("language model without the words", 1, 1)
        self.before = load_bundle(path)
        heard = self._hear(self.before, self.manifest)
        self.utterances = [row for row, _ in heard]
        self._log_probs = [log_probs for _, log_probs in heard]
        if not self.utterances:
            raise InputError(f"{sources.recordings}: no recording can be heard and has a transcript")
        held = {row.word for row in words}
        self.holding = [place for place, row in enumerate(self.utterances) if held.intersection(row.text.split())]

    def plain(self, name: str, bundle: Bundle, about: dict[str, Any] | None = None) -> Condition:
        """A bundle with the same acoustic model by itself."""
        return self._decoded(name, bundle, 0.0, about or {})

    def at_once(self, boost: float) -> Condition:
        """The words as phrases of every stream, all of them together, each with a boost in nats."""
        return self._decoded(f"at once: phrases, {boost:g} nats", self.before, boost, {"boost": boost})

    def learned(self) -> Condition:
        """The words in the language model, from their spelling alone: nothing is spoken, nothing trained."""
        folder = self.work / f"learn-{self._key()}" / "text"
        names = extend_lm(self.before, self._names(), self.learn, folder)
        path = export(self.before, names, None, self._about(), folder, self.work / "bundles")
        return self.plain("for good: language model", load_bundle(path), {"spoken": 0, "steps": 0})

    def fine_tuned(self, every: int = 1) -> Iterator[Condition]:
        """Words spoken by synthetic voices, which gives further spellings; then the acoustic model tuned on them.

        Args:
            every: the tuned model hears all utterances with held-out words and one in so many of the others.
        """
        folder, began = self.work / f"learn-{self._key()}" / "speech", time.monotonic()
        report = self._stage
        spoken = synthesise(self._names(), self.learn, folder, report)
        names = extend_lm(self.before, self._names(), self.learn, folder, spoken, report)
        path = export(self.before, names, None, self._about(), folder, self.work / "bundles")
        about: dict[str, Any] = {
            "spoken": spoken.utterances,
            "engines": spoken.engines,
            "spellings": sum(len(name.spellings) for name in names.names),
            "steps": 0,
        }
        yield self.plain("for good: language model and spellings", load_bundle(path), about)
        tuned = fine_tune(self.before, spoken, self.learn, folder, report)
        if tuned is None:
            return
        composed, run = tuned
        path = export(self.before, names, run, self._about(), folder, self.work / "bundles")
        about |= {"steps": run.steps, "stopped": run.stopped, "replay": composed.replay, "data": composed.data}
        about |= {"minutes": round((time.monotonic() - began) / 60, 1), "every": every}
        self.left_out += [*composed.left_out, *run.left_out]
        yield self._heard_anew("for good: fine-tuned", load_bundle(path), every, about)

    def result(self, conditions: Sequence[Condition], seed: int) -> dict[str, Any]:
        """Figures of every condition, and what changed from the first of them."""
        resampling = Resampling(seed=seed)
        rows = []
        for condition in conditions:
            found = self._scores(condition)
            row = {
                "condition": condition.name,
                "bundle": condition.bundle,
                "utterances": len(condition.texts),
                **condition.about,
                **figures(found, self.words, resampling),
            }
            if condition is not conditions[0]:
                places = sorted(condition.texts)
                before = self._scores(conditions[0], places)
                row["change"] = changes(before, found, [self.utterances[place] for place in places], resampling)
            row["by_word"] = found.by_word
            rows.append(row)
        return {
            "base": self.base.hash,
            "without": self.before.hash,
            "seed": seed,
            "utterances": len(self.utterances),
            "utterances_with_words": len(self.holding),
            "words": [dataclasses.asdict(row) for row in self.words],
            "counts": {
                "words": len(self.words),
                "names": sum(row.name for row in self.words),
                "in_lexicon": sum(row.known for row in self.words),
                "spoken": sum(row.spoken for row in self.words),
            },
            "language_model": self.language_model,
            "conditions": rows,
            "left_out": self.left_out,
        }

    def _scores(self, condition: Condition, places: Sequence[int] | None = None) -> Scores:
        places = sorted(condition.texts) if places is None else places
        references = [self.utterances[place].text for place in places]
        return score(references, [condition.texts[place] for place in places], {row.word for row in self.words})

    def _decoded(self, name: str, bundle: Bundle, boost: float, about: dict[str, Any]) -> Condition:
        texts = self._texts(name, bundle, self._log_probs, boost)
        return Condition(name, bundle.hash, dict(enumerate(texts)), about)

    def _heard_anew(self, name: str, bundle: Bundle, every: int, about: dict[str, Any]) -> Condition:
        """Another acoustic model: some utterances are heard again."""
        holding = set(self.holding)
        others = [place for place in range(len(self.utterances)) if place not in holding][::every]
        places = sorted([*self.holding, *others])
        rows = [_absolute(self.utterances[place], self.manifest.root) for place in places]
        folder = self.work / "recordings"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._key()}-{every}.jsonl"
        write_manifest(path, rows)
        heard = self._hear(bundle, Manifest(path, tuple(rows)))
        index = {(row.shard, row.audio_filepath): place for place, row in zip(places, rows, strict=True)}
        texts = self._texts(name, bundle, [log_probs for _, log_probs in heard], 0.0)
        found = {index[row.shard, row.audio_filepath]: text for (row, _), text in zip(heard, texts, strict=True)}
        return Condition(name, bundle.hash, found, about)

    def _texts(self, name: str, bundle: Bundle, log_probs: Sequence[LogProbs], boost: float) -> list[str]:
        frame_s = bundle.engine().geometry.frame_s
        decoder = Decoder(bundle.tokens, bundle.decoder, frame_s, bundle.language_model())
        hints = decoder.hints([(row.word, boost) for row in self.words]) if boost else None
        texts: list[str] = []
        for done, frames in enumerate(log_probs, start=1):
            texts.append(decoder.decode(frames.astype(np.float32), 1, hints)[0].text)
            self._report(name, done, len(log_probs))
        return texts

    def _hear(self, bundle: Bundle, manifest: Manifest) -> list[tuple[Utterance, LogProbs]]:
        """The posteriors of every recording that can be read and has a transcript."""
        recognizer = Recognizer(bundle, decoder=DecoderConfig(kind="greedy"))
        tell = partial(self._report, f"listening, {bundle.name}")
        heard, problems = hear(recognizer, [manifest], RunConfig(), self._posteriors, report=tell)
        self.left_out += [f"{problem.where}: {problem.reason}" for problem in problems]
        reader, unread = AudioReader(manifest.root), {problem.where for problem in problems}
        rows = [row for row in manifest.utterances if row.text and reader.name(row) not in unread]
        return [(row, item.log_probs) for row, item in zip(rows, heard, strict=True)]

    def _names(self) -> list[NewName]:
        return [NewName(row.word) for row in self.words]

    def _key(self) -> str:
        content = json.dumps([self.before.hash, dataclasses.asdict(self.learn)], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def _about(self) -> dict[str, Any]:
        return {"parent": self.before.hash, "learned": [row.word for row in self.words], "seed": self.learn.seed}

    def _stage(self, stage: str, share: float) -> None:
        self._report(stage, round(100 * share), 100)


def _absolute(row: Utterance, root: Path) -> Utterance:
    """With paths that hold wherever the manifest lies."""
    root = root.resolve()
    if row.shard:
        return dataclasses.replace(row, shard=str(root / row.shard))
    return dataclasses.replace(row, audio_filepath=str(root / row.audio_filepath))
