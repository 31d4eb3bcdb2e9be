"""What the repository ships: every alias in ``bundles/`` opens, is small enough, explains itself, and hears words."""

from pathlib import Path

import pytest
import torch

from asr.bundle import CARD, load_bundle
from asr.model.acoustic import AcousticModel
from asr.model.pretrained import load_weights
from asr.recognize import Recognizer
from asr.synth.generate import speak_text

SHIPPED = Path(__file__).resolve().parents[2] / "bundles"
ALIASES = sorted(path.name for path in SHIPPED.iterdir() if path.is_file())
MAX_BYTES = 50_000_000


@pytest.fixture(params=ALIASES)
def path(request: pytest.FixtureRequest) -> Path:
    alias: str = request.param
    return SHIPPED / (SHIPPED / alias).read_text().strip()


def test_each_alias_names_a_bundle_and_every_bundle_has_one() -> None:
    named = {(SHIPPED / alias).read_text().strip() for alias in ALIASES}
    assert "default" in ALIASES
    assert named == {entry.name for entry in SHIPPED.iterdir() if entry.is_dir()}


def test_it_opens_is_small_and_explains_itself(path: Path) -> None:
    bundle = load_bundle(path)
    assert bundle.name == path.name
    assert bundle.lexicon()
    assert sum(file.stat().st_size for file in path.iterdir()) <= MAX_BYTES
    assert bundle.hash[:12] in (path / CARD).read_text(encoding="utf-8")
    assert "Whisper" in (path / "NOTICE").read_text(encoding="utf-8")


def test_its_float_weights_are_those_that_it_serves(path: Path) -> None:
    bundle = load_bundle(path)
    model = AcousticModel(bundle.model, len(bundle.tokens))
    load_weights(model, path)
    engine = bundle.engine()
    mel = torch.randn(
        1, engine.geometry.window, bundle.model.features.n_mels, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        exact, _ = model.eval().step(mel, model.initial_state(1))
    served, _ = engine.step(mel.numpy(), engine.initial_state(1))
    assert abs(torch.from_numpy(served).exp() - exact.exp()).mean() < 0.01


def test_it_hears_a_query(path: Path) -> None:
    samples = speak_text("what is the weather like in paris today", "flite:slt")
    (heard,) = Recognizer.open(path).transcribe(samples)
    assert "weather" in heard.text.split()
