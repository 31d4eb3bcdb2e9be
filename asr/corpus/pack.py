"""Audio beside its manifest: referred to where it lies, or packed into tar shards."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import soundfile

from asr import audio
from asr.corpus.checks import Kept
from asr.corpus.items import RefReader
from asr.corpus.manifest import Utterance

PackFormat = Literal["keep", "flac", "opus"]


@dataclass(frozen=True, slots=True)
class PackConfig:
    """How shards are written.

    Attributes:
        format: ``keep`` the bytes as they are (a stretch of a recording becomes FLAC), or encode anew.
        shard_bytes: a shard is closed before it grows beyond this.
    """

    format: PackFormat = "keep"
    shard_bytes: int = 45_000_000


def encoded(kept: Kept, config: PackConfig, reader: RefReader) -> tuple[bytes, str]:
    """The bytes of one utterance's audio and their suffix; raises `AudioError`."""
    ref = kept.item.audio
    if config.format == "keep" and not ref.is_segment:
        return reader.read_bytes(ref), PurePosixPath(ref.member or ref.path.name).suffix.lower()
    samples = reader.read(ref)
    file = io.BytesIO()
    if config.format == "opus":
        soundfile.write(file, samples, audio.SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
        return file.getvalue(), ".opus"
    soundfile.write(file, samples, audio.SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue(), ".flac"


def refer(kept: Kept, root: Path, reader: RefReader) -> Utterance:
    """The row of an utterance whose audio stays where it is; a stretch of a recording is cut out into ``audio/``."""
    ref = kept.item.audio
    if ref.is_segment:
        name = f"audio/{kept.utterance.split}/{file_name(kept)}.flac"
        audio.save(root / name, reader.read(ref))
        return replace(kept.utterance, audio_filepath=name)
    path = PurePosixPath(os.path.relpath(ref.path.resolve(), root.resolve())).as_posix()
    if ref.member:
        return replace(kept.utterance, audio_filepath=ref.member, shard=path)
    return replace(kept.utterance, audio_filepath=path)


def pack(
    split: str, pairs: Iterable[tuple[Kept, tuple[bytes, str]]], root: Path, config: PackConfig
) -> Iterator[Utterance]:
    """Writes ``SPLIT-00.tar`` ... and yields the rows; a shard gets its name only when it is whole."""
    number, size = 0, 0
    taken: set[str] = set()
    tar: tarfile.TarFile | None = None
    try:
        for kept, (data, suffix) in pairs:
            if tar is None or (size and size + len(data) > config.shard_bytes):
                number, size = (number, 0) if tar is None else (number + 1, 0)
                _close(tar)
                tar = tarfile.open(root / f"{split}-{number:02d}.tar.partial", "w")  # noqa: SIM115
            name = f"{split}/{_unused(file_name(kept), taken)}{suffix}"
            entry = tarfile.TarInfo(name)  # no times or owners: the same input gives the same bytes
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
            size += len(data)
            yield replace(kept.utterance, audio_filepath=name, shard=f"{split}-{number:02d}.tar")
    except BaseException:
        if tar is not None:
            tar.close()
            Path(str(tar.name)).unlink(missing_ok=True)
        raise
    _close(tar)


def file_name(kept: Kept) -> str:
    """A file name for an utterance: its id, or its recording's name, in letters that every file system takes."""
    ref = kept.item.audio
    name = kept.utterance.id or PurePosixPath(ref.member or ref.path.name).stem
    if not kept.utterance.id and ref.is_segment:
        name += f"-{round(ref.start_s * 1000)}"
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "utterance"


def _unused(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate


def _close(tar: tarfile.TarFile | None) -> None:
    if tar is None:
        return
    tar.close()
    partial = Path(str(tar.name))
    partial.replace(partial.with_suffix(""))
