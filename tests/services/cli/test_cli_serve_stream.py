"""`dengar serve` as a process with a real bundle, and `dengar stream` against it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from asr.recognize import Recognizer
from services.cli.main import main
from services.client import Client, Options, SpeechServiceError
from tests.services.conftest import encoded, tones

RAW = Options(encoding="LINEAR16", sample_rate_hz=16_000)
SAMPLES = np.rint(tones("one two three four") * 32767).astype(np.float32) / 32768


@contextlib.contextmanager
def serve_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """Runs `dengar serve`; yields the process and its ready line."""
    command = [
        sys.executable,
        "-m",
        "services.cli.main",
        "serve",
        "--port",
        "0",
        "--json",
        "--threads",
        "2",
        *arguments,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield process, json.loads(line)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(tiny_bundle: Path) -> Iterator[str]:
    with serve_process("--bundle", str(tiny_bundle)) as (_, ready):
        yield f"{ready['host']}:{ready['port']}"


@pytest.fixture(scope="module")
def expected(tiny_bundle: Path) -> str:
    """What the library itself makes of `SAMPLES`."""
    text = Recognizer.open(tiny_bundle).transcribe(SAMPLES)[0].text
    assert len(text) > 3
    return text


@pytest.mark.parametrize("packet", [331, 3200, 60_000])
def test_the_service_says_what_the_library_says(server: str, expected: str, packet: int) -> None:
    data = np.rint(SAMPLES * 32768).astype("<i2").tobytes()
    with Client(server) as client:
        results = list(client.stream((data[i : i + packet] for i in range(0, len(data), packet)), RAW))
        assert results[-1].text == expected
        assert client.recognize(data, RAW).text == expected
        assert client.recognize(encoded(SAMPLES, 16_000, "FLAC")).text == expected
    assert all(0 <= result.stability <= 1 for result in results)


def test_stream_prints_lines_and_json(
    server: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "query.wav"
    path.write_bytes(encoded(SAMPLES, 16_000, "WAV"))
    assert main(["stream", str(path), "--address", server, "--no-realtime"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split("final", 1)[1].strip() == expected
    assert main(["stream", str(path), "--address", server, "--no-realtime", "--no-interim", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line)
    assert (row["event"], row["text"]) == ("final", expected)
    assert [word["word"] for word in row["words"]] == expected.split()
    assert set(row["words"][0]) == {"word", "start_s", "end_s", "confidence"}
    assert row["audio_s"] == pytest.approx(len(SAMPLES) / 16_000)


def test_stream_keeps_the_pace_of_speech(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "query.flac"
    path.write_bytes(encoded(SAMPLES[:16_000], 16_000, "FLAC"))
    began = time.monotonic()
    assert main(["stream", str(path), "--address", server]) == 0
    assert time.monotonic() - began > 0.9
    assert "final" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("text.wav", b"not audio at all, but words", "not to be seen from its first bytes"),
        ("empty.wav", b"", "is empty"),
        ("cut.flac", encoded(SAMPLES, 16_000, "FLAC")[:9000], "truncated|ends in the middle"),
        ("many.wav", encoded(np.zeros((9600, 6)), 96_000, "WAV", "PCM_24"), "6 channels at 96000 Hz"),
        ("short.wav", encoded(SAMPLES[:160], 16_000, "WAV"), "too short"),
    ],
)
def test_stream_says_what_is_wrong_with_a_file(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert main(["stream", str(tmp_path / name), "--address", server, "--no-realtime"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert any(part in line for part in says.split("|"))


def test_stream_without_server_or_microphone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "query.wav"
    path.write_bytes(encoded(SAMPLES, 16_000, "WAV"))
    assert main(["stream", str(path), "--address", "127.0.0.1:1"]) == 1
    assert "start one with: dengar serve" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["stream", "mic", "--address", "127.0.0.1:1"]) == 4
    assert "arecord" in capsys.readouterr().err


def test_mic_records_through_arecord(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, expected: str
) -> None:
    data = tmp_path / "samples.raw"
    data.write_bytes(np.rint(SAMPLES * 32768).astype("<i2").tobytes())
    recorder = tmp_path / "arecord"
    recorder.write_text(f'#!/bin/sh\n[ "$*" = "-q -t raw -f S16_LE -c 1 -r 16000" ] && exec /bin/cat {data}\n')
    recorder.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["stream", "mic", "--whole", "--address", server, "--no-interim"]) == 0
    assert capsys.readouterr().out.split("final", 1)[1].strip() == expected
    recorder.write_text("#!/bin/sh\necho 'arecord: no soundcards found' >&2\nexit 1\n")
    assert main(["stream", "mic", "--address", server]) == 2
    assert "no soundcards found" in capsys.readouterr().err


def test_sigterm_lets_running_streams_finish(tiny_bundle: Path, expected: str) -> None:
    data = np.rint(SAMPLES * 32768).astype("<i2").tobytes()
    with serve_process("--bundle", str(tiny_bundle)) as (process, ready):
        address = f"127.0.0.1:{ready['port']}"
        assert ready["bundle"] == Recognizer.open(tiny_bundle).bundle_hash
        refused = []
        admitted = threading.Event()

        def source() -> Iterator[bytes]:
            yield data[: len(data) // 2]
            assert admitted.wait(30)
            os.kill(process.pid, signal.SIGTERM)
            for _ in range(50):
                time.sleep(0.05)
                with Client(address) as late:
                    try:
                        late.recognize(SAMPLES, RAW, timeout_s=5)
                    except SpeechServiceError as error:
                        refused.append(str(error))
                        break
            yield data[len(data) // 2 :]

        with Client(address) as client:
            results = []
            for result in client.stream(source(), RAW, timeout_s=120):
                results.append(result)
                admitted.set()
        assert results[-1].text == expected
        assert len(refused) == 1
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert "Traceback" not in said
        assert all("dengar.audit" in line or "draining" in line for line in said.splitlines()), said


def test_a_stream_ends_when_its_server_dies_while_the_speaker_is_quiet(tiny_bundle: Path) -> None:
    over = threading.Event()
    with serve_process("--bundle", str(tiny_bundle)) as (process, ready):

        def quiet() -> Iterator[bytes]:
            yield bytes(32_000)
            time.sleep(0.3)
            process.kill()
            over.wait(5)
            yield bytes(3200)

        with Client(f"127.0.0.1:{ready['port']}") as client:
            client.info()
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(SpeechServiceError) as caught:
                list(client.stream(quiet(), RAW, timeout_s=15))
            over.set()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_serve_refuses_what_it_cannot_do(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = ["--bundle", str(tiny_bundle)]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", *bundle, "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be listened on" in capsys.readouterr().err
    assert main(["serve", *bundle, "--max-streams", "0"]) == 2
    assert "max_streams" in capsys.readouterr().err
    assert main(["serve", "--bundle", "no-such-bundle"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_a_stream_of_random_packets_matches_the_whole(server: str, expected: str) -> None:
    rng = np.random.default_rng(9)
    data = np.rint(SAMPLES * 32768).astype("<i2").tobytes()
    cuts = [0, *sorted(rng.integers(0, len(data), 60).tolist()), len(data)]
    with Client(server) as client:
        *_, final = client.stream((data[a:b] for a, b in itertools.pairwise(cuts)), RAW)
    assert final.text == expected


def test_numpy_gets_no_threads_beside_the_workers() -> None:
    pytest.importorskip("threadpoolctl")
    code = (
        "import sys, services.cli.main, services.cli.serve as serve\n"
        "assert 'numpy' not in sys.modules, 'too late for the setting'\n"
        "serve.keep_numpy_to_one_thread()\n"
        "import numpy, threadpoolctl\n"
        "print([each['num_threads'] for each in threadpoolctl.threadpool_info()])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[1]"
