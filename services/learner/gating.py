"""The gate at work: hears the gate's sets with both bundles and judges (`asr.evaluate.gate` has the rules).

What a bundle heard in a set is kept under `work`, so that the served bundle hears each set once and a run that was
stopped goes on where it stood.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from asr.config import config_to_json, load_config
from asr.errors import ConfigError
from asr.evaluate import Results, RunConfig
from asr.evaluate.gate import Check, GateConfig, Pair, Sizes, Verdict, judge, recalls
from asr.evaluate.parallel import recognise_in_parallel
from asr.learn.config import located
from asr.learn.probe import probe_lines
from asr.learn.synthesis import speak_all, write_lines

DEFAULT = Path("data/gate.yaml")
REPORT = "gate.html"
VERDICT = "verdict.json"

Progress = Callable[[str, int, int], None]
"""Told what is going on, and how much of how much is done."""


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class GateSet:
    """Speech that a new bundle must hear as well as the served one.

    Attributes:
        name: for people.
        manifest: path; one that names a variable that is not set, or is not there, is passed over.
        kind: what it is, for the report: "corpus" (the user's), "synthetic" or "prompts".
        every: one item of so many.
        snr_db: noise of a cabin at this signal-to-noise ratio; None for none.
    """

    name: str
    manifest: str
    kind: str = "corpus"
    every: Annotated[int, Field(ge=1)] = 1
    snr_db: float | None = None


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class GateNames:
    """Utterances with names, by voices that learning never uses.

    Attributes:
        natural, robotic: utterances of each name by Kokoro's and Flite's test voices.
        snr_db: of the cabin in which they are heard again.
        min_recall: share of a name's utterances in quiet that must be right for it to count as learned. One that does
            not stays a phrase, and is not judged with the others.
        old: of names learned before, at most so many are heard, drawn by seed.
        seed: of the sentences and voices.
    """

    natural: Annotated[int, Field(ge=0, le=100)] = 4
    robotic: Annotated[int, Field(ge=0, le=100)] = 1
    snr_db: float = 10.0
    min_recall: Annotated[float, Field(ge=0, le=1)] = 0.5
    old: Annotated[int, Field(ge=1)] = 50
    seed: Annotated[int, Field(ge=0)] = 1


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class GatingConfig:
    """All of ``data/gate.yaml``.

    Attributes:
        thresholds: of the verdict.
        corpora: the user's sets; used where at least one of them is there.
        fallback: used where none of them is.
        names: how names are tested.
        jobs: processes.
    """

    thresholds: GateConfig = GateConfig()
    corpora: tuple[GateSet, ...] = ()
    fallback: tuple[GateSet, ...] = ()
    names: GateNames = GateNames()
    jobs: Annotated[int, Field(ge=1)] = 2

    def sets(self) -> list[GateSet]:
        """The sets that are there."""
        for sets in (self.corpora, self.fallback):
            found = [each for each in sets if located(each.manifest).is_file()]
            if found:
                return found
        return []


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate said.

    Attributes:
        verdict: and its reasons.
        sets: what was heard, by name, with its kind.
        folder: holds ``verdict.json`` and ``gate.html``.
    """

    verdict: Verdict
    sets: dict[str, str]
    folder: Path


def load_gating_config(path: str | Path | None = None, overrides: tuple[str, ...] = ()) -> GatingConfig:
    """Reads the file, or the shipped one; raises `ConfigError`."""
    return load_config(GatingConfig, path or located(str(DEFAULT)), overrides, keep_unset=True)


def run_gate(
    before: Path,
    after: Path,
    names: Sequence[str],
    old_names: Sequence[str],
    config: GatingConfig,
    work: Path,
    folder: Path,
    progress: Progress = lambda *_: None,
) -> Gated:
    """Holds one bundle against another and writes the verdict and a page about it.

    Args:
        before: folder of the served bundle.
        after: of the one in question.
        names: that it was to learn, as spoken.
        old_names: learned before.
        config: sets and thresholds.
        work: keeps speech and what was heard, between gates.
        folder: of this gate's verdict.
        progress: told what is going on.

    Raises:
        ConfigError, BundleError, ManifestError: a set or a bundle cannot be read.
    """
    kept = [name for name in old_names if name not in names][: config.names.old]
    spoken = _speak([*names, *kept], config, work, progress)
    car = RunConfig(snr_db=(config.names.snr_db,))

    def pair(title: str, run: RunConfig) -> Pair:
        heard = [_heard(bundle, spoken, run, config, work, title, progress) for bundle in (before, after)]
        return Pair(title, heard[0], heard[1])

    general = hear_general(before, after, config, work, progress)
    names_quiet, names_car = pair("names in quiet", RunConfig()), pair("names in the car", car)
    rows = recalls(names, _only(names_quiet, names), _only(names_car, names))
    learned = [row.name for row in rows if row.after >= config.names.min_recall * row.utterances]
    judged = learned or list(names)
    verdict = judge(
        config.thresholds,
        general=general,
        new_names=judged,
        names_quiet=_only(names_quiet, judged),
        names_car=_only(names_car, judged),
        old_names=kept,
        old_quiet=_only(names_quiet, kept) if kept else None,
        sizes=Sizes(_bytes(before), _bytes(after)),
    )
    missed = [name for name in names if name not in judged]
    verdict = replace(verdict, names=tuple(rows), checks=(*verdict.checks, *_missed(missed, config.names.min_recall)))
    gated = Gated(verdict, {each.name: each.kind for each in config.sets()}, folder)
    _write(gated, general, before, after)
    return gated


def _missed(names: Sequence[str], least: float) -> list[Check]:
    """That some names were not learned, which is no fault of the others."""
    if not names:
        return []
    reason = f"names that were not learned: {', '.join(names)}, recognised in less than {least:.0%}; they stay phrases"
    return [Check("names that were not learned", "left out", None, least, reason)]


def hear_general(
    before: Path, after: Path, config: GatingConfig, work: Path, progress: Progress = lambda *_: None
) -> list[Pair]:
    """What two bundles hear in the sets of general speech; what was heard before is kept in `work`."""
    pairs = []
    for each in config.sets():
        run = RunConfig(every=each.every, snr_db=(each.snr_db,))
        manifest = located(each.manifest)
        heard = [_heard(bundle, manifest, run, config, work, each.name, progress) for bundle in (before, after)]
        pairs.append(Pair(each.name, heard[0], heard[1]))
    return pairs


def _speak(names: Sequence[str], config: GatingConfig, work: Path, progress: Progress) -> Path:
    """The manifest of utterances with the names; what is spoken already is kept."""
    wanted = config.names
    lines = probe_lines(names, kokoro=wanted.natural, flite=wanted.robotic, seed=wanted.seed)
    folder = work / "names"
    utterances = speak_all(
        lines, folder, jobs=config.jobs, progress=lambda done, total: progress("speaking names", done, total)
    )
    digest = hashlib.sha256(json.dumps([line.digest for line in lines]).encode()).hexdigest()[:12]
    (written,) = write_lines(lines, utterances, folder).values()
    target = folder / f"{digest}.jsonl"
    written.replace(target)
    return target


def _heard(
    bundle: Path, manifest: Path, run: RunConfig, config: GatingConfig, work: Path, title: str, progress: Progress
) -> Results:
    """What a bundle hears in a set, from an earlier time if nothing of either has changed."""
    key = hashlib.sha256(manifest.read_bytes())
    key.update(json.dumps(config_to_json(run), sort_keys=True).encode())
    kept = work / "heard" / f"{bundle.name}-{key.hexdigest()[:12]}"
    if (kept / "settings.json").is_file():  # written last
        return Results.read(kept)
    results = recognise_in_parallel(
        bundle, [manifest], run, config.jobs, lambda done, total: progress(f"{title}, {bundle.name}", done, total)
    )
    results.write(kept)
    return results


def _only(pair: Pair, names: Collection[str]) -> Pair:
    """The items that are about some of the names."""
    from asr.evaluate.gate import name_in

    def chosen(results: Results) -> Results:
        return Results(tuple(item for item in results.items if name_in(item, names) is not None), (), results.settings)

    return Pair(pair.name, chosen(pair.before), chosen(pair.after))


def _bytes(bundle: Path) -> int:
    return sum(path.stat().st_size for path in bundle.iterdir() if path.is_file())


def _write(gated: Gated, general: Sequence[Pair], before: Path, after: Path) -> None:
    from asr.evaluate import compare
    from asr.evaluate.report import comparison_html

    gated.folder.mkdir(parents=True, exist_ok=True)
    said = {
        "before": before.name,
        "after": after.name,
        "sets": gated.sets,
        "reasons": gated.verdict.reasons,
        **gated.verdict.to_json(),
    }
    for number, pair in enumerate(general):
        html = comparison_html(compare(pair.before, pair.after))
        (gated.folder / f"set-{number}.html").write_text(html, encoding="utf-8")
    (gated.folder / REPORT).write_text(_page(gated, general, before.name, after.name), encoding="utf-8")
    partial = gated.folder / f".{VERDICT}.partial"
    partial.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(gated.folder / VERDICT)


def read_verdict(folder: Path) -> Verdict | None:
    """The verdict of a gate that was run to its end; None where there is none."""
    try:
        said = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        return Verdict.from_json({key: said[key] for key in ("passed", "checks", "names", "settings")})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{folder / VERDICT}: is damaged ({error}); delete it to run the gate again") from error


def _page(gated: Gated, general: Sequence[Pair], before: str, after: str) -> str:
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("services.learner"), autoescape=True)
    return environment.get_template("gate.html.j2").render(
        verdict=gated.verdict,
        checks=[asdict(check) for check in gated.verdict.checks],
        names=[asdict(name) for name in gated.verdict.names],
        sets=gated.sets,
        pages=[(f"set-{number}.html", pair.name) for number, pair in enumerate(general)],
        before=before,
        after=after,
    )
