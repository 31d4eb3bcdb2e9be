"""A corpus in, manifests out: read by a recipe, checked, split, written; nothing is left out without a reason."""

from __future__ import annotations

import functools
import itertools
import json
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from asr.config import load_config
from asr.corpus.checks import CheckConfig, Dropped, Kept, check, renamed, without_duplicates
from asr.corpus.items import RawItem, RecipeOptions, RefReader
from asr.corpus.manifest import Problem, Utterance, write_manifest
from asr.corpus.pack import PackConfig, encoded, pack, refer
from asr.corpus.recipes import RECIPES
from asr.corpus.splits import SPLITS, Shares, assign, canonical, separate
from asr.errors import ConfigError, InputError

CORPORA = Path(__file__).parents[2] / "data" / "corpora"
_CHUNK = 32
_GENDERS = {"male": "m", "male_masculine": "m", "female": "f", "female_feminine": "f", "m": "m", "f": "f"}

In = TypeVar("In")
Out = TypeVar("Out")


class IngestConfig(BaseModel):
    """How a corpus is ingested; read from YAML such as ``data/corpora/fsdd.yaml``.

    Attributes:
        recipe: how it is laid out, a name in `asr.corpus.recipes.RECIPES`.
        corpus: what to call it; empty: as the recipe says.
        licence: under which terms it may be used, for people.
        url: where it comes from, for people.
        options: what the recipe is told.
        checks: the bounds of what is kept.
        split: percentages of train, dev and test, used where the corpus has no splits of its own.
        shared_sentences: whether splits may share sentences; None: as the recipe says.
        seed: of the split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    corpus: str = ""
    licence: str = ""
    url: str = ""
    options: RecipeOptions = RecipeOptions()
    checks: CheckConfig = CheckConfig()
    split: str = "80/10/10"
    shared_sentences: bool | None = None
    seed: int = 0

    @field_validator("recipe")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in RECIPES:
            raise ValueError(f"{name!r} is unknown; known: {', '.join(RECIPES)}")
        return name

    @classmethod
    def find(cls, name: str) -> IngestConfig:
        """The configuration for a recipe's name, a corpus in ``data/corpora`` or a YAML file.

        Raises:
            ConfigError: there is none of that name, or the file has an unknown key or a value out of range.
        """
        if name in RECIPES:
            return cls(recipe=name)
        path = Path(name) if name.endswith((".yaml", ".yml")) else CORPORA / f"{name}.yaml"
        if not path.is_file():
            corpora = sorted(file.stem for file in CORPORA.glob("*.yaml"))
            raise ConfigError(
                f"{name!r} is neither a recipe ({', '.join(RECIPES)}) nor a corpus ({', '.join(corpora)}) nor a YAML "
                "file"
            )
        return load_config(cls, path)


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What one manifest holds."""

    manifest: str
    utterances: int
    duration_s: float
    speakers: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What an ingestion did.

    Attributes:
        splits: by name; paths are relative to the output folder.
        dropped: number of utterances left out, by reason.
        read: number of items that the recipe gave.
        dropped_list: the file that names each of them, relative to the output folder.
    """

    recipe: str
    corpus: str
    licence: str
    seed: int
    read: int
    splits: dict[str, SplitSummary] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    dropped_list: str = "dropped.jsonl"


def ingest(
    source: Path,
    out: Path,
    config: IngestConfig,
    *,
    jobs: int = 1,
    packing: PackConfig | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Reads the corpus at `source` and writes ``out/SPLIT.jsonl``, ``dropped.jsonl`` and ``ingest.json``.

    Each file appears under its name only when it is whole, ``ingest.json`` last.

    Args:
        source: the corpus's folder or file.
        out: the folder for manifests (and shards).
        config: see `IngestConfig`.
        jobs: processes that decode and measure.
        packing: writes the audio into shards; None refers to it where it lies.
        progress: called with the number of items checked so far.

    Raises:
        InputError: the corpus is not laid out as the recipe expects, or nothing in it is usable.
    """
    recipe = RECIPES[config.recipe]
    shares = Shares.parse(config.split)
    shared = recipe.shared_sentences if config.shared_sentences is None else config.shared_sentences
    items = _named(recipe.read(source, config.options), config.corpus)
    kept: list[Kept] = []
    dropped: list[Dropped] = []
    checked = ordered_map(functools.partial(_check_all, config.checks), items, jobs)
    for number, result in enumerate(without_duplicates(checked), start=1):
        (kept if isinstance(result, Kept) else dropped).append(result)  # type: ignore[arg-type]
        progress(number)
    read = len(kept) + len(dropped)
    if kept and not any(item.utterance.split for item in kept):
        kept = assign(kept, shares, config.seed)
    kept = [renamed(item, split=item.utterance.split or "train") for item in kept]
    kept, overlapping = separate(kept, shared_sentences=shared)
    dropped += overlapping
    out.mkdir(parents=True, exist_ok=True)
    _write_json_lines(out / "dropped.jsonl", (asdict(item) for item in dropped))
    if not kept:
        first = f"; the first: {dropped[0].where}: {dropped[0].reason}: {dropped[0].detail}" if dropped else ""
        raise InputError(f"{source}: no usable utterance among {read}{first}; see {out / 'dropped.jsonl'}")
    _remove_earlier(out)
    summary = Summary(
        recipe=config.recipe,
        corpus=config.corpus,
        licence=config.licence,
        seed=config.seed,
        read=read,
        splits=_write_splits(kept, out, packing, jobs),
        dropped=dict(Counter(str(item.reason) for item in dropped).most_common()),
    )
    _write_whole(out / "ingest.json", json.dumps({**asdict(summary), "config": config.model_dump()}, indent=2) + "\n")
    return summary


def ordered_map(function: Callable[[list[In]], list[Out]], items: Iterable[In], jobs: int) -> Iterator[Out]:
    """Applies `function` to the items in chunks, in `jobs` processes, and yields the results in the items' order.

    Items are drawn as they are needed: at most four chunks a process wait.
    """
    source = iter(items)
    chunks = iter(lambda: list(itertools.islice(source, _CHUNK)), [])
    if jobs <= 1:
        for chunk in chunks:
            yield from function(chunk)
        return
    context = multiprocessing.get_context("spawn")  # fork is unsafe beside threads
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting: deque[Future[list[Out]]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(function, chunk))
            if len(waiting) >= 4 * jobs:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


@functools.cache
def _reader() -> RefReader:
    """One reader a process: it remembers the tables of contents of tars."""
    return RefReader()


def _check_all(config: CheckConfig, items: list[RawItem | Problem]) -> list[Kept | Dropped]:
    return [check(item, config, _reader()) for item in items]


def _encode_all(config: PackConfig, items: list[Kept]) -> list[tuple[bytes, str]]:
    return [encoded(item, config, _reader()) for item in items]


def _named(items: Iterable[RawItem | Problem], corpus: str) -> Iterator[RawItem | Problem]:
    """Canonical names of splits and genders, and the corpus's name as configured."""
    for item in items:
        if isinstance(item, RawItem):
            gender = _GENDERS.get(item.gender.lower(), item.gender)
            yield replace(item, split=canonical(item.split), gender=gender, corpus=corpus or item.corpus)
        else:
            yield item


def _write_splits(kept: list[Kept], out: Path, packing: PackConfig | None, jobs: int) -> dict[str, SplitSummary]:
    names = sorted({item.utterance.split for item in kept}, key=lambda name: (*_place(name), name))
    summaries: dict[str, SplitSummary] = {}
    for name in names:
        chosen = [item for item in kept if item.utterance.split == name]
        rows: Iterable[Utterance]
        if packing is None:
            rows = (refer(item, out, _reader()) for item in chosen)
        else:
            data = ordered_map(functools.partial(_encode_all, packing), chosen, jobs)
            rows = pack(name, zip(chosen, data, strict=True), out, packing)
        path = out / f"{name}.jsonl"
        write_manifest(path, rows)
        speakers = {(item.utterance.corpus, item.utterance.speaker) for item in chosen if item.utterance.speaker}
        duration_s = sum(item.utterance.duration for item in chosen)
        summaries[name] = SplitSummary(path.name, len(chosen), round(duration_s, 2), len(speakers))
    return summaries


def _place(name: str) -> tuple[int]:
    return (SPLITS.index(name) if name in SPLITS else len(SPLITS),)


def _remove_earlier(out: Path) -> None:
    """Takes away what an earlier ingestion into the same folder wrote, lest its splits stand beside the new ones."""
    record = out / "ingest.json"
    try:
        splits = json.loads(record.read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError):
        return
    record.unlink()
    for name in splits:
        for path in (out / f"{name}.jsonl", *out.glob(f"{name}-[0-9][0-9].tar")):
            path.unlink(missing_ok=True)


def _write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    _write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
