"""The data report as one self-contained page: statistics, pictures, examples to look at and hear, what is odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment import Augmenter
from asr.corpus.manifest import AudioReader
from asr.corpus.measure import QUANTITIES, Measured
from asr.corpus.pictures import INK, audio_data_uri, data_uri, log_mel_png, new_figure, png, waveform_png
from asr.corpus.statistics import Statistics, hours
from asr.features import log_mel

_COLOURS = (INK, "#d9822b", "#4f9d69", "#a3528f", "#8a8a8a", "#c9b037")
_MAX_BARS = 20


@dataclass(frozen=True, slots=True)
class Sound:
    """One signal as the page shows it: addresses of pictures and audio, and its shapes in words."""

    title: str
    waveform: str
    log_mel: str
    audio: str
    shape: str


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance: what is known of it, and its sounds (as recorded; with an augmenter, also after)."""

    facts: dict[str, str]
    text: str
    sounds: tuple[Sound, ...]


def render(statistics: Statistics, *, examples: int = 6, augmenter: Augmenter | None = None) -> str:
    """Returns the page, HTML that needs no other file.

    Args:
        statistics: what to show.
        examples: how many utterances to show whole, taken from all corpora and speakers in turn.
        augmenter: shows each of them after augmentation, too.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("asr.corpus"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("data_report.html")
    return template.render(
        statistics=statistics,
        groups={
            name: {
                "amounts": amounts,
                "picture": _bars({key: value.duration_s / 3600 for key, value in amounts.items()}),
            }
            for name, amounts in statistics.groups.items()
        },
        distributions=[
            {
                "title": title,
                "picture": _histogram(statistics.measured, quantity, title),
                "percentiles": statistics.percentiles(quantity),
            }
            for quantity, title in QUANTITIES.items()
            if statistics.measured
        ],
        words=_bars(dict(list(statistics.words.items())[:_MAX_BARS]), "times spoken"),
        rare_words=sum(1 for count in statistics.words.values() if count == 1),
        examples=[_example(item, augmenter) for item in pick(statistics.measured, examples)],
        odd=[
            {
                "oddity": oddity,
                "sounds": [(_facts(item), item.utterance.text, _audio(item)) for item in oddity.examples],
            }
            for oddity in statistics.odd
        ],
        augmented=augmenter is not None,
        hours=hours,
    )


def pick(measured: Sequence[Measured], count: int) -> list[Measured]:
    """Takes `count` utterances of middling length, going round the corpora and, within each, the speakers."""
    groups: dict[str, list[Measured]] = {}
    for item in measured:
        groups.setdefault(item.utterance.corpus, []).append(item)
    queues = []
    for corpus in sorted(groups):
        median = float(np.median([item.measures.duration_s for item in groups[corpus]]))
        ordered = sorted(groups[corpus], key=lambda item: abs(item.measures.duration_s - median))
        first_of_speaker: dict[str, int] = {}
        for index, item in enumerate(ordered):
            first_of_speaker.setdefault(item.utterance.speaker, index)
        fresh = set(first_of_speaker.values())
        queues.append([ordered[index] for index in sorted(range(len(ordered)), key=lambda index: index not in fresh)])
    chosen: list[Measured] = []
    for turn in range(max(map(len, queues), default=0)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
    return chosen[:count]


def _example(item: Measured, augmenter: Augmenter | None) -> Example:
    samples = AudioReader(item.root).read(item.utterance)
    sounds = [_sound("as recorded", samples)]
    if augmenter is not None:
        changed, draws = augmenter.apply(samples, item.utterance.id or item.utterance.audio_filepath)
        drawn = ", ".join(f"{key} {_short(value)}" for key, value in draws.items() if key not in ("seed", "epoch"))
        sounds.append(_sound(f"augmented: {drawn}", changed))
    return Example(_facts(item), item.utterance.text, tuple(sounds))


def _sound(title: str, samples: Samples) -> Sound:
    frames = log_mel(samples)
    return Sound(
        title,
        data_uri(waveform_png(samples), "image/png"),
        data_uri(log_mel_png(samples), "image/png"),
        audio_data_uri(samples),
        f"{len(samples):,} samples ({len(samples) / SAMPLE_RATE_HZ:.2f} s at 16 kHz) become log-mel frames of shape "
        f"({frames.shape[0]}, {frames.shape[1]})",
    )


def _audio(item: Measured) -> str:
    return audio_data_uri(AudioReader(item.root).read(item.utterance))


def _facts(item: Measured) -> dict[str, str]:
    row = item.utterance
    facts = {
        "id": row.id or row.audio_filepath,
        "corpus": row.corpus,
        "speaker": row.speaker,
        "gender": row.gender,
        "age": row.age,
        "accent": row.accent,
        "length": f"{item.measures.duration_s:.2f} s",
        "level": f"{item.measures.level_db:.0f} dB",
        "SNR": f"{item.measures.snr_db:.0f} dB",
        "rate": f"{item.value('rate'):.0f} characters/s",
    }
    return {key: value for key, value in facts.items() if value}


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return str(value.get("kind", "on"))
    return "none" if value is None else str(value)


def _bars(values: dict[str, float] | dict[str, int], label: str = "hours") -> str:
    """Horizontal bars, the largest on top; what does not fit is summed up in the last."""
    names = list(values)[:_MAX_BARS]
    sizes = [float(values[name]) for name in names]
    if len(values) > _MAX_BARS:
        names.append(f"{len(values) - _MAX_BARS} others")
        sizes.append(float(sum(list(values.values())[_MAX_BARS:])))
    figure, axes = new_figure(5.2, 0.45 + 0.2 * max(len(names), 2))
    axes.barh(range(len(names)), sizes, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return data_uri(png(figure), "image/png")


def _histogram(measured: Sequence[Measured], quantity: str, title: str) -> str:
    """Stacked by corpus, over the range that holds 99 % of the values; the rest stands in the outer bars."""
    corpora = sorted({item.utterance.corpus for item in measured})[: len(_COLOURS)]
    values = {name: [item.value(quantity) for item in measured if item.utterance.corpus == name] for name in corpora}
    low, high = np.percentile([item.value(quantity) for item in measured], [0.5, 99.5])
    edges = np.linspace(low, max(high, low + 1e-6), 41)
    figure, axes = new_figure(5.2, 1.9)
    axes.hist(
        [np.clip(values[name], edges[0], edges[-1]) for name in corpora],
        bins=list(edges),
        stacked=True,
        color=list(_COLOURS[: len(corpora)]),
        label=[name or "no corpus named" for name in corpora],
    )
    axes.set(xlabel=title, ylabel="utterances")
    if len(corpora) > 1:
        axes.legend(fontsize=7, frameon=False)
    return data_uri(png(figure), "image/png")
