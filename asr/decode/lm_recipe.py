"""A language model from a recipe: which texts, which n-grams, and how well the result predicts what was held out.

Example::

    python -m asr.decode.lm_recipe experiments/lm-default.yaml --texts DIR --out work/lm/lm.bin --dev dev.jsonl

The texts of all sources are pooled. Interpolating one model a source by fixed weights was measured: with more weight
on queries it won a little on some of them and lost elsewhere, so the simpler way stays. A large general model that
somebody else estimated (`Background`) can be mixed in.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import re
import sys
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asr.corpus.manifest import read_manifest
from asr.decode.lm import Fit, LanguageModel
from asr.decode.lm_build import NgramModel, estimate, write_arpa, write_binary
from asr.decode.lm_mix import mix, prune, restrict
from asr.decode.lm_sphinx import read_sphinx
from asr.errors import ConfigError, DengarError, InputError

_SPELLED = re.compile(r"[a-z' ]+")


class Source(BaseModel):
    """One text: a file with a sentence a line, or the lines ``name<TAB>sentence`` of one that holds several.

    Attributes:
        name: what to call it; with `tagged`, the tag of its lines.
        file: relative to the texts' folder; ``.gz`` is unpacked.
        tagged: whether the lines begin with a tag.
        held_out: one sentence in so many is kept for measuring, chosen by its checksum; 0 for none.
        licence: goes into the notice beside the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str
    tagged: bool = False
    held_out: int = Field(0, ge=0)
    licence: str


class Background(BaseModel):
    """A general model of others, from much more text, that is mixed with the one of the recipe's sources.

    Attributes:
        name: what to call it.
        file: a binary language model of CMU Sphinx (`asr.decode.lm_sphinx`); the path may hold environment variables.
        weight: of the recipe's own model in the mixture (`asr.decode.lm_mix.mix`).
        rarest: log10 of the probability below which a word of the background is left out, unless the sources have it.
        threshold: n-grams go that make the mixture less than this much worse (`asr.decode.lm_mix.prune`).
        licence: goes into the notice beside the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str
    weight: float = Field(0.5, gt=0, lt=1)
    rarest: float = -99.0
    threshold: float = Field(0.0, ge=0)
    licence: str


class Recipe(BaseModel):
    """How to build a language model; `order` and `prune` as in `asr.decode.lm_build.estimate`.

    Attributes:
        background: a general model to mix in, or none.
        drop: a regular expression; sentences in which it is found are left out (and counted).
        bits: of the quantised binary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[Source, ...] = Field(min_length=1)
    background: Background | None = None
    order: int = 4
    prune: tuple[int, ...] = (0,)
    drop: str = ""
    bits: int = Field(8, ge=2, le=25)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Reads a YAML file; raises `ConfigError`."""
        try:
            return cls(**yaml.safe_load(Path(path).read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read as a language model recipe ({error})") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{path}: {where}: {first['msg'].lower()}") from None


@dataclass(frozen=True, slots=True)
class Built:
    """What came of a recipe; `fits` by source (its held-out sentences) and by corpus of the dev manifest."""

    ngrams: tuple[int, ...]
    bytes: int
    sentences: dict[str, int]
    left_out: dict[str, int]
    fallback_orders: tuple[int, ...]
    fits: dict[str, Fit]

    def to_json(self) -> dict[str, Any]:
        """For printing; perplexities to one decimal."""
        row = dataclasses.asdict(self)
        for fit in row["fits"].values():
            fit["perplexity"], fit["oov_rate"] = round(fit["perplexity"], 1), round(fit["oov_rate"], 4)
        return row


def build(recipe: Recipe, texts: Path, out: Path, dev: Path | None = None, *, without: Collection[str] = ()) -> Built:
    """Builds the model, writes it and a notice of its sources, and measures it.

    Args:
        recipe: what to build.
        texts: the folder of the sources' files.
        out: ``.arpa`` or ``.arpa.gz``, or any other name for a KenLM binary (which needs ``build_binary``).
        dev: a manifest whose transcripts are measured too; sentences of it in the sources are left out.
        without: words that the model shall not know: every sentence in which one stands, or its possessive, is left
            out (and counted).

    Raises:
        ConfigError, InputError: a source or the background that is not there or cannot be read, or no text.
    """
    measured: dict[str, list[str]] = {}
    if dev:
        for utterance in read_manifest(dev).utterances:
            measured.setdefault(utterance.corpus or dev.stem, []).append(utterance.text)
    training, sentences, left_out = _read(recipe, texts, measured, frozenset(without))
    model = estimate(training, order=recipe.order, prune=recipe.prune)
    fallbacks = model.fallbacks
    if recipe.background:
        model, left_out["background words"] = _with_background(model, recipe.background, frozenset(without))
    if out.name.endswith((".arpa", ".arpa.gz")):
        write_arpa(model, out)
    else:
        write_binary(model, out, bits=recipe.bits)
    lines = [f"{source.name}: {source.licence}" for source in recipe.sources]
    if recipe.background:
        lines.append(f"{recipe.background.name}, a model mixed in: {recipe.background.licence}")
    out.with_name("NOTICE").write_text("The language model was estimated from:\n\n" + "\n".join(lines) + "\n")
    lm = LanguageModel.load(out)
    fits = {name: lm.fit(held) for name, held in measured.items()}
    counts = tuple(len(grams.word) for grams in model.orders)
    return Built(counts, out.stat().st_size, sentences, left_out, fallbacks, fits)


def _read(
    recipe: Recipe, texts: Path, measured: dict[str, list[str]], without: frozenset[str]
) -> tuple[list[str], dict[str, int], dict[str, int]]:
    """The sentences to learn from, how many each source gave, and how many were left out, by reason.

    What a source holds out for measuring is added to `measured`; what is measured already is left out.
    """
    forbidden = {sentence for sentences in measured.values() for sentence in sentences}
    drop = re.compile(recipe.drop) if recipe.drop else None
    training: list[str] = []
    counts: dict[str, int] = {}
    left_out = {"dev sentence": 0, "dropped by pattern": 0, "not in a-z ' and space": 0}
    left_out |= {"holds a held-out word": 0} if without else {}
    for source in recipe.sources:
        before = len(training)
        for sentence in read_source(source, texts):
            if not _SPELLED.fullmatch(sentence):
                left_out["not in a-z ' and space"] += 1
            elif drop and drop.search(sentence):
                left_out["dropped by pattern"] += 1
            elif without and not without.isdisjoint(bare_words(sentence)):
                left_out["holds a held-out word"] += 1
            elif source.held_out and zlib.crc32(sentence.encode()) % source.held_out == 0:
                measured.setdefault(source.name, []).append(sentence)
            elif sentence in forbidden and " " in sentence:  # "yes" is everyone's
                left_out["dev sentence"] += 1
            else:
                training.append(sentence)
        counts[source.name] = len(training) - before
    return training, counts, left_out


def _with_background(own: NgramModel, background: Background, without: Collection[str]) -> tuple[NgramModel, int]:
    """The mixture, pruned, and how many words of the background were left out: rare ones, such as cannot be spelled."""
    file = os.path.expandvars(background.file)
    if "$" in file:
        raise ConfigError(f"background: {background.file} needs an environment variable that is not set, to its model")
    general = read_sphinx(file)
    known = set(own.words)
    probabilities = general.orders[0].log10_prob.tolist()
    keep = [
        bool(_SPELLED.fullmatch(word))
        and (word in known or (probability >= background.rarest and word.removesuffix("'s") not in without))
        for word, probability in zip(general.words, probabilities, strict=True)
    ]
    mixed = mix(own, restrict(general, np.array(keep)), background.weight)
    return prune(mixed, background.threshold), len(keep) - sum(keep)


def bare_words(sentence: str) -> set[str]:
    """The words of a sentence, possessives as the words that they are made of."""
    return {word.removesuffix("'s") for word in sentence.split()}


def read_source(source: Source, texts: Path) -> Iterator[str]:
    """The sentences of a source, blanks made single.

    Raises:
        InputError: the file cannot be read.
    """
    path = texts / source.file
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for line in file:
                tag, _, sentence = line.rpartition("\t")
                if sentence.strip() and (not source.tagged or tag == source.name):
                    yield " ".join(sentence.split())
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error


def main(arguments: list[str] | None = None) -> int:
    """Builds one model and prints a JSON object of what came of it."""
    summary = __doc__.split("\n", maxsplit=1)[0]
    parser = argparse.ArgumentParser(prog="python -m asr.decode.lm_recipe", description=summary)
    parser.add_argument("recipe", type=Path, help="YAML")
    parser.add_argument("--texts", type=Path, required=True, help="folder of the sources' files")
    parser.add_argument("--out", type=Path, required=True, help="the model: NAME.arpa.gz, or NAME.bin for a binary")
    parser.add_argument("--dev", type=Path, help="manifest to measure on and to keep out of the text")
    options = parser.parse_args(arguments)
    try:
        built = build(Recipe.load(options.recipe), options.texts, options.out, options.dev)
    except DengarError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(built.to_json(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
