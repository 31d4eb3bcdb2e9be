"""The commands of docs/train-your-own.md, as they stand, on synthetic speech."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asr.bundle import load_bundle
from asr.corpus import read_manifest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "train-your-own.md"
LIMIT_S = 1800


def blocks():
    """(heading, commands) of every block marked ``bash``."""
    heading, found = "", []
    for part in re.split(r"(?m)^(?=## |```)", PAGE.read_text(encoding="utf-8")):
        if part.startswith("## "):
            heading = part.splitlines()[0][3:]
        elif part.startswith("```bash\n"):
            found.append((heading, part.removeprefix("```bash\n")))
    return found


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A checkout's folder in which every block was run, in one shell that stops at the first failure."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("data", "bundles"):
        (folder / name).symlink_to(ROOT / name)
    steps = [f"echo '== {heading}' >&2\n{commands}" for heading, commands in blocks()]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    script = "set -euo pipefail\n" + "\n".join(steps)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert "Traceback" not in done.stderr
    return folder / "work" / "own"


def test_recordings_become_splits_without_a_shared_speaker(walked):
    splits = {name: read_manifest(walked / "speech" / f"{name}.jsonl").utterances for name in ("train", "dev", "test")}
    assert sum(map(len, splits.values())) >= 40
    speakers = {name: {utterance.speaker for utterance in found} for name, found in splits.items()}
    assert all(speakers.values())
    assert not speakers["train"] & (speakers["dev"] | speakers["test"])
    summary = json.loads((walked / "speech/ingest.json").read_text())
    assert summary["read"] == sum(map(len, splits.values())) + sum(summary["dropped"].values()) == 48


def test_synthetic_speech_leaves_the_held_out_names_alone(walked):
    held_out = (walked / "text/heldout.txt").read_text().lower().splitlines()
    assert held_out
    spoken = " ".join(utterance.text for utterance in read_manifest(walked / "synthetic/manifest.jsonl").utterances)
    assert not [name for name in held_out if name in spoken]


def test_held_out_speakers_are_in_no_training_and_in_no_text(walked):
    run = walked / "runs/fine-tune"
    held_out, trained_on = (read_manifest(run / name).utterances for name in ("held-out.jsonl", "trained-on.jsonl"))
    assert not {row.speaker for row in held_out} & {row.speaker for row in trained_on}
    known = set((walked / "text/transcripts.txt").read_text().splitlines())
    assert known
    assert not known & {row.text for row in held_out}
    page = (walked / "report.html").read_text()
    assert "held-out error" in page
    assert "not measured" not in page
    assert "B against A" in page


def test_the_bundle_holds_the_fine_tuned_model_with_the_own_language_model(walked):
    mine = load_bundle(walked / "bundles" / (walked / "bundles/mine").read_text().strip())
    default = load_bundle()
    assert mine.hash != default.hash
    assert mine.model == default.model
    assert mine.language_model() is not None


def test_everything_the_page_names_is_measured_and_written(walked):
    for file in (
        "data.html",
        "report.html",
        "compare.html",
        "ladder/ladder.html",
        "tune/table.md",
        "runs/scratch/final.pt",
    ):
        assert (walked / file).stat().st_size > 0
    test = len(read_manifest(walked / "speech/test.jsonl").utterances)
    for name in ("mine", "default", "mine-car"):
        overall = json.loads((walked / f"results/{name}/evaluation.json").read_text())["overall"]
        assert overall["utterances"] == test
        assert 0 < overall["wer"]["value"] < 2
    mine = load_bundle(walked / "bundles" / (walked / "bundles/mine").read_text().strip())
    assert len((mine.path / "README.md").read_text()) > 500


def test_the_page_runs_nearly_all_that_it_shows():
    shown = re.findall(r"(?m)^```(\w*)$", PAGE.read_text(encoding="utf-8"))
    kinds = [kind for kind in shown if kind]
    assert kinds.count("bash") == len(blocks()) >= 10
    assert set(kinds) <= {"bash", "text"}
