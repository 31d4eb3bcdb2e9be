"""How fast training is: audio per second, the share of the machine's matrix rate, and the ratio to a plain loop."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from asr import audio
from asr.audio import SAMPLE_RATE_HZ
from asr.corpus.manifest import Utterance, write_manifest
from asr.model.acoustic import AcousticModel
from asr.model.whisper import Attention, chunk_penalty
from asr.train.batches import Batch, Item, SpeechDataset, collate
from asr.train.config import TrainConfig
from asr.train.loop import Trainer
from asr.train.objective import Objective

PLAIN_BATCH = 16
WARM_UP_STEPS = 2
COUNTED_STEPS = 2


@dataclass
class Speed:
    """A measured loop.

    Attributes:
        audio_s: heard, padding not counted.
        padded_s: padding counted.
        wall_s: that it took.
        parts_s: of that, seconds by part: data, encoder, head, loss, head backward, encoder backward, optimizer.
    """

    audio_s: float = 0.0
    padded_s: float = 0.0
    wall_s: float = 0.0
    parts_s: dict[str, float] = field(default_factory=dict)

    @property
    def audio_per_s(self) -> float:
        return self.audio_s / self.wall_s

    def add(self, batch: Batch) -> None:
        self.audio_s += float(batch.mel_lengths.sum()) / 100
        self.padded_s += batch.mel.shape[0] * batch.mel.shape[1] / 100


@dataclass(frozen=True)
class TrainBench:
    """What `bench` found.

    Attributes:
        ours: the training loop.
        plain: random batches of 16, float32, features in the loop, attention by the fused kernel with a mask.
        matrix_rate: floating-point operations per second of large matrix products, at the training's precision.
        operations_per_s: matrix operations, forward and backward, that a second of padded audio takes.
    """

    ours: Speed
    plain: Speed
    matrix_rate: float
    operations_per_s: float

    @property
    def ratio(self) -> float:
        """Audio per second of the training loop over that of the plain one."""
        return self.ours.audio_per_s / self.plain.audio_per_s

    @property
    def matrix_share(self) -> float:
        """Share of the matrix rate that the training loop reaches, all its other work included."""
        return self.operations_per_s * self.ours.padded_s / self.ours.wall_s / self.matrix_rate


def bench(
    trainer: Trainer,
    train: Sequence[Item],
    seconds: float,
    augment: Any = None,
    clock: Callable[[], float] = time.perf_counter,
) -> TrainBench:
    """Measures both loops and plain matrix products in turns, for about ``seconds`` each.

    In turns, so that whatever else the machine does hits all three alike.

    Args:
        trainer: not yet run; its model is trained along the way.
        train: the trainer's utterances.
        seconds: for each loop.
        augment: the trainer's augmentation, for the plain loop.
        clock: in seconds; `time.process_time` where other work shares the processor and all of training is one thread.
    """
    config, device = trainer.config, trainer.device
    loader = trainer.loader()
    plain = _Plain(config, train, device, augment)
    products = Products(torch.bfloat16 if config.precision == "bfloat16" else torch.float32, device, clock)
    for _ in range(WARM_UP_STEPS):
        trainer.step(next(loader), 0.5)
        plain.step()
    counted = Speed()
    with count_operations() as operations:
        for _ in range(COUNTED_STEPS):
            batch = next(loader)
            trainer.step(batch, 0.5)
            counted.add(batch)
    ours, theirs = Speed(), Speed()
    while (least := min(ours.wall_s, theirs.wall_s, products.wall_s)) < seconds:
        if ours.wall_s == least:
            learn = partial(trainer.step, share=0.5)
            _timed(ours, trainer.model, partial(next, loader), learn, trainer.optimizer, clock)
        elif theirs.wall_s == least:
            _timed(theirs, plain.model, plain.next, plain.learn, plain.optimizer, clock)
        else:
            products.run()
    return TrainBench(ours, theirs, products.rate, operations() / counted.padded_s)


class Products:
    """Large square matrix products, of the size among 512 to 2048 rows that is fastest here.

    Attributes:
        operations: multiplications and additions done.
        wall_s: that they took.
    """

    def __init__(self, kind: torch.dtype, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.operations, self.wall_s = 0.0, 0.0
        rates = {}
        for size in (512, 1024, 2048):
            self._a, self._b = (torch.randn(size, size).to(device, kind) for _ in range(2))
            self.run(0.05)  # warm
            self.operations, self.wall_s = 0.0, 0.0
            self.run(0.2)
            rates[size] = self.rate
        best = max(rates, key=lambda size: rates[size])
        self._a, self._b = (torch.randn(best, best).to(device, kind) for _ in range(2))
        self.operations, self.wall_s = 0.0, 0.0

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.wall_s

    def run(self, seconds: float = 1.0) -> None:
        """Products for about ``seconds``."""
        started, count = self._clock(), 0
        while count == 0 or self._clock() - started < seconds:
            torch.mm(self._a, self._b)
            _wait(self._a.device)
            count += 1
        self.operations += 2.0 * len(self._a) ** 3 * count
        self.wall_s += self._clock() - started


@contextmanager
def count_operations() -> Iterator[Callable[[], float]]:
    """Counts the operations of matrix products, convolutions and recurrent layers, forward and backward."""

    def layer(x: Any, input_weights: Any, hidden_weights: Any, *_: Any, **__: Any) -> int:
        return int(2 * x[0] * x[1] * (np.prod(input_weights) + np.prod(hidden_weights)))

    def layer_backward(*shapes: Any, **__: Any) -> int:
        return 2 * layer(*shapes[:3])

    mapping = {}
    for name, count in (("mkldnn_rnn_layer", layer), ("mkldnn_rnn_layer_backward", layer_backward)):
        if hasattr(torch.ops.aten, name):  # PyTorch's CPU kernel of an LSTM; elsewhere it is made of products
            mapping[getattr(torch.ops.aten, name)] = count
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        yield lambda: float(counter.get_total_flops())


class _Plain:
    """The loop that everyone writes first."""

    def __init__(self, config: TrainConfig, train: Sequence[Item], device: torch.device, augment: Any) -> None:
        self._config = dataclasses.replace(config, precision="float32", distil=None)
        torch.manual_seed(config.seed)
        self.model = AcousticModel(config.model, len(config.tokens)).to(device)
        for module in self.model.modules():
            if isinstance(module, Attention):
                module.chunked = _masked.__get__(module)  # type: ignore[method-assign]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.optimizer.lr)
        self._dataset = SpeechDataset(train, config.model.features, augment)
        self._objective = Objective(self._config, device)
        self._rng = np.random.default_rng(config.seed)
        self._step = 0

    def next(self) -> Batch:
        """Random utterances, read and featurised here and now."""
        features = self._config.model.features
        indices = self._rng.choice(len(self._dataset), min(PLAIN_BATCH, len(self._dataset)), replace=False)
        parts = [self._dataset[int(index), self._step, 0] for index in indices]
        return collate(parts, features.silence, self.model.encoder.stride, features.n_mels)

    def learn(self, batch: Batch) -> None:
        self._step += 1
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._objective(self.model, batch, torch.Generator().manual_seed(self._step))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self._config.optimizer.clip_norm)
        self.optimizer.step()

    def step(self) -> None:
        self.learn(self.next())


def _masked(self: Attention, x: Tensor, chunk_frames: int, left_frames: int) -> Tensor:
    """What `Attention.chunked` gives, by PyTorch's fused kernel with a mask over all pairs of frames."""
    frames = x.shape[1]
    mask = (chunk_penalty(0, frames, 0, chunk_frames, left_frames) == 0).to(x.device)
    return self(x, self.key(x), self.value(x), mask)  # type: ignore[no-any-return]


def _timed(
    speed: Speed,
    model: AcousticModel,
    data: Callable[[], Batch],
    learn: Callable[[Batch], Any],
    optimizer: torch.optim.Optimizer,
    clock: Callable[[], float],
) -> None:
    """One step, its time split by part: the marks are set by hooks on the encoder, the head and their gradients."""
    device = next(model.parameters()).device
    marks: list[tuple[str, float]] = []

    def mark(part: str) -> None:
        _wait(device)
        marks.append((part, clock()))

    def of_gradient(part: str) -> Callable[[Tensor], None]:
        return lambda _: mark(part)

    def after_encoder(_: nn.Module, __: Any, output: Tensor) -> None:
        mark("encoder")
        if output.requires_grad:
            output.register_hook(of_gradient("head backward"))  # type: ignore[no-untyped-call]

    def after_head(_: nn.Module, __: Any, output: tuple[Tensor, Any]) -> None:
        mark("head")
        output[0].register_hook(of_gradient("loss"))  # type: ignore[no-untyped-call]

    hooks = [
        model.encoder.register_forward_pre_hook(lambda *_: mark("masks")),
        model.encoder.register_forward_hook(after_encoder),
        model.head.register_forward_hook(after_head),
        optimizer.register_step_pre_hook(lambda *_: mark("backward")),
    ]
    started = clock()
    batch = data()
    mark("data")
    learn(batch)
    mark("optimizer")
    for hook in hooks:
        hook.remove()
    speed.add(batch)
    before = started
    frozen = not any(part == "head backward" for part, _ in marks)
    for part, when in marks:
        name = part
        if part == "backward":
            name = "head backward" if frozen else "encoder backward"
        speed.parts_s[name] = speed.parts_s.get(name, 0.0) + when - before
        before = when
    speed.wall_s += marks[-1][1] - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_corpus(folder: Path, count: int, max_s: float, seed: int = 0) -> Path:
    """Noise in the shape of speech, with the lengths and the amount of text of real utterances; returns its manifest.

    Half of the 6,852 utterances of LibriSpeech, Common Voice and speechocean762 that this was fitted to last 4.5 s or
    less, one of six 9 s or more; they hold 13 characters a second.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        duration_s = float(np.clip(rng.lognormal(np.log(4.5), 0.62), 1.0, max_s))
        n = int(duration_s * 100) * (SAMPLE_RATE_HZ // 100)
        spectrum = np.fft.rfft(rng.normal(0, 1, n))
        hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
        shaped = np.fft.irfft(spectrum / (1 + (hz / 500) ** 1.5), n)
        syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(n) / SAMPLE_RATE_HZ + rng.uniform(0, 6))
        samples = (0.1 * shaped / shaped.std() * syllables).clip(-1, 1).astype(np.float32)
        audio.save(folder / f"{i}.flac", samples)
        letters = rng.choice(list("etaoinshrdlu "), int(13 * duration_s))
        rows.append(Utterance(f"{i}.flac", n / SAMPLE_RATE_HZ, " ".join("".join(letters).split()) or "a", id=str(i)))
    path = folder / "manifest.jsonl"
    write_manifest(path, rows)
    return path
