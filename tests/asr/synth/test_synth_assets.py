"""Kokoro's files: checked before use, fetched once."""

import shutil

import pytest

from asr.errors import MissingDependencyError
from asr.synth import assets
from asr.synth.kokoro import Kokoro


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the installed files in a cache of its own (the set-up installs them)."""
    shutil.copytree(assets.installed().model.parent, tmp_path / "kokoro", ignore=shutil.ignore_patterns(".*"))
    monkeypatch.setenv("DENGAR_CACHE", str(tmp_path))
    return tmp_path / "kokoro"


@pytest.mark.parametrize("name", ["styles.npz", "symbols.json"])
def test_a_corrupt_file_is_detected(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    assert not assets.is_installed()
    with pytest.raises(MissingDependencyError, match=rf"{name} is corrupt; run: dengar data synth --install"):
        Kokoro()


def test_a_missing_model_names_the_command_that_gets_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DENGAR_CACHE", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="run: dengar data synth --install"):
        Kokoro()


@pytest.mark.usefixtures("copied")
def test_installing_twice_fetches_nothing(monkeypatch):
    monkeypatch.setattr(assets, "_run", lambda *_: pytest.fail("nothing may be fetched"))
    assert assets.install() is False


def test_packages_that_cannot_be_had_are_explained_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DENGAR_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="cannot be fetched") as caught:
        assets.install()
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "kokoro").iterdir()) == []
