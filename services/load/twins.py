"""A bundle like another: the same model and words under another hash, to swap with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

from asr.bundle import DESCRIPTION, content_hash, load_bundle
from asr.config import config_to_yaml


def twin_of(bundle: Path, folder: Path) -> Path:
    """Makes a bundle that differs from another by one place of its beam.

    Args:
        bundle: to be copied.
        folder: the twin becomes ``folder/HASH``.

    Raises:
        BundleError: the bundle is missing or corrupt.
    """
    found = load_bundle(bundle)
    work = folder / "twin"
    shutil.copytree(found.path, work)
    decoder = dataclasses.replace(found.decoder, beam_width=found.decoder.beam_width + 1)
    (work / "decoder.yaml").write_text(config_to_yaml(decoder), encoding="utf-8")
    description = json.loads((work / DESCRIPTION).read_text(encoding="utf-8"))
    files = {name: hashlib.sha256((work / name).read_bytes()).hexdigest() for name in description["files"]}
    digest = content_hash(files)
    description |= {"files": files, "hash": digest}
    (work / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return work.rename(folder / digest[:12])
