"""Loss and greedy error rates on dev, the quick figures that steer a run; `asr.evaluate` gives the real ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import jiwer
import torch

from asr.model.acoustic import AcousticModel
from asr.train.batches import EndlessBatches, Item, SpeechDataset, collate
from asr.train.config import TrainConfig


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


@torch.no_grad()
def validate(model: AcousticModel, items: list[Item], config: TrainConfig, device: torch.device) -> Validation:
    """Whole utterances at the streaming chunk, greedily."""
    from asr.train.loop import ctc_loss

    model.eval()
    dataset = SpeechDataset(items, config.model.features)
    plan = EndlessBatches([item.utterance.duration for item in items], config.data.batch_s, seed=0).plan(0)
    total, references, hypotheses = 0.0, [], []
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
        total += float(ctc_loss(log_probs, lengths, batch))
        references += batch.texts
        for row, length in zip(log_probs.argmax(-1).cpu(), lengths.tolist(), strict=True):
            hypotheses.append(_collapse(row[:length].tolist(), config.tokens))
    return Validation(
        loss=total / max(1, len(references)),
        wer=jiwer.wer(references, hypotheses) if references else 1.0,
        cer=jiwer.cer(references, hypotheses) if references else 1.0,
    )


def _collapse(ids: list[int], tokens: tuple[str, ...]) -> str:
    """CTC's many-to-one map: repeats merged, blanks (0) removed, spaces single."""
    kept = [b for a, b in zip([0, *ids], ids, strict=False) if b not in (a, 0)]
    return " ".join("".join(tokens[token] for token in kept).split())
