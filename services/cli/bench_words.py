"""`dengar bench words`: words of real recordings, held out and learned again from their text alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import output


def bench_words(
    manifest: Annotated[Path, typer.Argument(help="Real speech that no training has heard.", metavar="MANIFEST")],
    *,
    train: Annotated[
        list[Path], typer.Option("--train", help="Manifest that the acoustic model was trained on; may be repeated.")
    ],
    texts: Annotated[Path, typer.Option(help="Folder of the language model's texts.")],
    recipe: Annotated[
        Path | None,
        typer.Option(help="Of it; default: experiments/lm-default.yaml, which needs $DENGAR_BACKGROUND_LM."),
    ] = None,
    grammar: Annotated[
        list[Path] | None,
        typer.Option("--grammar", help="Queries that were spoken for training; default: voice-search.yaml."),
    ] = None,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped one.")
    ] = "",
    words: Annotated[int, typer.Option("--words", "-n", min=1, help="How many words to hold out.")] = 100,
    names: Annotated[
        list[Path] | None,
        typer.Option("--names", help="List of names; default: data/names and data/dev-names.txt."),
    ] = None,
    boost: Annotated[
        str, typer.Option(help="Of the phrases, in nats, as in 2,4,8; default: as dengar serve has it for live names.")
    ] = "",
    fine_tune: Annotated[
        bool, typer.Option(help="Also speak the words by synthetic voices, and fine-tune the acoustic model on them.")
    ] = True,
    every: Annotated[
        int, typer.Option(min=1, help="The fine-tuned model hears one in so many utterances without the words.")
    ] = 1,
    learn_set: Annotated[list[str] | None, typer.Option("--learn-set", help="Override of data/learn.yaml.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps speech, bundles and training.")] = Path("work/held-out-words"),
    posteriors: Annotated[Path, typer.Option(help="Keeps what the acoustic model hears.")] = Path("work/tune"),
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the result to this file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure recall of words that nothing taught the recogniser, in real recordings, before and after learning them.

    The words are spoken at least twice in the manifest and stand in no training transcript; the language model is
    built again without every sentence that holds one. They are then learned from their text alone: at once, as
    phrases of every stream, and for good, in the language model, and with synthetic speech in the acoustic model too.
    Errors elsewhere are counted as well. The bundle as it is, which knows most of the words, is the reference.

    Example: dengar bench words speech/dev.jsonl --train speech/train.jsonl --texts text
    """
    from asr.bundle import load_bundle
    from asr.corpus.truecase import NAMES
    from asr.learn import load_learn_config
    from asr.learn.config import DEFAULT, PROJECT
    from services.learner.bench_words import Sources, WordsBench, choose_words
    from services.recognizer.live_names import LiveNamesConfig

    lists = tuple(names) if names else (*sorted(NAMES.glob("*.txt")), PROJECT / "data" / "dev-names.txt")
    sources = Sources(
        recordings=manifest,
        transcripts=tuple(train),
        grammars=tuple(grammar or (PROJECT / "data" / "queries" / "voice-search.yaml",)),
        recipe=recipe or PROJECT / "experiments" / "lm-default.yaml",
        texts=texts,
        names=lists,
    )
    boosts = _boosts(boost) if boost else [LiveNamesConfig().boost]
    base = load_bundle(bundle or None)
    chosen = choose_words(sources, base.lexicon(), words)
    learn = load_learn_config(DEFAULT, tuple(learn_set or ()))
    with output.progress() as progress:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done)

        bench = WordsBench(base, chosen, sources, learn, work, posteriors, report)
        conditions = [
            bench.plain("before", bench.before),
            *(bench.at_once(each) for each in boosts),
            bench.learned(),
            *(bench.fine_tuned(every) if fine_tune else ()),
            bench.plain("reference: the bundle as it is", base),
        ]
        result = bench.result(conditions, seed)
    result |= {"manifest": str(manifest), "settings": list(learn_set or ())}
    for reason in result["left_out"][:10]:
        output.warn(reason)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if json_:
        output.emit_json(result)
    else:
        _show(result)


def _boosts(text: str) -> list[float]:
    from asr.errors import ConfigError

    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [0.0]
    if not all(0 < each <= 20 for each in found):
        raise ConfigError(f"--boost {text}: write numbers of nats above 0 and to 20 between commas, as in 2,4,8")
    return found


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    counts = result["counts"]
    output.console.print(
        f"{counts['words']} words ({counts['names']} names; {counts['in_lexicon']} of all in the bundle's lexicon), "
        f"spoken {counts['spoken']} times in {result['utterances_with_words']} of {result['utterances']} recordings",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=None)
    table.add_column("condition", no_wrap=True)
    for name in ("recall", "names", "false alarms", "WER beside", "WER elsewhere, change"):
        table.add_column(name)
    for row in result["conditions"]:
        recall, change = row["recall"], row.get("change")
        table.add_row(
            row["condition"],
            _recall(recall["all"]),
            f"{recall['names']['recall']:.0%}",
            str(row["false_alarms"]),
            f"{row['wer_beside']['wer']:.1%}",
            f"{row['wer_elsewhere']['wer']:.2%}" + (f", {_points(change)}" if change else ""),
        )
    output.console.print(table)


def _recall(found: dict[str, Any]) -> str:
    low_high = "" if found["interval"] is None else " ({:.0%}-{:.0%})".format(*found["interval"])
    return f"{found['recall']:.1%}{low_high}"


def _points(change: dict[str, Any]) -> str:
    low, high = change["wer_elsewhere_interval"]
    between = "" if low is None else f" ({100 * low:+.2f} to {100 * high:+.2f})"
    return f"{100 * change['wer_elsewhere']:+.2f} pt{between}"
