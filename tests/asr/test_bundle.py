import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from asr.bundle import (
    BUILT,
    CARD,
    DESCRIPTION,
    ENGINE,
    UNKNOWN,
    WEIGHTS,
    build_bundle,
    exchange_lm,
    find_bundle,
    load_bundle,
)
from asr.decode import DecoderConfig, Tokens
from asr.decode.lm_build import estimate, write_arpa
from asr.errors import BundleError
from asr.unknown import UnknownConfig


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / tiny_bundle.name))


def test_a_bundle_is_named_by_its_hash_and_opens(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert bundle.name == tiny_bundle.name == bundle.hash[:12]
    assert bundle.tokens == Tokens.characters()
    assert bundle.decoder.beam_width == 4
    assert bundle.engine().geometry.chunk_frames == bundle.model.encoder.chunk_frames == 4
    assert bundle.language_model() is None


def test_every_changed_or_missing_file_is_noticed(copy: Path) -> None:
    for path in sorted(path for path in copy.iterdir() if path.name != CARD):
        original = path.read_bytes()
        path.write_bytes(original[:-1] + b"?")
        with pytest.raises(BundleError):
            load_bundle(copy)
        path.unlink()
        with pytest.raises(BundleError, match=path.name):
            load_bundle(copy)
        path.write_bytes(original)
    load_bundle(copy)


def test_another_format_names_the_version_that_reads_it(copy: Path) -> None:
    description = json.loads((copy / DESCRIPTION).read_text())
    (copy / DESCRIPTION).write_text(json.dumps({**description, "format": 99, "dengar": "9.9"}))
    with pytest.raises(BundleError, match=r"reads 1 to 2; it was made by Dengar 9\.9"):
        load_bundle(copy)


def test_what_format_1_could_not_read_says_that_it_is_of_format_2(copy: Path) -> None:
    description = json.loads((copy / DESCRIPTION).read_text())
    assert description["format"] == 2
    (copy / DESCRIPTION).write_text(json.dumps({**description, "format": 1}))
    assert load_bundle(copy).hash == description["hash"]


def test_bundles_are_found_by_alias_hash_and_path(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENGAR_BUNDLES", str(copy.parent))
    (copy.parent / "default").write_text(copy.name + "\n")
    for name in (None, "default", copy.name[:6], copy, copy.parent / "default"):
        assert find_bundle(name) == copy
    with pytest.raises(BundleError, match="nobody"):
        find_bundle("nobody")


def test_bundles_that_were_built_here_are_found_too(
    copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DENGAR_BUNDLES", raising=False)
    built = tmp_path / BUILT / copy.name
    built.parent.mkdir(parents=True)
    copy.rename(built)
    (built.parent / "mine").write_text(copy.name + "\n")
    monkeypatch.chdir(tmp_path)
    for name in ("mine", copy.name[:6]):
        assert find_bundle(name).resolve() == built.resolve()
    (built.parent / (copy.name[:6] + "-other")).mkdir()
    with pytest.raises(BundleError, match="2 bundles"):
        find_bundle(copy.name[:6])


def test_weights_are_kept_for_fine_tuning(tiny_bundle: Path) -> None:
    from asr.model.acoustic import AcousticModel
    from asr.model.pretrained import load_weights
    from asr.model.torch_engine import TorchEngine

    bundle = load_bundle(tiny_bundle)
    model = AcousticModel(bundle.model, len(bundle.tokens))
    load_weights(model, tiny_bundle)
    engine, served = TorchEngine(model), bundle.engine()
    mel = np.random.default_rng(0).normal(0, 1, (1, served.geometry.window, 80)).astype(np.float32)
    expected, _ = engine.step(mel, engine.initial_state(1))
    found, _ = served.step(mel, served.initial_state(1))
    assert np.abs(expected - found).max() < 1.0
    assert (tiny_bundle / ENGINE).stat().st_size > 0


def test_another_language_model_leaves_weights_and_settings_as_they_are(tiny_bundle: Path, tmp_path: Path) -> None:
    parent = load_bundle(tiny_bundle)
    for number, text in enumerate(("call home", "play music")):
        write_arpa(estimate([text], order=2), tmp_path / f"{number}.arpa.gz")
        found = load_bundle(exchange_lm(parent, tmp_path / "bundles", tmp_path / f"{number}.arpa.gz", about={"n": 1}))
        assert found.lexicon() == tuple(sorted(text.split()))
        assert (found.path / "lm.arpa.gz").read_bytes() == (tmp_path / f"{number}.arpa.gz").read_bytes()
        assert {found.path / ENGINE, found.path / WEIGHTS} <= set(found.path.iterdir())
        assert (found.path / WEIGHTS).read_bytes() == (parent.path / WEIGHTS).read_bytes()
        assert (found.path / ENGINE).read_bytes() == (parent.path / ENGINE).read_bytes()
        assert (found.decoder, found.about) == (parent.decoder, {"n": 1})
        parent = found


def test_how_unknown_words_are_looked_for_stays_with_the_model(tiny_run: Path, tmp_path: Path) -> None:
    settings = UnknownConfig(threshold=0.6, join=0.01)
    built = build_bundle(tiny_run, tmp_path, decoder=DecoderConfig(beam_width=4), unknown=settings)
    parent = load_bundle(built)
    assert parent.unknown == settings
    write_arpa(estimate(["call home"], order=2), tmp_path / "lm.arpa.gz")
    child = load_bundle(exchange_lm(parent, tmp_path, tmp_path / "lm.arpa.gz", about={}))
    assert child.unknown == settings
    (built / UNKNOWN).write_text("threshold: 0.1\n")
    with pytest.raises(BundleError, match=rf"{UNKNOWN} is not what was built"):
        load_bundle(built)


def test_a_bundle_without_own_settings_takes_the_defaults(tiny_bundle: Path) -> None:
    assert not (tiny_bundle / UNKNOWN).exists()
    assert load_bundle(tiny_bundle).unknown == UnknownConfig()
