import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr import audio
from asr.augment import AugmentConfig, Augmenter
from asr.augment.wordless import Wordless
from asr.corpus import AudioReader, Utterance
from asr.features import FeatureConfig
from asr.train.batches import Batch, EndlessBatches, Item, SpeechDataset, collate, plan_batches, spec_augment
from asr.train.config import SpecAugmentConfig

durations = st.lists(st.floats(0.3, 20.0), min_size=1, max_size=60)


@given(durations, st.floats(1.0, 60.0), st.integers(0, 9), st.integers(0, 3))
def test_plan_holds_every_utterance_once_within_the_budget(lengths, batch_s, seed, epoch) -> None:
    plan = plan_batches(lengths, batch_s, seed, epoch)
    assert Counter(i for batch in plan for i in batch) == Counter(range(len(lengths)))
    for batch in plan:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= batch_s
    assert plan == plan_batches(lengths, batch_s, seed, epoch)


def test_buckets_waste_less_than_random_batches() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.uniform(1, 15, 600)
    padded = sum(max(lengths[b]) * len(b) for b in plan_batches(lengths, 100, 1, 0))
    assert padded < 1.1 * lengths.sum()


@given(durations, st.integers(1, 3), st.integers(0, 4))
def test_batches_continue_where_they_stopped_and_ranks_share_them(lengths, world, skip) -> None:
    def batches(rank: int) -> EndlessBatches:
        return EndlessBatches(lengths, 20.0, seed=5, rank=rank, world=world)

    whole = batches(0)
    first = [batch for batch, _ in zip(whole, range(skip + 3), strict=False)]
    resumed = batches(0)
    _, epoch, number = first[skip][0]
    resumed.start_at(epoch, number)
    assert [batch for batch, _ in zip(resumed, range(3), strict=False)] == first[skip:]
    shares = [[index for index, _, _ in next(iter(batches(rank)))] for rank in range(world)]
    assert {i for share in shares for i in share} == set(whole.plan(0)[0])


def item(root: Path, name: str, text: str, seconds: float = 1.0) -> Item:
    samples = np.random.default_rng(1).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    audio.save(root / name, samples)
    return Item(AudioReader(root), Utterance(name, seconds, text, id=name), tuple(range(1, len(text) + 1)))


def test_unreadable_and_impossible_utterances_are_reported_not_trained_on(tmp_path) -> None:
    good = item(tmp_path, "good.wav", "abc")
    broken = dataclasses.replace(good, utterance=dataclasses.replace(good.utterance, audio_filepath="gone.wav"))
    long_text = item(tmp_path, "short.wav", "a" * 90)
    dataset = SpeechDataset([good, broken, long_text], FeatureConfig())
    batch = collate([dataset[i, 2, 7] for i in range(3)], silence=-0.5, stride=2, n_mels=80)
    assert batch.texts == ["abc"]
    assert batch.mel.shape == (1, 100, 80)
    assert (batch.epoch, batch.number) == (2, 7)
    assert ["gone.wav" in batch.problems[0], "too short" in batch.problems[1]] == [True, True]


def test_padding_is_silence_and_targets_are_joined(tmp_path) -> None:
    dataset = SpeechDataset([item(tmp_path, "a.wav", "ab"), item(tmp_path, "b.wav", "abc", 0.5)], FeatureConfig())
    batch = collate([dataset[i, 0, 0] for i in range(2)], silence=-0.5, stride=2, n_mels=80)
    assert batch.mel_lengths.tolist() == [100, 50]
    assert (batch.mel[1, 50:] == -0.5).all()
    assert batch.targets.tolist() == [1, 2, 1, 2, 3]
    assert batch.target_lengths.tolist() == [2, 3]


@given(st.integers(0, 99), st.lists(st.integers(5, 60), min_size=1, max_size=4))
def test_spec_augment_masks_within_bounds_and_leaves_the_padding(seed: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    longest = max(lengths)
    mel = torch.from_numpy(rng.normal(0, 1, (len(lengths), longest, 80)).astype(np.float32))
    batch = Batch(mel, torch.tensor(lengths), torch.zeros(0), torch.zeros(0), ["x"] * len(lengths), [])
    config = SpecAugmentConfig(time_masks=1, time_share=0.2, frequency_masks=1, frequency_bands=10)
    masked = spec_augment(batch, config, torch.Generator().manual_seed(seed))
    again = spec_augment(batch, config, torch.Generator().manual_seed(seed))
    assert torch.equal(masked, again)
    for row, original, length in zip(masked, mel, lengths, strict=True):
        assert torch.equal(row[length:], original[length:])
        changed = row[:length] != original[:length]
        assert int(changed.all(dim=1).sum()) <= max(1, int(0.2 * length))
        assert int(changed.all(dim=0).sum()) <= 10


def test_unaugmented_audio_is_left_alone(tmp_path) -> None:
    dataset = SpeechDataset([item(tmp_path, "a.wav", "ab")], FeatureConfig(), lambda x, _id, epoch: (x * epoch, {}))
    silent, loud = dataset[0, 0, 0][0], dataset[0, 1, 0][0]
    assert float(silent.max()) == pytest.approx(-0.5)
    assert float(loud.max()) > 0


def test_utterances_replaced_by_noise_have_no_text(tmp_path) -> None:
    car = {"noise": {"probability": 1.0, "snr_db": 5, "kinds": {"cabin": 1.0}}, "cabin": {"clips": 1, "clip_s": 2}}
    noise = Augmenter(AugmentConfig.from_dict(car), seed=1).noise
    items = [item(tmp_path, f"{n}.wav", "ab") for n in range(40)]
    dataset = SpeechDataset(items, FeatureConfig(), wordless=Wordless(0.5, noise, 1))
    batch = collate([dataset[i, 0, 0] for i in range(40)], silence=-0.5, stride=2, n_mels=80)
    empty = [i for i, text in enumerate(batch.texts) if not text]
    assert 8 < len(empty) < 32
    assert {batch.target_lengths[i].item() for i in empty} == {0}
    assert set(batch.texts) == {"", "ab"}
    assert [i.utterance.text for i in items] == ["ab"] * 40
    assert not np.allclose(batch.mel[empty[0]], batch.mel[batch.texts.index("ab")])
