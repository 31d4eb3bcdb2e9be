"""The examples for other languages, run as they stand against a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.services.conftest import encoded, serving, tones

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
BIN = Path(sys.executable).parent
GRPCURL = shutil.which("grpcurl", path=str(BIN))
NODE = shutil.which("node", path=str(BIN))
PACKAGES = BIN.parent / "node" / "node_modules"
SAMPLES = tones("one two three")

needs_grpcurl = pytest.mark.skipif(GRPCURL is None, reason="grpcurl has no package for this machine")
needs_node = pytest.mark.skipif(NODE is None or not PACKAGES.is_dir(), reason="Node's packages could not be installed")


async def run(*command: str | Path, cwd: Path = ROOT) -> tuple[int, str, str]:
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(cwd), "DENGAR_PROTO": str(ROOT / "proto")}
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), errors.decode()


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "query.wav"
    path.write_bytes(encoded(SAMPLES, 16_000, "WAV"))
    return path


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The examples, beside the packages that they import."""
    folder = tmp_path / "node"
    shutil.copytree(EXAMPLES / "node", folder)
    (folder / "node_modules").symlink_to(PACKAGES)
    return folder


@needs_grpcurl
async def test_grpcurl_recognises_and_streams(query: Path) -> None:
    async with serving() as address:
        code, out, errors = await run(EXAMPLES / "grpcurl.sh", query, address)
        assert code == 0, errors
        found, texts = json.JSONDecoder(), []
        while out.strip():
            answer, end = found.raw_decode(out.strip())
            out = out.strip()[end:]
            texts += [result["alternatives"][0]["transcript"] for result in answer.get("results", [])]
        assert texts[0] == texts[-1] == "one two three"
        code, out, errors = await run(GRPCURL, "-plaintext", address, "describe", "dengar.v1.Speech")
        assert code == 0, errors
        assert "StreamingRecognize" in out


@needs_node
async def test_node_streams_a_file(query: Path, node: Path) -> None:
    async with serving() as address:
        code, out, errors = await run(NODE, "stream.mjs", query, address, cwd=node)
        assert code == 0, errors
        assert out.splitlines()[-1].split(maxsplit=1) == ["final", "one two three"]
        broken = query.with_name("broken.wav")
        broken.write_bytes(query.read_bytes()[:60])
        code, _, errors = await run(NODE, "stream.mjs", broken, address, cwd=node)
        assert code == 1
        assert errors.startswith("error 3: ")
    assert (await run(NODE, "stream.mjs", cwd=node))[0] == 2


RELAY = """
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "./speech.mjs";
import { relay } from "./relay.mjs";

const [file, address] = process.argv.slice(2);
const socket = new EventEmitter();
socket.send = (text) => console.log(text);
socket.close = (code, reason) => { console.log(JSON.stringify(["closed", code ?? 1000, reason ?? ""])); };
relay(socket, connect(address, process.env.DENGAR_PROTO));
const data = readFileSync(file);
for (let at = 0; at < data.length; at += 1000) socket.emit("message", data.subarray(at, at + 1000), true);
socket.emit("message", Buffer.from("end"), false);
"""


@needs_node
async def test_node_relays_what_a_browser_records(node: Path, tmp_path: Path) -> None:
    import av

    path = tmp_path / "query.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        spoken = np.repeat(SAMPLES, 3)  # 48 kHz
        frame = av.AudioFrame.from_ndarray((spoken * 32_767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    (node / "page.mjs").write_text(RELAY)
    async with serving() as address:
        code, out, errors = await run(NODE, "page.mjs", path, address, cwd=node)
        assert code == 0, errors
        said = [json.loads(line) for line in out.splitlines()]
        assert said[-2] == [True, "one two three"]
        assert said[-1][:2] == ["closed", 1000]
        junk = tmp_path / "junk.webm"
        junk.write_bytes(b"junk" * 500)
        _, out, _ = await run(NODE, "page.mjs", junk, address, cwd=node)
        closed = [row for row in map(json.loads, out.splitlines()) if row[0] == "closed"]
        assert closed[0][1] == 1011  # what comes after the first close a socket ignores
