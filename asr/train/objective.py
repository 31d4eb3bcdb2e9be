"""What a training step makes small: CTC, its intermediate share, two views that agree, a teacher's posteriors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.model.acoustic import random_starts
from asr.train.batches import Batch, spec_augment
from asr.train.config import TrainConfig
from asr.train.distil import Teacher

EMPTY_TOKENS = 10
"""How many tokens sound without words counts as: its loss is divided by them, as that of a short text would be."""


class Objective:
    """The loss of one batch under a configuration.

    Args:
        config: of the run.
        device: where the model is.
        teacher: whose posteriors the model is to learn too, or None.
    """

    def __init__(self, config: TrainConfig, device: torch.device, teacher: Teacher | None = None) -> None:
        self.config, self.device, self.teacher = config, device, teacher

    def __call__(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Sum over the batch's utterances of the loss per target token.

        Args:
            model: an `asr.model.acoustic.AcousticModel`, or one wrapped for many processes.
            batch: utterances; where none could be read the loss is 0, with gradients, for the sake of other ranks.
            generator: of every draw.
        """
        config = self.config
        if not batch.texts:
            return sum((p.sum() * 0 for p in model.parameters()), torch.zeros((), device=self.device))
        n = len(batch.texts)
        views = [spec_augment(batch, config.spec_augment, generator)]
        choices = config.chunk_frames or (config.model.encoder.chunk_frames,)
        chunk = choices[int(torch.randint(len(choices), (1,), generator=generator))]
        start = random_starts(n, config.random_start, generator)
        if config.consistency_weight:
            views.append(spec_augment(batch, config.spec_augment, generator))
            start = start.repeat(2)
        mel = torch.cat(views).to(self.device)
        mel_lengths = batch.mel_lengths.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            output = model(mel, mel_lengths.repeat(len(views)), chunk, start.to(self.device))
        lengths = output.lengths[:n]
        losses = ctc_losses(output.log_probs, output.lengths, batch) / len(views)
        if output.intermediate is not None:
            share = config.intermediate_weight
            below = ctc_losses(output.intermediate, output.lengths, batch) / len(views)
            losses = (1 - share) * losses + share * below
        per_token = tokens(batch.target_lengths.to(self.device))
        if config.consistency_weight:
            apart = disagreement(output.log_probs[:n], output.log_probs[n:], lengths)
            # Both views count it in halves.
            losses = losses + config.consistency_weight * (apart / per_token).repeat(2) / 2
        if self.teacher is not None and config.distil is not None:
            taught = self.teacher.posteriors(batch, config.model.encoder.stride)
            temperature = config.distil.temperature
            log_probs = output.log_probs
            apart = divergence(taught.repeat(len(views), 1, 1), log_probs, output.lengths, temperature)
            per_token = per_token.repeat(len(views)) * len(views)
            untaught = [corpus in config.distil.untaught for corpus in batch.corpora] or [False] * n
            shares = torch.where(torch.tensor(untaught * len(views)), 0.0, config.distil.weight).to(losses)
            losses = (1 - shares) * losses + shares * apart / per_token
        return losses.sum()


def tokens(target_lengths: Tensor) -> Tensor:
    """By how many tokens each loss is divided."""
    return torch.where(target_lengths > 0, target_lengths, EMPTY_TOKENS)


def ctc_losses(log_probs: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
    """CTC loss (Graves et al. 2006) of each row, divided by its number of target tokens.

    Args:
        log_probs: shape (N, U, V), or (K * N, U, V) for K views of the batch one after another.
        lengths: output frames of each row.
        batch: whose targets are meant.
    """
    views = len(log_probs) // len(batch.texts)
    target_lengths = batch.target_lengths.to(log_probs.device).repeat(views)
    losses = functional.ctc_loss(
        log_probs.float().transpose(0, 1),
        batch.targets.to(log_probs.device).repeat(views),
        lengths,
        target_lengths,
        reduction="none",
        zero_infinity=True,
    )
    return losses / tokens(target_lengths).to(losses)


def ctc_loss(log_probs: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
    """Sum of `ctc_losses`."""
    return ctc_losses(log_probs, lengths, batch).sum()


def divergence(log_p: Tensor, log_q: Tensor, lengths: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of q from p, summed over the true frames of each utterance.

    Args:
        log_p: shape (N, U, V), taken as given: no gradient flows into it.
        log_q: shape (N, U, V).
        lengths: true numbers of frames, shape (N,).
        temperature: softens both; the result is scaled by its square (Hinton et al. 2015).

    Returns:
        Shape (N,), nats.
    """
    log_p, log_q = log_p.detach().float(), log_q.float()
    if temperature != 1.0:
        log_p, log_q = ((x / temperature).log_softmax(-1) for x in (log_p, log_q))
    by_frame = functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1) * temperature**2
    true = torch.arange(by_frame.shape[1], device=lengths.device) < lengths[:, None]
    return (by_frame * true).sum(1)


def disagreement(log_p: Tensor, log_q: Tensor, lengths: Tensor) -> Tensor:
    """Consistency-regularised CTC (Yao et al. 2024): mean of both divergences, each view taught by the other, (N,)."""
    return (divergence(log_p, log_q, lengths) + divergence(log_q, log_p, lengths)) / 2
