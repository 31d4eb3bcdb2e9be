import subprocess
import sys

import pytest

from services.cli.main import main

_SERVING = (
    "services.recognizer.server",
    "services.cli.serve",
    "services.cli.transcribe",
    "services.client",
    "asr.recognize",
)


def test_an_unknown_option_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "--no-such-option"]) == 2
    assert capsys.readouterr().err.splitlines()[0].startswith("error: No such option: --no-such-option")


def test_a_package_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "asr.recognize", None)
    with pytest.raises(ModuleNotFoundError):  # one of ours is a mistake of ours, not of the user
        main(["transcribe", "a.wav"])
    monkeypatch.undo()
    for name in [name for name in sys.modules if name.startswith("asr")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert main(["transcribe", "a.wav"]) == 4
    message = capsys.readouterr().err
    assert "soundfile" in message
    assert "pip install 'dengar[serve]'" in message


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (("services.cli.main", "services.client"), ("torch", "onnxruntime", "scipy", "numba", "soundfile", "pydantic")),
        (_SERVING, ("torch", "torchaudio", "librosa", "mlflow", "matplotlib")),
    ],
    ids=["client", "server"],
)
def test_importing_it_needs_nothing_heavier(modules: tuple[str, ...], unwanted: tuple[str, ...]) -> None:
    code = (
        f"import sys\nfor name in {unwanted!r}: sys.modules[name] = None\n"  # an import of it raises
        + "".join(f"import {name}\n" for name in modules)
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_shell_completion_is_generated() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli.main"],
        env={"_DENGAR_COMPLETE": "complete_bash", "COMP_WORDS": "dengar tra", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == {"train", "transcribe"}, done.stderr
