"""The loss of a step: what its parts are by definition, and what a teacher brings."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr.config import config_to_json
from asr.errors import ConfigError
from asr.model.acoustic import AcousticModel
from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
from asr.train import checkpoint
from asr.train.batches import Batch
from asr.train.config import DataConfig, DistilConfig, SpecAugmentConfig, TrainConfig
from asr.train.distil import Teacher, pool
from asr.train.objective import Objective, ctc_losses, disagreement, divergence

TOKENS = ("<blank>", " ", "a", "b")
CPU = torch.device("cpu")
NO_MASKS = SpecAugmentConfig(time_masks=0, frequency_masks=0)


def config_of(stride: int = 2, **changes) -> TrainConfig:
    model = ModelConfig(
        encoder=EncoderConfig(width=16, stride=stride, chunk_frames=4),
        head=HeadConfig(layers=1, width=24, look_ahead_frames=1, dropout=0.0),
    )
    data = DataConfig(train=("t",), dev=("d",))
    return TrainConfig(**{"name": "x", "data": data, "model": model, "tokens": TOKENS, **changes})


def batch_of(seed: int = 0, n: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        mel=torch.randn(n, 48, 80, generator=generator),
        mel_lengths=torch.tensor([48, 40, 31][:n]),
        targets=torch.tensor([2, 3, 2, 3, 1, 2][: 2 * n]),
        target_lengths=torch.tensor([2] * n),
        texts=["ab"] * n,
        problems=[],
    )


def model_of(config: TrainConfig, seed: int) -> AcousticModel:
    torch.manual_seed(seed)
    return AcousticModel(config.model, len(TOKENS))


def posteriors(n: int, frames: int, seed: int) -> torch.Tensor:
    logits = np.random.default_rng(seed).normal(0, 2, (n, frames, len(TOKENS)))
    return torch.tensor(logits).float().log_softmax(-1)


def test_ctc_is_the_sum_over_all_paths() -> None:
    """Against a sum over every path of a short utterance, by hand."""
    log_probs = posteriors(1, 4, seed=1)
    batch = dataclasses.replace(
        batch_of(n=1), targets=torch.tensor([2, 3]), target_lengths=torch.tensor([2]), texts=["ab"]
    )
    total = 0.0
    for path in np.ndindex(*[len(TOKENS)] * 4):
        kept = [b for a, b in zip((0, *path), path, strict=False) if b not in (a, 0)]
        if kept == [2, 3]:
            total += float(np.exp(sum(log_probs[0, t, token].item() for t, token in enumerate(path))))
    assert ctc_losses(log_probs, torch.tensor([4]), batch).item() == pytest.approx(-np.log(total) / 2, rel=1e-5)


@given(st.integers(0, 99), st.sampled_from([1.0, 2.0]))
def test_divergence_is_kullback_leiblers_over_the_true_frames(seed, temperature) -> None:
    log_p, log_q = posteriors(2, 6, seed), posteriors(2, 6, seed + 1000)
    found = divergence(log_p, log_q, torch.tensor([6, 3]), temperature)
    for row, frames in enumerate((6, 3)):
        p, q = (np.exp(x[row, :frames].double().numpy() / temperature) for x in (log_p, log_q))
        p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
        assert found[row].item() == pytest.approx(temperature**2 * (p * np.log(p / q)).sum(), rel=1e-4, abs=1e-5)
    assert divergence(log_p, log_p, torch.tensor([6, 3])).abs().max() < 1e-5


def test_only_the_second_argument_learns_from_a_divergence() -> None:
    log_p, log_q = (posteriors(1, 5, seed).requires_grad_() for seed in (1, 2))
    divergence(log_p, log_q, torch.tensor([5])).sum().backward()
    assert log_p.grad is None
    assert log_q.grad is not None
    both = disagreement(log_p, log_q, torch.tensor([5]))
    assert both.item() == pytest.approx(disagreement(log_q, log_p, torch.tensor([5])).item())


def test_consistency_costs_nothing_where_the_views_are_the_same_and_pulls_them_together_where_not() -> None:
    batch = batch_of()
    plain, consistent = config_of(spec_augment=NO_MASKS), config_of(spec_augment=NO_MASKS, consistency_weight=0.5)
    model = model_of(plain, 1)

    def loss(config: TrainConfig) -> float:
        return float(Objective(config, CPU)(model, batch, torch.Generator().manual_seed(3)).detach())

    assert loss(consistent) == pytest.approx(loss(plain), rel=1e-5)
    masked = SpecAugmentConfig(time_masks=2, time_share=0.3, frequency_masks=2, frequency_bands=40)
    with_masks = config_of(spec_augment=masked, consistency_weight=0.5)
    assert loss(with_masks) > loss(dataclasses.replace(with_masks, consistency_weight=1e-9))


@given(st.integers(1, 3), st.integers(1, 9), st.integers(0, 50))
def test_pooled_posteriors_are_posteriors_that_keep_every_peak(factor, frames, seed) -> None:
    log_probs = posteriors(2, frames, seed)
    n_frames = -(-frames // factor)
    pooled = pool(log_probs, factor, n_frames)
    assert pooled.shape == (2, n_frames, len(TOKENS))
    np.testing.assert_allclose(pooled.exp().sum(-1).numpy(), 1.0, atol=1e-5)
    if factor == 1:
        assert torch.equal(pooled, log_probs)
    sharp = torch.full((1, 6, len(TOKENS)), -20.0)
    sharp[0, [0, 2, 3, 4], 0] = 0.0
    sharp[0, 1, 2] = sharp[0, 5, 3] = 0.0
    best = pool(sharp, 2, 3).argmax(-1)[0].tolist()
    assert best == [2, 0, 3]


def saved_teacher(folder: Path, stride: int = 2) -> tuple[Path, AcousticModel]:
    config = config_of(stride)
    teacher = model_of(config, seed=7)
    for parameter in teacher.parameters():
        parameter.data.mul_(2.0)
    content = {"model": teacher.state_dict(), "model_config": config_to_json(config.model), "tokens": list(TOKENS)}
    folder.mkdir()
    checkpoint.save(folder / checkpoint.FINAL, content)
    return folder, teacher.eval()


@pytest.mark.parametrize("stride", [2, 4])
def test_a_student_learns_its_teachers_posteriors(tmp_path: Path, stride: int) -> None:
    """With nothing but the teacher to learn from, and a batch that it overfits, the divergence nearly vanishes."""
    path, _ = saved_teacher(tmp_path / "teacher")
    config = config_of(stride, spec_augment=NO_MASKS, distil=DistilConfig(teacher=str(path), weight=1.0))
    student, batch = model_of(config, seed=1), batch_of()
    teacher = Teacher(path, TOKENS, config.model.features, CPU, bfloat16=False)
    objective = Objective(config, CPU, teacher)
    taught = teacher.posteriors(batch, stride)
    optimizer = torch.optim.Adam(student.parameters(), 0.02)
    student.train()
    values = []
    for step in range(80):
        optimizer.zero_grad()
        loss = objective(student, batch, torch.Generator().manual_seed(step))
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.1 * values[0]
    student.eval()
    with torch.inference_mode():
        output = student(batch.mel, batch.mel_lengths)
    apart = divergence(taught, output.log_probs, output.lengths) / output.lengths
    assert float(apart.max()) < 0.05


def test_the_teacher_hears_what_its_model_hears(tmp_path: Path) -> None:
    path, model = saved_teacher(tmp_path / "teacher")
    teacher, batch = Teacher(path, TOKENS, model.config.features, CPU, bfloat16=False), batch_of()
    with torch.inference_mode():
        expected = model(batch.mel, batch.mel_lengths).log_probs
    torch.testing.assert_close(teacher.posteriors(batch, 2), expected)


def test_a_bundle_is_a_teacher_too(tiny_bundle: Path, tiny_run: Path) -> None:
    from asr.train.config import CHARACTERS

    features = ModelConfig().features
    batch = batch_of()
    a, b = (
        Teacher(path, CHARACTERS, features, CPU, bfloat16=False).posteriors(batch, 3)
        for path in (tiny_bundle, tiny_run)
    )
    torch.testing.assert_close(a, b, atol=0.02, rtol=0.01)  # a bundle's weights have 16 bits


def test_teachers_that_cannot_teach_say_why(tmp_path: Path) -> None:
    path, model = saved_teacher(tmp_path / "teacher")
    features = model.config.features
    with pytest.raises(ConfigError, match="other tokens"):
        Teacher(path, ("<blank>", "a"), features, CPU, bfloat16=False)
    with pytest.raises(ConfigError, match="neither a run folder"):
        Teacher(tmp_path, TOKENS, features, CPU, bfloat16=False)
    teacher = Teacher(path, TOKENS, features, CPU, bfloat16=False)
    with pytest.raises(ConfigError, match="multiple"):
        teacher.posteriors(batch_of(), 3)
