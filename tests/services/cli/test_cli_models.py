"""`dengar models` against a folder and against a real server that follows it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from services.cli.main import main
from services.load.server import served


@pytest.fixture
def registry(tiny_bundle: Path, other_bundle: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "bundles"
    for path in (tiny_bundle, other_bundle):
        shutil.copytree(path, folder / path.name)
    (folder / "default").write_text(tiny_bundle.name + "\n")
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["models", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_show_promote_and_rollback_in_a_folder(registry, tiny_bundle, other_bundle, capsys) -> None:
    listed = told(capsys, "list", "--registry", str(registry))
    assert {row["hash"]: row["aliases"] for row in listed["bundles"]} == {
        tiny_bundle.name: ["default"],
        other_bundle.name: [],
    }
    change = told(capsys, "promote", other_bundle.name[:5], "--registry", str(registry), "--reason", "test")
    assert (change["hash"], change["before"], change["reason"]) == (other_bundle.name, tiny_bundle.name, "test")
    assert told(capsys, "show", "--registry", str(registry))["aliases"]["live"] == other_bundle.name
    assert told(capsys, "rollback", "--registry", str(registry))["hash"] == tiny_bundle.name
    assert main(["models", "show", "--registry", str(registry)]) == 0
    assert "rollback" in capsys.readouterr().out
    assert main(["models", "list", "--registry", str(registry)]) == 0
    assert "previous" in capsys.readouterr().out


def test_what_is_wrong_is_one_sentence(registry, capsys) -> None:
    assert main(["models", "promote", "ffff", "--registry", str(registry)]) != 0
    assert "no bundle called 'ffff'" in capsys.readouterr().err
    assert main(["models", "promote", "--registry", str(registry)]) != 0
    assert "name the bundle" in capsys.readouterr().err
    assert main(["models", "show", "--address", "127.0.0.1:1"]) != 0
    assert "no server answers" in capsys.readouterr().err


def test_a_server_follows_a_trial_and_its_end(registry, tiny_bundle, other_bundle, capsys) -> None:
    with served("--registry", str(registry)) as server:

        def shown() -> dict:
            return told(capsys, "show", "--address", server.address)

        def wait_for(holds) -> dict:
            deadline = time.monotonic() + 20
            while not holds(status := shown()):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            return status

        where = ("--registry", str(registry))
        assert (
            told(capsys, "candidate", other_bundle.name, "--canary", "0.5", *where)["candidate"]["canary_share"] == 0.5
        )
        status = wait_for(lambda status: "candidate" in status)
        assert status["candidate"]["hash"].startswith(other_bundle.name)
        assert status["canary_share"] == 0.5
        assert told(capsys, "show", *where)["candidate"]["hash"] == other_bundle.name
        told(capsys, "promote", other_bundle.name, *where)
        assert told(capsys, "candidate", *where)["candidate"] is None
        status = wait_for(lambda status: status["live"]["hash"].startswith(other_bundle.name))
        assert "candidate" not in status
        assert status["previous_hash"].startswith(tiny_bundle.name)


def test_a_server_follows_the_registry_and_obeys_its_operator(registry, tiny_bundle, other_bundle, capsys) -> None:
    with served("--registry", str(registry)) as server:
        assert server.bundle.startswith(tiny_bundle.name)

        def live() -> str:
            return told(capsys, "show", "--address", server.address)["live"]["hash"][:12]

        told(capsys, "promote", other_bundle.name, "--registry", str(registry))
        deadline = time.monotonic() + 20
        while live() != other_bundle.name:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        status = told(
            capsys, "candidate", str(tiny_bundle), "--address", server.address, "--canary", "0.25", "--shadow", "0.5"
        )
        assert status["candidate"]["hash"].startswith(tiny_bundle.name)
        assert (status["canary_share"], status["shadow_share"]) == (0.25, 0.5)
        assert main(["models", "show", "--address", server.address]) == 0
        assert "candidate" in capsys.readouterr().out
        assert told(capsys, "promote", "--address", server.address)["live"]["hash"].startswith(tiny_bundle.name)
        time.sleep(1.5)  # the registry still says otherwise, but has not changed
        assert live() == tiny_bundle.name
        assert told(capsys, "rollback", "--address", server.address)["live"]["hash"].startswith(other_bundle.name)
