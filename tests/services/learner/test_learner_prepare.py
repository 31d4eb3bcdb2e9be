from dataclasses import replace
from pathlib import Path

from asr.corpus import read_manifest
from asr.learn import LearnConfig
from asr.learn.config import ReplaySource
from services.learner.gating import GateSet, GatingConfig
from services.learner.prepare import is_needed, prepare


def test_what_is_there_is_kept_and_what_is_not_wanted_is_not_made(tmp_path: Path) -> None:
    made = prepare(tmp_path, train=0, dev=2, jobs=1)
    dev, prompts = tmp_path / "voice-search-dev" / "manifest.jsonl", tmp_path / "prompts" / "manifest.jsonl"
    assert not (tmp_path / "voice-search-train").exists()
    assert len(read_manifest(dev).utterances) == 2
    if made.left_out:  # Debian's prompts are not installed
        assert made.manifests == (dev,)
    else:
        assert made.manifests == (dev, prompts)
        spoken = {row.text for row in read_manifest(prompts).utterances}
        assert {"seventeen", "wednesday", "hello world"} <= spoken
    again = prepare(tmp_path, train=0, dev=2, jobs=1)
    assert again.manifests == ()
    assert again.left_out == made.left_out


def test_speech_to_judge_by_is_always_needed_and_to_replay_only_where_something_is_trained(tmp_path: Path) -> None:
    there, gone = tmp_path / "there.jsonl", tmp_path / "gone.jsonl"
    there.write_text("")
    judged = GatingConfig(corpora=(GateSet("own", str(there)),))
    learn = LearnConfig()
    learn = replace(learn, replay=replace(learn.replay, corpora=(ReplaySource(str(gone)),), fallback=()))
    untrained = replace(learn, tune=replace(learn.tune, steps=0))
    trained = replace(learn, tune=replace(learn.tune, steps=10))
    assert is_needed(untrained, GatingConfig(corpora=(GateSet("own", str(gone)),)))
    assert not is_needed(untrained, judged)
    assert is_needed(trained, judged)
    own = replace(trained, replay=replace(trained.replay, corpora=(ReplaySource(str(there)),)))
    assert not is_needed(own, judged)
