import dataclasses
from pathlib import Path

import pytest

from asr.synth.recipe import read_recipe
from services.cli import demo
from services.cli.main import main
from services.demo.live import Heard, Recording, prompts
from services.demo.loop import Story

ROOT = Path(__file__).resolve().parents[3]


def test_outside_of_a_clone_it_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 2
    assert "experiments/demo.yaml" in capsys.readouterr().err


def test_a_stage_that_fails_stops_the_demo_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    unusable = tmp_path / "file"
    unusable.write_text("in the way")
    monkeypatch.setattr(demo, "_synthesise", lambda *_: None)
    assert main(["demo", "-o", str(unusable)]) != 0
    assert "`dengar data report" in " ".join(capsys.readouterr().err.split())


STORY = Story("ana li", "on a lee", "who is ana li", "call ana li", True, 9.0, 200.0, passed=True, same_server=True)


@pytest.mark.parametrize(
    ("quiet", "story", "failure"),
    [
        (0.10, STORY, ""),
        (0.25, STORY, ""),
        (0.26, STORY, "word errors in quiet"),
        (0.10, dataclasses.replace(STORY, for_good="call on a lee"), "from unknown to recognised"),
        (0.10, dataclasses.replace(STORY, before="who is ana li"), "from unknown to recognised"),
        (0.10, dataclasses.replace(STORY, passed=False), "from unknown to recognised"),
    ],
)
def test_the_verdict_is_about_word_errors_in_quiet_and_the_name(
    quiet: float,
    story: Story,
    failure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("_synthesise", "_command", "_train"):
        monkeypatch.setattr(demo, name, lambda *_: None)
    monkeypatch.setattr(demo, "_evaluate", lambda _: (quiet, 0.5))
    heard = [Heard(Recording(tmp_path / "x.wav", "hello world"), "hello word", 3, 0.02)]
    monkeypatch.setattr(demo, "_converse", lambda *_: heard)
    monkeypatch.setattr(demo, "_loop", lambda *_: story)
    assert main(["demo", "-o", str(tmp_path)]) == bool(failure)
    said = capsys.readouterr()
    assert "word errors 50.0% on 1 recordings" in said.out
    assert f"{quiet:.1%} in quiet" in said.out
    assert ("the demo has failed" in said.err) == bool(failure)
    assert failure in " ".join(said.err.split())


def test_the_data_it_names_is_there_and_fits() -> None:
    for path in demo.NEEDED:
        assert (ROOT / path).is_file()
    train, test = (read_recipe(ROOT / name) for name in ("data/demo-train.yaml", demo.DEV_RECIPE))
    assert train.corpus == test.corpus
    assert {train.split, test.split} == {"train", "test"}
    for recording in prompts(ROOT / demo.PROMPT_TEXTS):
        assert recording.text
        assert set(recording.text) <= set("abcdefghijklmnopqrstuvwxyz' ")
