"""From recordings to manifests: reading, checking, normalising, splitting, describing."""

from asr.corpus.manifest import AudioReader, Manifest, Problem, Utterance, read_manifest, write_manifest

__all__ = ["AudioReader", "Manifest", "Problem", "Utterance", "read_manifest", "write_manifest"]
