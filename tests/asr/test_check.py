"""Served against float, alone against beside loud neighbours; with a bundle of the older form as the one that fails."""

import hashlib
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import save_file

from asr import audio
from asr.bundle import DESCRIPTION, ENGINE, WEIGHTS, Bundle, content_hash, load_bundle
from asr.check import CheckConfig, check, posteriors_together
from asr.corpus import Utterance, read_manifest, write_manifest
from asr.corpus.manifest import Manifest
from asr.decode import Decoder
from asr.engine import PER_BATCH, Engine, OnnxEngine
from asr.errors import InputError
from asr.features import log_mel
from asr.model.acoustic import AcousticModel
from asr.model.export import export_onnx, quantise_onnx
from asr.model.pretrained import load_weights
from asr.model.torch_engine import TorchEngine
from asr.synth import of_engine, open_engine


def model_of(bundle: Bundle) -> AcousticModel:
    model = AcousticModel(bundle.model, len(bundle.tokens))
    load_weights(model, bundle.path)
    return model.eval()


@pytest.fixture(scope="module")
def older_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As bundles were built at first: one activation scale per batch, and no word about it; all weights in float16."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("older") / "bundle"))
    model = model_of(load_bundle(tiny_bundle))
    export_onnx(model, folder / "float.onnx")
    save_file({name: value.half() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    logging.disable(logging.WARNING)
    quantize_dynamic(
        folder / "float.onnx",
        folder / ENGINE,
        op_types_to_quantize=["MatMul", "LSTM"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )
    logging.disable(logging.NOTSET)
    served, source = onnx.load(folder / ENGINE), onnx.load(folder / "float.onnx")
    properties = {entry.key: entry.value for entry in source.metadata_props if entry.key in ("geometry", "state")}
    onnx.helper.set_model_props(served, properties)
    onnx.save(served, folder / ENGINE)
    (folder / "float.onnx").unlink()
    description = json.loads((folder / DESCRIPTION).read_text())
    for name in (ENGINE, WEIGHTS):
        description["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    description["format"] = 1
    description["hash"] = content_hash(description["files"])
    (folder / DESCRIPTION).write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("check")
    rng = np.random.default_rng(0)
    for name, level in (("a", 0.02), ("b", 0.1), ("c", 0.3)):
        audio.save(folder / f"{name}.wav", rng.normal(0, level, 12_000).astype(np.float32))
    lines = [Utterance(f"{name}.wav", 0.75, "call the office", id=name) for name in ("a", "b", "c", "gone")]
    write_manifest(folder / "m.jsonl", lines)
    return read_manifest(folder / "m.jsonl")


def test_int8_and_float_hear_alike_and_missing_audio_is_reported(tiny_bundle, manifest) -> None:
    bundle = load_bundle(tiny_bundle)
    found = check(bundle, TorchEngine(model_of(bundle)), [manifest], CheckConfig(max_relative_wer=0.5, neighbours=2))
    assert found.faults == ()
    assert (found.utterances, found.words, found.beside) == (3, 9, 3)
    assert found.beside_changed == 0
    assert found.beside_difference < 1e-5
    assert 0 < found.mean_difference < found.max_difference < 0.5
    assert ["gone" in problem.where for problem in found.left_out] == [True]
    json.dumps(found.to_json())


def test_a_bundle_of_the_older_form_loads_and_fails_beside_neighbours(older_bundle, manifest) -> None:
    bundle = load_bundle(older_bundle)
    engine = bundle.engine()
    assert engine.arithmetic["activations"] == PER_BATCH
    assert not engine.independent_streams
    limits = CheckConfig(max_relative_wer=10, max_neighbour_difference=1e-4)
    found = check(bundle, TorchEngine(model_of(bundle)), [manifest], limits)
    assert found.beside_difference > 1e-4
    assert ["neighbours" in fault for fault in found.faults] == [True]


def test_a_served_model_that_is_worse_is_told(tiny_bundle, manifest) -> None:
    bundle = load_bundle(tiny_bundle)
    model = model_of(bundle)
    reference = TorchEngine(model)
    decoder = Decoder(bundle.tokens, bundle.decoder, reference.geometry.frame_s)
    heard = []
    for item in manifest.utterances[:3]:
        samples = audio.load(manifest.root / item.audio_filepath)
        (log_probs,) = posteriors_together(reference, [log_mel(samples, bundle.model.features)], bundle.model.features)
        heard.append(decoder.decode(log_probs)[0].text)
    write_manifest(
        manifest.root / "own.jsonl",
        [Utterance(u.audio_filepath, 0.75, t, id=u.id) for u, t in zip(manifest.utterances, heard, strict=False)],
    )
    # What the float model hears is taken for the truth, so the untrained one is worse than it without end.
    own = read_manifest(manifest.root / "own.jsonl")
    stranger = AcousticModel(bundle.model, len(bundle.tokens))
    found = check(bundle, TorchEngine(stranger), [own])
    assert found.wer_float > found.wer_served
    assert found.relative_difference is not None
    assert found.relative_difference < 0
    assert found.faults == ()


def test_nothing_to_hear_is_an_error(tiny_bundle, tmp_path) -> None:
    bundle = load_bundle(tiny_bundle)
    write_manifest(tmp_path / "m.jsonl", [Utterance("gone.wav", 1.0, "call home")])
    with pytest.raises(InputError, match="nothing to check with"):
        check(bundle, bundle.engine(), [read_manifest(tmp_path / "m.jsonl")])


def served_engine(bundle: Bundle, folder: Path) -> Engine:
    """The bundle's own engine, or one built from its weights as bundles are built now."""
    engine = bundle.engine()
    if engine.independent_streams:
        return engine
    export_onnx(model_of(bundle), folder / "float.onnx")
    quantise_onnx(folder / "float.onnx", folder / ENGINE)
    return OnnxEngine(folder / ENGINE)


def test_words_of_the_shipped_model_are_the_same_alone_and_beside_loud_neighbours(tmp_path) -> None:
    bundle = load_bundle()
    engine = served_engine(bundle, tmp_path)
    features = bundle.model.features
    decoder = Decoder(bundle.tokens, bundle.decoder, engine.geometry.frame_s, bundle.language_model())
    speaker = open_engine("espeak")
    voice = of_engine("espeak", "test")[0]
    texts = ("call john at the office", "play the song", "set a timer", "drive to the airport")
    recordings = [speaker.speak(text, voice) for text in texts]
    quiet = [log_mel(samples, features) for samples in recordings]
    loud = [log_mel(samples * np.float32(31.6), features) for samples in recordings]
    for index, mel in enumerate(quiet):
        (alone,) = posteriors_together(engine, [mel], features)
        together = posteriors_together(engine, [*loud[:index], mel, *loud[index + 1 :]], features)[index]
        np.testing.assert_allclose(np.exp(together), np.exp(alone), atol=1e-3)
        expected = decoder.decode(alone)[0].text
        assert expected
        assert decoder.decode(together)[0].text == expected
