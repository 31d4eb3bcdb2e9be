"""A self-contained page that shows the same utterances before and after augmentation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.files import MANIFEST_NAME, Written, utterance_key
from asr.augment.level import active_speech_level_db
from asr.corpus.manifest import AudioReader, Manifest, Utterance
from asr.corpus.pictures import audio_data_uri, data_uri, log_mel_png, waveform_png

PAGE_NAME = "compare.html"
LONGEST_SHOWN_S = 15.0


def comparison_page(before: Manifest, after: Written, config: str, *, items: int = 12) -> str:
    """Renders the page as HTML.

    Args:
        before: the manifest that was augmented.
        after: what came of it; first copies are shown.
        config: the configuration, as text.
        items: how many utterances to show, spread evenly over the manifest.
    """
    originals = {utterance_key(utterance): utterance for utterance in before.utterances}
    pairs = [(originals[new.id], new) for new in after.utterances if new.id in originals]
    readers = AudioReader(before.root), AudioReader(after.manifest.parent)
    shown = [
        {
            "text": old.text,
            "id": new.id,
            "sides": [_side(readers[0], old), _side(readers[1], new)],
            "draws": _draws(new),
        }
        for old, new in _spread(pairs, items)
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("compare.html").render(
        items=shown,
        total=len(after.utterances),
        hours=after.duration_s / 3600.0,
        noises=after.noises(),
        config=config,
        manifest=str(after.manifest.parent / MANIFEST_NAME),
    )


def _spread(pairs: Sequence[tuple[Utterance, Utterance]], items: int) -> list[tuple[Utterance, Utterance]]:
    count = min(items, len(pairs))
    return [pairs[index * len(pairs) // count] for index in range(count)]


def _side(reader: AudioReader, utterance: Utterance) -> dict[str, Any]:
    samples: Samples = reader.read(utterance)[: int(LONGEST_SHOWN_S * SAMPLE_RATE_HZ)]
    level_db, active = active_speech_level_db(samples)
    return {
        "waveform": data_uri(waveform_png(samples), "image/png"),
        "log_mel": data_uri(log_mel_png(samples), "image/png"),
        "audio": audio_data_uri(samples),
        "duration_s": utterance.duration,
        "level_db": level_db,
        "active": active,
    }


def _draws(utterance: Utterance) -> list[tuple[str, str]]:
    draws = utterance.augmentation or {}
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in draws.items()]
