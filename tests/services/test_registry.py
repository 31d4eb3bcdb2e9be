import json
import shutil
from pathlib import Path

import pytest

from asr.errors import BundleError
from services.registry import HISTORY, LIVE, PREVIOUS, ROLLOUT, Registry, Rollout


@pytest.fixture
def registry(tiny_bundle: Path, tmp_path: Path) -> Registry:
    """Two bundles: a whole one and one whose weights were damaged after its hash was taken."""
    folder = tmp_path / "bundles"
    shutil.copytree(tiny_bundle, folder / tiny_bundle.name)
    shutil.copytree(tiny_bundle, folder / "0123456789ab")
    with (folder / "0123456789ab" / "tokens.json").open("a") as file:
        file.write(" ")
    (folder / "default").write_text(tiny_bundle.name + "\n")
    return Registry(folder)


def test_live_is_the_default_until_something_is_promoted(registry: Registry, tiny_bundle: Path) -> None:
    assert registry.live() == tiny_bundle.name
    change = registry.promote(tiny_bundle.name[:6], "first")
    assert (change.alias, change.hash, change.reason) == (LIVE, tiny_bundle.name, "first")
    assert registry.live() == tiny_bundle.name
    (entry,) = [entry for entry in registry.entries() if entry.hash == tiny_bundle.name]
    assert set(entry.aliases) == {"default", LIVE}
    assert entry.size_bytes > 1000


def test_a_damaged_bundle_is_refused_and_nothing_changes(registry: Registry) -> None:
    before = registry.aliases()
    with pytest.raises(BundleError, match=r"tokens\.json is not what was built"):
        registry.promote("0123456789ab")
    with pytest.raises(BundleError, match="no bundle called"):
        registry.promote("ffff")
    assert registry.aliases() == before
    assert registry.history() == []


def test_rollback_brings_back_what_was_live(registry: Registry, tiny_bundle: Path, other_bundle: Path) -> None:
    with pytest.raises(BundleError, match="nothing was live before"):
        registry.rollback()
    shutil.copytree(other_bundle, registry.folder / other_bundle.name)
    registry.promote(other_bundle.name, "better")
    assert registry.aliases()[PREVIOUS] == tiny_bundle.name
    registry.rollback()
    assert registry.live() == tiny_bundle.name
    assert registry.aliases()[PREVIOUS] == other_bundle.name
    assert [(change.hash, change.before, change.reason) for change in registry.history()] == [
        (other_bundle.name, tiny_bundle.name, "better"),
        (tiny_bundle.name, other_bundle.name, "rollback"),
    ]


def test_a_line_that_a_crash_cut_off_is_left_out(registry: Registry, tiny_bundle: Path) -> None:
    registry.promote(tiny_bundle.name)
    with (registry.folder / HISTORY).open("a") as file:
        file.write(json.dumps({"at": "2026"})[:-3])
    assert len(registry.history()) == 1


def test_an_empty_registry_says_what_to_do(tmp_path: Path) -> None:
    empty = Registry(tmp_path / "nowhere")
    assert empty.entries() == []
    assert empty.aliases() == {}
    with pytest.raises(BundleError, match="promote a bundle"):
        empty.live()


def test_a_trial_names_a_whole_bundle_and_its_shares(registry: Registry, tiny_bundle: Path) -> None:
    assert registry.rollout() is None
    registry.set_rollout(Rollout(tiny_bundle.name[:6], 0.1, 0.5))
    assert registry.rollout() == Rollout(tiny_bundle.name, 0.1, 0.5)
    assert ROLLOUT not in registry.aliases()
    with pytest.raises(BundleError, match="is not what was built"):
        registry.set_rollout(Rollout("0123456789ab", 0.1))
    with pytest.raises(BundleError, match="accepted: 0 to 1"):
        registry.set_rollout(Rollout(tiny_bundle.name, 2.0))
    assert registry.rollout() == Rollout(tiny_bundle.name, 0.1, 0.5)
    (registry.folder / ROLLOUT).write_text("{")
    with pytest.raises(BundleError, match="delete it to end the trial"):
        registry.rollout()
    registry.set_rollout(None)
    assert registry.rollout() is None
