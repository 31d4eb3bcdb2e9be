from pathlib import Path

import numpy as np
import pytest

from asr import audio
from asr.corpus import Utterance, read_manifest, write_manifest
from asr.errors import ManifestError
from asr.evaluate import RunConfig, recognise
from asr.evaluate.parallel import PIECE, recognise_in_parallel
from asr.recognize import Recognizer


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(PIECE + 3):
        path = tmp_path / f"{number}.wav"
        if number != 2:
            audio.save(path, rng.normal(0, 0.1, 8000 + 400 * number).astype(np.float32))
        rows.append(Utterance(path.name, 0.5, "one two"))
    write_manifest(tmp_path / "items.jsonl", rows)
    return tmp_path / "items.jsonl"


@pytest.mark.parametrize("jobs", [1, 2])
def test_it_is_what_one_process_hears_in_the_same_order(tiny_bundle: Path, manifest: Path, jobs: int) -> None:
    config = RunConfig(snr_db=(None, 5.0), every=1)
    told = []
    found = recognise_in_parallel(tiny_bundle, [manifest], config, jobs, lambda done, total: told.append((done, total)))
    wanted = list(recognise(Recognizer.open(tiny_bundle), [read_manifest(manifest)], config))
    assert [item.key for item in found.items] == [item.key for item in wanted]
    assert [item.hypothesis for item in found.items] == [item.hypothesis for item in wanted]
    assert [item.condition for item in found.items] == [item.condition for item in wanted]
    assert [item.error is not None for item in found.items] == [item.error is not None for item in wanted]
    assert sum(item.error is not None for item in found.items) == 2
    assert told[-1] == (len(wanted), len(wanted))
    assert found.settings["bundle_hash"].startswith(tiny_bundle.name)


def test_every_second_item_of_a_manifest_that_is_there(tiny_bundle: Path, manifest: Path, tmp_path: Path) -> None:
    found = recognise_in_parallel(tiny_bundle, [manifest], RunConfig(every=5), 1)
    assert [item.utterance.audio_filepath for item in found.items] == ["0.wav", "5.wav", "10.wav", "15.wav"]
    with pytest.raises(ManifestError):
        recognise_in_parallel(tiny_bundle, [tmp_path / "none.jsonl"], RunConfig(), 1)
