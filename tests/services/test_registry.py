import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.bundle import load_bundle
from asr.errors import BundleError
from services.registry import HISTORY, LIVE, PREVIOUS, ROLLOUT, Registry, Rollout
from tests.services.crashing import crash, full_disk

CRASH_POINTS = (
    "registry.written",
    "registry.previous-set",
    "registry.live-set",
    "registry.copied",
    "registry.adopted",
)
CHANGE = """
import sys; from services.registry import Registry
registry = Registry(sys.argv[1])
registry.promote(sys.argv[2], "killed") if len(sys.argv) > 2 else registry.begin()
"""


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


def assert_whole(registry: Registry) -> None:
    """All aliases point to bundles that are whole, and nothing stands in the way of reading them."""
    aliases = registry.aliases()
    assert LIVE in aliases or "default" in aliases
    for digest in aliases.values():
        load_bundle(registry.path(digest))
    assert all(change.hash in (entry.hash for entry in registry.entries()) for change in registry.history())


@pytest.mark.parametrize(
    "point", [point for point in CRASH_POINTS if point not in ("registry.copied", "registry.adopted")]
)
def test_a_promotion_that_is_killed_leaves_whole_aliases_and_can_be_done_again(
    point: str, registry: Registry, tiny_bundle: Path, other_bundle: Path
) -> None:
    shutil.copytree(other_bundle, registry.folder / other_bundle.name)
    old, new = tiny_bundle.name, other_bundle.name
    registry.promote(new, "first")
    registry.promote(old, "second")
    crash(point, CHANGE, str(registry.folder), new)
    assert_whole(registry)
    assert registry.live() == (new if point == "registry.live-set" else old)
    shutil.copytree(registry.folder, registry.folder.with_name("other"))
    undone = Registry(registry.folder.with_name("other"))  # going back after the crash leads to what was live before
    undone.rollback()
    assert undone.live() == (old if point == "registry.live-set" else new)
    assert registry.promote(new, "again").hash == new
    assert registry.live() == new
    assert registry.aliases()[PREVIOUS] == old
    assert registry.history()[-1].hash == new
    assert_whole(registry)
    assert not list(registry.folder.glob(".*.partial"))


@pytest.mark.parametrize("point", ["registry.copied", "registry.adopted"])
def test_a_registry_whose_beginning_is_killed_begins_again(
    point: str, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shutil.copytree(tiny_bundle, shipped / tiny_bundle.name)
    (shipped / "default").write_text(tiny_bundle.name)
    monkeypatch.setenv("DENGAR_BUNDLES", str(shipped))
    crash(point, CHANGE, str(tmp_path / "registry"))
    registry = Registry(tmp_path / "registry")
    with pytest.raises(BundleError, match="promote a bundle"):
        registry.live()
    registry.begin()
    assert registry.live() == tiny_bundle.name
    assert_whole(registry)
    assert not list(registry.folder.glob(".*.partial"))


def test_a_full_disk_changes_nothing(registry: Registry, tiny_bundle: Path, other_bundle: Path) -> None:
    shutil.copytree(other_bundle, registry.folder / other_bundle.name)
    registry.promote(other_bundle.name)
    before = {path.name: path.read_bytes() for path in registry.folder.iterdir() if path.is_file()}
    with full_disk():
        for change in (
            lambda: registry.promote(tiny_bundle.name),
            registry.rollback,
            lambda: registry.set_rollout(Rollout(tiny_bundle.name, 0.1)),
        ):
            with pytest.raises(BundleError, match=r"cannot be written \(File too large\); nothing is changed"):
                change()
    assert {path.name: path.read_bytes() for path in registry.folder.iterdir() if path.is_file()} == before
    assert registry.rollback().hash == tiny_bundle.name


@given(content=st.binary(max_size=60) | st.sampled_from([b"", b"\n", b"../..", b"/etc", b"**", b"a\0b", b"x" * 300]))
def test_a_damaged_alias_is_one_sentence_and_never_the_default_instead(content: bytes, tmp_path_factory) -> None:
    registry = Registry(tmp_path_factory.mktemp("damaged"))
    (registry.folder / "default").write_text("0123456789ab\n")
    (registry.folder / LIVE).write_bytes(content)
    (registry.folder / ROLLOUT).write_bytes(content)
    with contextlib.suppress(BundleError):
        assert registry.live() == content.decode().strip()
    for read in (lambda: registry.path(LIVE), registry.rollout, registry.entries, registry.history):
        with contextlib.suppress(BundleError):
            read()


def test_a_line_of_history_that_was_cut_off_does_not_spoil_the_next(
    registry: Registry, tiny_bundle: Path, other_bundle: Path
) -> None:
    shutil.copytree(other_bundle, registry.folder / other_bundle.name)
    registry.promote(other_bundle.name)
    with (registry.folder / HISTORY).open("ab") as file:
        file.write(b'{"at": "20\xff')
    registry.promote(tiny_bundle.name)
    assert [change.hash for change in registry.history()] == [other_bundle.name, tiny_bundle.name]
