"""Every voice of every engine stands in exactly one split."""

import os
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from asr.errors import ConfigError
from asr.synth import ENGINES, SPLITS, blend, catalogue, find, of_engine, open_engine


def speaker(voice):
    """Who speaks: espeak's variant without its accent."""
    return (voice.engine, voice.name.split("+")[-1] if voice.engine == "espeak" else voice.name)


def test_splits_share_no_speaker_in_any_accent():
    splits = defaultdict(set)
    for voice in catalogue():
        splits[speaker(voice)].add(voice.split)
    assert splits
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize("engine", ["espeak", "kokoro"])
@pytest.mark.parametrize("split", SPLITS)
def test_each_split_has_women_and_men_of_two_accents(engine, split):
    voices = of_engine(engine, split)
    assert {voice.gender for voice in voices} == {"female", "male"}
    assert {"us", "england"} <= {voice.accent for voice in voices}


def test_every_voice_of_flite_is_assigned():
    listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=True).stdout.split(":")[1].split()
    # kal is kal16 at 8 kHz, awb_time only tells the time.
    assert set(listed) - {"kal", "awb_time"} == {voice.name for voice in of_engine("flite")}


def test_every_variant_of_espeak_is_assigned():
    listed = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True).stdout
    files = {line.split("!v/")[1][:20].rstrip() for line in listed.splitlines()[1:]}
    files = {name.split("  ")[0] for name in files}
    assert files == {voice.name.split("+")[1] for voice in catalogue() if voice.engine == "espeak"}


def test_engines_offer_the_usable_voices_of_the_catalogue():
    for name in ENGINES:
        assert open_engine(name).voices() == list(of_engine(name))


def test_a_blend_stays_in_its_split():
    mixed = find("kokoro:af_bella*0.60+am_puck*0.40")
    assert mixed.split == "train"
    assert mixed.gender == ""
    assert find("kokoro:af_bella*0.50+af_sky*0.50").gender == "female"
    with pytest.raises(ConfigError, match="one split"):
        find("kokoro:af_bella*0.60+af_sarah*0.40")


@pytest.mark.parametrize(
    "name",
    ["kokoro:nobody", "flite", "dectalk:paul", "kokoro:af_bella*0.6+nobody*0.4", "kokoro:af_bella*0.6+af_sky*0.9"],
)
def test_an_unknown_voice_is_refused_in_one_sentence(name):
    with pytest.raises(ConfigError) as caught:
        find(name)
    assert "\n" not in str(caught.value)


def test_blend_refuses_two_engines():
    with pytest.raises(ConfigError):
        blend({of_engine("flite", "train")[0]: 0.5, of_engine("kokoro", "train")[0]: 0.5})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("flite: [{name: slt, split: validation}]", "validation"),
        ("flite: [{name: slt, split: dev}, {name: slt, split: test}]", "twice"),
        ("flite: [{name: slt, pitch: 3}]", "flite"),
        ("- slt", "engines"),
        ("flite: [", "YAML"),
    ],
)
def test_a_bad_catalogue_is_refused(tmp_path: Path, content, complaint):
    path = tmp_path / "voices.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        catalogue(path)


def test_a_missing_catalogue_is_named(tmp_path):
    with pytest.raises(ConfigError, match=os.sep + "nowhere.yaml"):
        catalogue(tmp_path / "nowhere.yaml")
