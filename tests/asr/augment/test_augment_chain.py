"""The augmenter: exact SNR, reproducible draws, lengths, no clipping, held-out noise never heard in training."""

import json
import pickle

import numpy as np
import pytest
import soundfile
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from asr.augment import AugmentConfig, Augmenter, active_speech_level_db, noise_level_db
from asr.augment.noise import NoiseFiles, heldout_patterns
from asr.augment.room import RoomBank, from_direct_sound, reverberate
from asr.errors import ConfigError

RATE_HZ = 16_000
SMALL = {"clips": 3, "clip_s": 3.0, "babble_probability": 0.3, "music_probability": 0.3}


def speech(seed=0, duration_s=2.0, level=0.1):
    rng = np.random.default_rng(seed)
    knots = np.maximum(rng.uniform(-0.6, 1.0, size=int(duration_s * 4) + 2), 0.0)
    envelope = np.interp(np.linspace(0, len(knots) - 1, int(duration_s * RATE_HZ)), np.arange(len(knots)), knots)
    return np.clip(level * envelope * rng.standard_normal(len(envelope)), -1.0, 1.0).astype(np.float32)


def everything(**changes):
    values = {
        "speed": {"probability": 0.6},
        "room": {"probability": 0.6, "rooms": 4, "kinds": {"car": 1.0, "home": 0.5}},
        "noise": {
            "probability": 0.8,
            "snr_db": [{"range_db": [-5, 5]}, {"range_db": [5, 25]}],
            "kinds": {"cabin": 1, "files": 1, "babble": 1},
        },
        "cabin": SMALL,
        "channel": {"probability": 0.7, "kinds": dict.fromkeys(CHANNEL_KINDS, 1.0)},
        "gain": {"probability": 0.9, "range_db": [-25, 10]},
    }
    return AugmentConfig.from_dict({**values, **changes})


CHANNEL_KINDS = ("microphone", "telephone", "mulaw", "gsm", "g722", "mp3", "opus", "aac")


@pytest.fixture(scope="module")
def noise_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(11)
    for name in ("street", "storm", "city", "esc10-rain-5-181766-A", "esc10-rain-1-17367-A", "5-181766-A-10"):
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(2 * RATE_HZ), RATE_HZ)
    barks = np.zeros(4 * RATE_HZ)
    barks[10_000:14_000] = 0.5 * rng.standard_normal(4000)
    soundfile.write(folder / "barks.wav", barks, RATE_HZ)
    return folder


@pytest.fixture(scope="module")
def full(noise_dir):
    return Augmenter(everything(), seed=5, noise_dir=noise_dir)


@pytest.fixture(scope="module")
def noises(noise_dir):
    """One augmenter per kind of noise, which do nothing else."""
    return {
        kind: Augmenter(
            AugmentConfig.from_dict({"noise": {"probability": 1, "kinds": {kind: 1}}, "cabin": SMALL}), 1, noise_dir
        )
        for kind in ("cabin", "files", "babble")
    }


@settings(derandomize=True, deadline=None, max_examples=25, phases=[Phase.generate])
@given(
    snr_db=st.floats(-10.0, 30.0),
    kind=st.sampled_from(["cabin", "files", "babble"]),
    seed=st.integers(0, 1000),
    duration_s=st.floats(0.4, 7.0),
    level=st.floats(0.005, 0.8),
)
def test_the_snr_is_the_one_asked_for(noises, snr_db, kind, seed, duration_s, level):
    clean = speech(seed, duration_s, level)
    assume(active_speech_level_db(clean)[0] > -80)  # a draw may hold nothing but pauses
    augmenter = noises[kind]
    augmenter.config = augmenter.config.with_snr(snr_db)
    result, draws = augmenter.apply(clean, f"utterance {seed}")
    noise = result.astype(np.float64) / draws["mix_scale"] - clean
    assert active_speech_level_db(clean)[0] - noise_level_db(noise) == pytest.approx(snr_db, abs=0.05)
    assert draws["snr_db"] == snr_db
    assert len(result) == len(clean)


@settings(derandomize=True, deadline=None, max_examples=40, phases=[Phase.generate])
@given(seed=st.integers(0, 1000), duration_s=st.floats(0.05, 5.0), level=st.floats(0.0, 3.0), epoch=st.integers(0, 9))
def test_output_is_finite_unclipped_and_as_long_as_its_speed_says(full, seed, duration_s, level, epoch):
    clean = speech(seed, duration_s, level)
    result, draws = full.apply(clean, f"id-{seed}", epoch)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert np.abs(result).max(initial=0.0) < 1.0 or draws["noise"] == draws["room"] == draws["channel"] == "none"
    assert len(result) == pytest.approx(len(clean) / draws["speed"], abs=1.5)
    assert json.loads(json.dumps(draws)) == draws


def test_same_seed_same_result_whatever_was_asked_before(full, noise_dir):
    clean = speech(1)
    fresh = Augmenter(everything(), seed=5, noise_dir=noise_dir)
    np.random.seed(1)  # global state must not matter
    for index in range(8):
        expected, expected_draws = full.apply(clean, f"u{index}", 2)
        result, draws = fresh.apply(clean, f"u{index}", 2)
        np.testing.assert_array_equal(result, expected)
        assert draws == expected_draws
    travelled = pickle.loads(pickle.dumps(full))
    np.testing.assert_array_equal(travelled.apply(clean, "u3", 2)[0], full.apply(clean, "u3", 2)[0])


def test_seed_id_and_epoch_each_change_the_draws(full, noise_dir):
    clean = speech(2)
    _, base = full.apply(clean, "u", 0)
    others = [full.apply(clean, "v", 0)[1], full.apply(clean, "u", 1)[1]]
    others.append(Augmenter(everything(), seed=6, noise_dir=noise_dir).apply(clean, "u", 0)[1])
    assert all({**draws, "seed": 0, "epoch": 0} != {**base, "seed": 0, "epoch": 0} for draws in others)


def test_the_global_generators_are_left_alone(full):
    import random

    before = random.getstate(), np.random.get_state()[1].tolist()
    for index in range(20):
        full.apply(speech(index, 0.5), f"u{index}")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_every_rung_of_the_ladder_meets_the_same_noise():
    clean = speech(3)
    rungs = [Augmenter(AugmentConfig.noise_at_snr(snr), 7).apply(clean, "u") for snr in (20.0, 0.0)]
    places = [(draws["clip"], draws["noise_start_s"], draws["drive"]) for _, draws in rungs]
    assert places[0] == places[1]
    parts = [result.astype(np.float64) / draws["mix_scale"] - clean for result, draws in rungs]
    assert np.corrcoef(parts[0], parts[1])[0, 1] == pytest.approx(1.0, abs=1e-4)


def test_test_cabins_are_not_those_of_training():
    train = Augmenter(AugmentConfig.noise_at_snr(5, heldout="exclude"), 7)
    test = Augmenter(AugmentConfig.noise_at_snr(5), 7)
    assert train.apply(speech(3), "u")[1]["drive"] != test.apply(speech(3), "u")[1]["drive"]


def test_training_never_hears_held_out_noise_and_counts_it(noise_dir):
    config = {"probability": 1.0, "kinds": {"files": 1.0}}
    augmenter = Augmenter(AugmentConfig.from_dict({"noise": config}), 1, noise_dir)
    assert sorted(augmenter.skipped_heldout) == [
        "5-181766-A-10.wav", "city.wav", "esc10-rain-5-181766-A.wav", "storm.wav"
    ]  # fmt: skip
    heard = {augmenter.apply(speech(0, 0.5), f"u{index}")[1]["noise"] for index in range(60)}
    assert heard == {"file:street", "file:barks", "file:esc10-rain-1-17367-A"}
    tested = Augmenter(AugmentConfig.noise_at_snr(0, kind="files"), 1, noise_dir)
    heard = {tested.apply(speech(0, 0.5), f"u{index}")[1]["noise"] for index in range(60)}
    assert heard == {"file:storm", "file:city", "file:esc10-rain-5-181766-A", "file:5-181766-A-10"}


def test_naming_a_held_out_file_for_training_is_refused(noise_dir):
    config = AugmentConfig.noise_at_snr(5, kind="files", files=("storm",), heldout="exclude")
    with pytest.raises(ConfigError, match="reserved for testing"):
        Augmenter(config, 1, noise_dir)
    assert "storm" in heldout_patterns()


def test_missing_or_empty_noise_folders_are_refused(tmp_path, noise_dir):
    files_only = AugmentConfig.noise_at_snr(5, kind="files")
    with pytest.raises(ConfigError, match="no folder of noise files"):
        Augmenter(files_only, 1)
    with pytest.raises(ConfigError, match="holds no noise files"):
        Augmenter(files_only, 1, tmp_path)
    with pytest.raises(ConfigError, match="no noise file matches"):
        Augmenter(AugmentConfig.noise_at_snr(5, kind="files", files=("nothing*",)), 1, noise_dir)


def test_pieces_of_gappy_recordings_hold_sound(noise_dir):
    files = AugmentConfig.noise_at_snr(5, kind="files", files=("barks",), heldout="exclude")
    augmenter = Augmenter(files, 1, noise_dir)
    for index in range(20):
        _, draws = augmenter.apply(speech(0, 0.5), f"u{index}")
        assert draws["noise"] == "file:barks", draws


def test_decoded_noise_is_kept_within_bounds(noise_dir, monkeypatch):
    monkeypatch.setattr("asr.augment.noise.CACHED_S", 4.5)
    files = NoiseFiles(noise_dir, AugmentConfig.noise_at_snr(0, kind="files", heldout="include").noise)
    for index in range(len(files.paths)):
        assert len(files.load(index)) > RATE_HZ
        assert len(files._cache) <= 2


def test_silence_gets_no_noise_and_says_so(noises):
    result, draws = noises["cabin"].apply(np.zeros(RATE_HZ, np.float32), "silent")
    assert not result.any()
    assert draws["noise"] == "none"
    assert draws["noise_left_out"] == "no active speech"


def test_clean_preset_changes_nothing():
    clean = speech(4)
    result, draws = Augmenter(AugmentConfig.load("clean"), 1).apply(clean, "u")
    np.testing.assert_array_equal(result, clean)
    assert (draws["speed"], draws["room"], draws["noise"], draws["channel"], draws["gain_db"]) == (
        1.0, "none", "none", "none", 0.0
    )  # fmt: skip


def test_the_training_preset_draws_in_the_proportions_it_states(noise_dir):
    config = AugmentConfig.load("car")
    quick = config.model_copy(update={"cabin": config.cabin.model_copy(update={"clips": 2, "clip_s": 2.0})})
    augmenter = Augmenter(quick, 1, noise_dir)
    draws = [augmenter.apply(speech(0, 0.1), f"u{index}")[1] for index in range(400)]
    noisy = [draw for draw in draws if draw["snr_db"] is not None]
    assert len(noisy) / 400 == pytest.approx(0.7, abs=0.07)
    assert all(-5.0 <= draw["snr_db"] <= 25.0 for draw in noisy)
    assert np.mean([0.0 <= draw["snr_db"] <= 20.0 for draw in noisy]) == pytest.approx(0.76, abs=0.08)
    assert np.mean([draw["noise"] == "cabin" for draw in noisy]) == pytest.approx(0.5, abs=0.09)
    assert np.mean([draw["room"] != "none" for draw in draws]) == pytest.approx(0.4, abs=0.08)
    assert np.mean([draw["channel"] != "none" for draw in draws]) == pytest.approx(0.25, abs=0.07)
    assert {draw["speed"] for draw in draws} == {0.9, 1.0, 1.1}


def test_a_faster_speaker_is_higher_and_shorter():
    tone = (0.3 * np.sin(2.0 * np.pi * 1000.0 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    config = AugmentConfig.from_dict({"speed": {"probability": 1.0, "factors": [1.1]}})
    result, _ = Augmenter(config, 1).apply(tone, "u")
    assert len(result) == pytest.approx(RATE_HZ / 1.1, abs=1)
    peak_hz = np.abs(np.fft.rfft(result)).argmax() * RATE_HZ / len(result)
    assert peak_hz == pytest.approx(1100.0, abs=2.0)


def test_rooms_keep_times_and_decay():
    config = AugmentConfig.from_dict({"room": {"probability": 1.0, "rooms": 6, "kinds": {"car": 1, "home": 1}}}).room
    bank = RoomBank(config, seed=1)
    kinds = set()
    for index in range(6):
        response, what = bank.response(index)
        kinds.add(what["room"])
        assert np.abs(response).argmax() < 0.01 * RATE_HZ
        energy = np.cumsum(np.square(response[::-1]))[::-1]
        late_db = 10.0 * np.log10(energy[int(0.05 * RATE_HZ)] / energy[0]) if len(response) > 800 else -np.inf
        assert late_db < (-10.0 if what["room"] == "car" else 0.0)
    assert kinds == {"car", "home"}
    click = np.zeros(4000, np.float32)
    click[1000] = 1.0
    assert abs(int(np.abs(reverberate(click, bank.response(0)[0])).argmax()) - 1000) < 160


def test_recorded_responses_are_used_from_their_direct_sound_on(tmp_path):
    response = np.zeros(4000)
    response[700], response[900] = 0.5, -0.2
    soundfile.write(tmp_path / "hall.wav", response, RATE_HZ)
    config = AugmentConfig.from_dict({"room": {"probability": 1.0, "rooms": 1, "kinds": {"files": 1.0}}})
    result, draws = Augmenter(config, 1, room_dir=tmp_path).apply(np.eye(1, 2000, 500, dtype=np.float32)[0] / 2, "u")
    assert draws["room"] == "file:hall"
    assert abs(int(np.abs(result).argmax()) - 500) <= 8
    assert from_direct_sound(response.astype(np.float32))[208] == pytest.approx(-0.4, abs=1e-3)
    with pytest.raises(ConfigError, match="impulse responses"):
        Augmenter(config, 1)
    with pytest.raises(ConfigError, match="holds no impulse responses"):
        Augmenter(config, 1, room_dir=tmp_path / "nowhere")
