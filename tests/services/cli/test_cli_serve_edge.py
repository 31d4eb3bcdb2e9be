"""A real server process with keys and metrics: what the edge refuses, admits and counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from services.cli.main import main
from services.dengar.v1 import admin_pb2, admin_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from services.load.server import scrape

RAW = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
AUDIO = np.random.default_rng(0).normal(0, 3000, 32_000).astype("<i2").tobytes()


def test_keys_and_metrics_of_a_served_call(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys.json"
    assert main(["keys", "new", "app", "--keys", str(keys), "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["key"]
    command = [
        *(sys.executable, "-m", "services.cli.main", "serve", "--port", "0", "--json", "--bundle", str(tiny_bundle)),
        *("--keys", str(keys), "--metrics-port", "0", "--log-format", "json", "--state", str(tmp_path / "state")),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        request = pb.RecognizeRequest(config=RAW, audio=pb.RecognitionAudio(content=AUDIO))
        with grpc.insecure_channel(f"127.0.0.1:{ready['port']}") as channel:
            speech, admin = speech_pb2_grpc.SpeechStub(channel), admin_pb2_grpc.AdminStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                speech.Recognize(request, timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            mine = [("authorization", f"Bearer {key}")]
            text = speech.Recognize(request, timeout=20, metadata=mine).results[0].alternatives[0].transcript
            with pytest.raises(grpc.RpcError) as caught:
                admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=20, metadata=mine)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        found = scrape(f"http://127.0.0.1:{ready['metrics_port']}/metrics")
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    counted = {name: value for name, value in found.items() if name.startswith("dengar_audio_seconds")}
    assert 2.0 in counted.values(), counted
    assert any("model" in name and value > 0 for name, value in found.items() if "processor" in name), found
    lines = [json.loads(line) for line in errors.splitlines()]
    assert {line["cause"] for line in lines if "cause" in line} == {"no_key", "role"}
    assert key not in errors
    assert not text or text not in errors
