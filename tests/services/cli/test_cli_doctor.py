import json
from pathlib import Path

import pytest

from services.cli.doctor import Finding, missing_packages
from services.cli.main import main


def test_it_looks_at_everything_and_exits_1_without_a_bundle(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DENGAR_BUNDLES", str(tmp_path))
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["can_serve"] is False
    topics = {finding["topic"]: finding for finding in report["findings"]}
    for topic in ("Python", "base", "[serve]", "[train]", "torch", "torchaudio", "disk"):
        assert topics[topic]["state"] == "ok", topics[topic]
    assert "no bundle called 'default'" in topics["bundle"]["found"]
    assert "dengar bundle build" in topics["bundle"]["remedy"]
    assert all(finding["state"] == "ok" or finding["remedy"] for finding in report["findings"])


def test_for_people_it_prints_a_line_each_and_the_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [
        Finding("[serve]", "ok", "every package", serves=True),
        Finding("microphone", "missing", "nothing that records", "plug one in"),
    ]
    monkeypatch.setattr("services.cli.doctor.examine", lambda: iter(findings))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "ok      [serve]      every package" in out
    assert "-> plug one in" in out
    assert "dengar serve has what it needs" in out


def test_requirements_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=2", "surely-not-there>=1; extra == 'serve'", 'numpy[x]>1 ; extra == "serve"']
    monkeypatch.setattr("importlib.metadata.requires", lambda _: wanted)
    assert missing_packages("serve") == ["surely-not-there>=1"]
    assert missing_packages("") == []
