"""Loss and greedy error rates on dev, the quick figures that steer a run; `asr.evaluate` gives the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import jiwer
import torch

from asr.decode.types import Tokens
from asr.model.acoustic import AcousticModel
from asr.train.batches import Augment, EndlessBatches, Item, SpeechDataset, collate
from asr.train.config import TrainConfig
from asr.train.objective import ctc_losses


@dataclass(frozen=True)
class Validation:
    """Figures on dev.

    Attributes:
        loss: CTC loss per token, averaged over utterances.
        wer: greedy word error rate, a fraction.
        cer: greedy character error rate, a fraction.
    """

    loss: float
    wer: float
    cer: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """One utterance, greedily.

    Attributes:
        name: of its file.
        loss: CTC loss per token.
        word_errors: substitutions, insertions and deletions.
        words: of the reference.
        character_errors: the same in characters.
        characters: of the reference.
    """

    name: str
    loss: float
    word_errors: int
    words: int
    character_errors: int
    characters: int


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """About ``count`` of the items, evenly spread over their order."""
    return list(items[:: max(1, len(items) // count)])


def validate(model: AcousticModel, items: list[Item], config: TrainConfig, device: torch.device) -> Validation:
    """Whole utterances at the streaming chunk, greedily."""
    return summary(measure(model, items, config, device))


def summary(measured: Sequence[Measured]) -> Validation:
    """Figures over all utterances: errors of all over words of all."""
    words, characters = (max(1, sum(getattr(one, name) for one in measured)) for name in ("words", "characters"))
    return Validation(
        loss=sum(one.loss for one in measured) / max(1, len(measured)),
        wer=sum(one.word_errors for one in measured) / words if measured else 1.0,
        cer=sum(one.character_errors for one in measured) / characters if measured else 1.0,
    )


@torch.no_grad()
def measure(
    model: AcousticModel,
    items: Sequence[Item],
    config: TrainConfig,
    device: torch.device,
    augment: Augment | None = None,
) -> list[Measured]:
    """Each readable utterance, whole, at the streaming chunk, greedily; with augmentation always the same draws."""
    model.eval()
    tokens = Tokens(config.tokens)
    dataset = SpeechDataset(items, config.model.features, augment)
    plan = EndlessBatches([item.utterance.duration for item in items], config.data.batch_s, seed=0).plan(0)
    measured = []
    for indices in plan:
        batch = collate(
            [dataset[index, 0, 0] for index in indices],
            config.model.features.silence,
            model.encoder.stride,
            config.model.features.n_mels,
        )
        if not batch.texts:
            continue
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            log_probs, lengths, _ = model(batch.mel.to(device), batch.mel_lengths.to(device))
        losses = ctc_losses(log_probs, lengths, batch).tolist()
        rows = zip(batch.names, batch.texts, losses, log_probs.argmax(-1).cpu(), lengths.tolist(), strict=True)
        for name, text, loss, row, length in rows:
            heard = tokens.decode(_collapsed(row[:length].tolist()))
            by_word, by_character = jiwer.process_words(text, heard), jiwer.process_characters(text, heard)
            measured.append(Measured(name, loss, _errors(by_word), len(text.split()), _errors(by_character), len(text)))
    return measured


def _errors(output: jiwer.WordOutput | jiwer.CharacterOutput) -> int:
    return int(output.substitutions + output.deletions + output.insertions)


def _collapsed(ids: list[int]) -> list[int]:
    """CTC's many-to-one map: repeats merged, blanks (0) removed."""
    return [b for a, b in zip([0, *ids], ids, strict=False) if b not in (a, 0)]
