"""How the served recogniser hears a name: what it writes for the name in the utterances that were just spoken.

A recogniser of letters spells what it hears, and hears a new name again and again in a few wrong ways. Those are
further spellings of the name (Le et al., "G2G: TTS-driven pronunciation learning for graphemic hybrid ASR", 2020), and
cost neither training nor memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from asr.augment import AugmentConfig, Augmenter
from asr.bundle import Bundle
from asr.check import posteriors_together
from asr.corpus.manifest import AudioReader, read_manifest
from asr.decode import Decoder, LanguageModel
from asr.decode.types import LogProbs
from asr.features import log_mel
from asr.synth.names import mentions

FEWEST_LETTERS = 6
"""Shorter ones are too much like other words."""
LEAST_ALIKE = 0.5
"""Of the letters of name and spelling, the share that agrees in order (Ratcliff and Metzener 1988)."""
CAR_SNR_DB = 10.0
MOST_EXPECTED = -18.0
"""Natural log: what people say anyway ("a novel" for "jean nouvel") is never taken for a name."""


def heard_as(reference: str, name: str, hypothesis: str) -> str:
    """The words of a hypothesis that stand where the name stands in the reference; empty if that cannot be told.

    Args:
        reference: what was said.
        name: that stands in it once, perhaps with a possessive.
        hypothesis: what was heard.
    """
    said, heard, wanted = reference.split(), hypothesis.split(), name.split()
    starts = [i for i in range(len(said)) if [w.removesuffix("'s") for w in said[i : i + len(wanted)]] == wanted]
    if not starts:
        return ""
    place = {-1: -1, len(said): len(heard)}
    for block in SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks():
        place |= {block.a + k: block.b + k for k in range(block.size)}
    before, behind = place.get(starts[0] - 1), place.get(starts[0] + len(wanted))
    if before is None or behind is None:
        return ""
    return " ".join(word.removesuffix("'s") for word in heard[before + 1 : behind])


def spellings_of(
    name: str, heard: Sequence[str], lm: LanguageModel, most_expected: float = MOST_EXPECTED
) -> tuple[str, ...]:
    """The spellings worth keeping, the most frequent first.

    Args:
        name: as it is written.
        heard: what was heard for it, of many utterances.
        lm: what it expects without any context is no spelling of a name.
        most_expected: the highest log-probability of a spelling.
    """
    letters = name.replace(" ", "")
    counted = Counter(text for text in heard if text and text != name)
    kept = []
    for text, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        plain = text.replace(" ", "")
        alike = SequenceMatcher(None, letters, plain, autojunk=False).ratio()
        if len(plain) >= FEWEST_LETTERS and alike >= LEAST_ALIKE and _expected(text, lm) < most_expected:
            kept.append(text)
    return tuple(kept)


def _expected(text: str, lm: LanguageModel) -> float:
    """The natural log of the probability of some words without context."""
    state, total = lm.empty(), 0.0
    for word in text.split():
        gained, state = lm.score(state, word)
        total += gained
    return total


def hear_names(
    bundle: Bundle,
    names: Sequence[str],
    manifest: Path,
    most: int,
    seed: int = 0,
    report: Callable[[float], None] = lambda _: None,
) -> dict[str, tuple[str, ...]]:
    """How a bundle hears names in the utterances that say them, in quiet and in a car.

    Args:
        bundle: the served one; without a language model nothing can be told.
        names: that are said.
        manifest: of the utterances.
        most: spellings of each name.
        seed: of the noise.
        report: told the share that was heard.

    Returns:
        The spellings of each name that has any.
    """
    lm = bundle.language_model()
    if lm is None:
        return {}
    engine = bundle.engine()
    decoder = Decoder(bundle.tokens, bundle.decoder, engine.geometry.frame_s, lm)
    spoken = read_manifest(manifest)
    reader = AudioReader(spoken.root)
    heard: dict[str, list[str]] = {}
    car = Augmenter(AugmentConfig.noise_at_snr(CAR_SNR_DB, kind="cabin"), seed)
    for done, row in enumerate(spoken.utterances, start=1):
        samples = reader.read(row)
        for sound in (samples, car.apply(samples, row.id or row.audio_filepath)[0]):
            mel = log_mel(sound, bundle.model.features)
            log_probs = posteriors_together(engine, [mel], bundle.model.features)[0]
            for name in names:
                if mentions(row.text, {name}):
                    heard.setdefault(name, []).extend(hear(decoder, log_probs, row.text, name))
        report(done / len(spoken.utterances))
    found = {name: spellings_of(name, texts, lm)[:most] for name, texts in heard.items()}
    return {name: spellings for name, spellings in found.items() if spellings}


def hear(decoder: Decoder, log_probs: LogProbs, reference: str, name: str, nbest: int = 3) -> list[str]:
    """What stands for the name in the best readings of one utterance, posteriors of shape (T, V)."""
    texts = [hypothesis.text for hypothesis in decoder.decode(log_probs, nbest)]
    return [text for text in dict.fromkeys(heard_as(reference, name, text) for text in texts) if text]
