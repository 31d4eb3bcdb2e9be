"""The bundle: one immutable folder, named by the hash of what it holds; what is evaluated is what is served.

::

    bundle.json          format version, the hash of every file, how it was made
    model.yaml           ModelConfig
    tokens.json          output symbols, the CTC blank first
    decoder.yaml         DecoderConfig: beam, language model weight, costs
    unknown.yaml         UnknownConfig fitted to how this model errs, optional (`dengar bench unknown --fit`)
    model.int8.onnx      one streaming step, what is served; its metadata say how it is quantised
    weights.safetensors  what fine-tuning starts from: what the codes of model.int8.onnx leave out of its matrices, and
                         all other weights in float16 (`asr.model.compact`); in format 1 all in float16
    lm.bin | lm.arpa...  n-gram language model, optional; its vocabulary is the lexicon
    names.json           names that were learned since the language model was built, optional (`asr.decode.names`)
    names.arpa.gz        the n-gram over queries that tells where they stand
    README.md            the model card; written from measurements of the bundle, so it is no part of the hash
    NOTICE               whose data and weights it was made from
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.config import config_to_yaml, load_config
from asr.decode import DecoderConfig, LanguageModel, Tokens
from asr.decode.learned import CLASS_MODEL, NAMES, LearnedNames
from asr.decode.names import NamesModel
from asr.engine import OnnxEngine
from asr.errors import BundleError, ConfigError
from asr.model.config import ModelConfig
from asr.unknown.config import UnknownConfig

FORMAT = 2
"""That is written; format 1 differs in ``weights.safetensors`` alone."""
READABLE = (1, FORMAT)
DESCRIPTION = "bundle.json"
ENGINE = "model.int8.onnx"
WEIGHTS = "weights.safetensors"
UNKNOWN = "unknown.yaml"
CARD = "README.md"
DEFAULT_ALIAS = "default"
_NAME = re.compile(r"[\w-][\w.-]{0,254}")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were checked against its hash.

    Attributes:
        path: its folder.
        hash: of its contents, 64 hexadecimal digits.
        model: shape of the acoustic model.
        tokens: output symbols.
        decoder: how it is decoded when nothing else is asked for.
        unknown: how words that it does not know are looked for; the defaults where nothing was fitted to it.
        about: how it was made: run, commit, figures.
    """

    path: Path
    hash: str
    model: ModelConfig
    tokens: Tokens
    decoder: DecoderConfig
    unknown: UnknownConfig
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The first 12 digits of the hash, by which people call it."""
        return self.hash[:12]

    @property
    def lm_path(self) -> Path | None:
        """The language model's file, if it has one."""
        return next(iter(sorted(self.path.glob("lm.*"))), None)

    def language_model(self) -> LanguageModel | None:
        """The n-gram, with the names that were learned since."""
        lm = LanguageModel.load(self.lm_path) if self.lm_path else None
        learned = self.learned_names()
        if lm is None or learned is None:
            return lm
        return NamesModel(lm, LanguageModel.load(self.path / CLASS_MODEL), learned)

    def learned_names(self) -> LearnedNames | None:
        """The names that were learned since the language model was built; None if none ever were."""
        return LearnedNames.load(self.path / NAMES) if (self.path / NAMES).is_file() else None

    def lexicon(self) -> tuple[str, ...]:
        """The words it knows, sorted: the language model's vocabulary and the words of learned names. Others can be
        spelled. Empty without a model."""
        lm = self.language_model()
        return lm.lexicon if lm else ()

    def engine(self, *, threads: int = 1) -> OnnxEngine:
        return OnnxEngine(self.path / ENGINE, threads=threads)


BUILT = Path("work/bundles")
"""Where `dengar bundle build` puts bundles unless told otherwise, below the folder it is called in."""


def bundles_folder() -> Path:
    """The folder of the shipped bundles: ``$DENGAR_BUNDLES``, or ``bundles/`` beside the package."""
    return Path(os.environ.get("DENGAR_BUNDLES") or Path(__file__).resolve().parents[1] / "bundles")


def find_bundle(name: str | Path | None = None) -> Path:
    """The folder of a bundle given by path, by (the beginning of) its hash, or by alias; None is the default.

    A hash or alias is looked up in ``$DENGAR_BUNDLES``, or else among the shipped bundles and then in `BUILT`; a path
    may also be an alias's file.

    Raises:
        BundleError: there is no such bundle, or several.
    """
    name = str(name or DEFAULT_ALIAS)
    path = Path(name)
    if _is_folder(path):
        return path
    folders = [path.parent]
    if path.name == name:
        folders = [bundles_folder()] if os.environ.get("DENGAR_BUNDLES") else [bundles_folder(), BUILT]
    for folder in folders:
        wanted = _pointed_to(folder / path.name) if _NAME.fullmatch(path.name) else ""
        found = [entry for entry in folder.glob(f"{wanted}*") if entry.is_dir()] if wanted else []
        if len(found) == 1:
            return found[0]
        if found:
            raise BundleError(f"{len(found)} bundles called {wanted!r} in {folder}; write more of the hash")
    where = " and ".join(str(folder) for folder in folders)
    raise BundleError(f"no bundle called {path.name!r} in {where}; name a bundle's folder, or train one and build it")


def _is_folder(path: Path) -> bool:
    """Whether it is one; what cannot be a path is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _pointed_to(path: Path) -> str:
    """What an alias's file holds; the name itself if there is no such file.

    Raises:
        BundleError: it cannot be read, or does not hold the beginning of a hash.
    """
    if not path.is_file():
        return path.name
    try:
        found = path.read_bytes().decode("utf-8", errors="replace").strip()
    except OSError as error:
        raise BundleError(f"{path}: the alias cannot be read ({error.strerror})") from error
    if not _NAME.fullmatch(found):
        raise BundleError(f"{path}: the alias is damaged; promote a bundle again")
    return found


def load_bundle(path: str | Path | None = None) -> Bundle:
    """Opens a bundle and checks every file against the hash.

    Raises:
        BundleError: missing, corrupt, changed, or of a format this version does not read.
    """
    path = find_bundle(path)
    try:
        description = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        found_format, files = description["format"], dict(description["files"])
        if not all(isinstance(digest, str) for digest in files.values()):
            raise TypeError("files have no hashes")
    except OSError as error:
        raise BundleError(f"{path}: is not a bundle, {DESCRIPTION} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: {DESCRIPTION} is damaged ({error}); copy the bundle again") from error
    if found_format not in READABLE:
        raise BundleError(
            f"{path}: has format {found_format}, this version of Dengar reads {READABLE[0]} to {FORMAT}; it was made "
            f"by Dengar {description.get('dengar', 'of unknown version')}, use that one"
        )
    for name, digest in files.items():
        if not (path / name).is_file():
            raise BundleError(f"{path}: {name} is missing; copy the bundle again")
        try:
            found_digest = _sha256(path / name)
        except OSError as error:
            raise BundleError(f"{path}: {name} cannot be read ({error.strerror})") from error
        if found_digest != digest:
            raise BundleError(f"{path}: {name} is not what was built (hash differs); copy the bundle again")
    if content_hash(files) != description.get("hash"):
        raise BundleError(f"{path}: {DESCRIPTION} was changed (hash differs); copy the bundle again")
    try:
        tokens = Tokens(json.loads((path / "tokens.json").read_text(encoding="utf-8")))
        return Bundle(
            path=path,
            hash=description["hash"],
            model=load_config(ModelConfig, path / "model.yaml"),
            tokens=tokens,
            decoder=load_config(DecoderConfig, path / "decoder.yaml"),
            unknown=load_config(UnknownConfig, path / UNKNOWN) if UNKNOWN in files else UnknownConfig(),
            about=description.get("about", {}),
        )
    except (ConfigError, OSError) as error:
        raise BundleError(f"{path}: was made by another version of Dengar ({error})") from error


def content_hash(files: Mapping[str, str]) -> str:
    """The bundle's hash from its files' hashes."""
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def build_bundle(
    checkpoint: Path,
    folder: Path,
    *,
    decoder: DecoderConfig,
    unknown: UnknownConfig | None = None,
    chunk_frames: int | None = None,
    lm: Path | None = None,
    names: tuple[Path, ...] = (),
    about: Mapping[str, Any] | None = None,
    card: str = "",
    notice: str = "",
) -> Path:
    """Exports a trained checkpoint and packs it with its language model.

    Args:
        checkpoint: ``final.pt`` of a run, or the run's folder.
        folder: the bundle becomes ``folder/HASH``.
        decoder: settings it is served with.
        unknown: settings of the search for unknown words; None for the defaults.
        chunk_frames: output frames per step, if other than the run's.
        lm: KenLM file to ship.
        names: files of learned names to ship, `asr.decode.learned.NAMES` and `CLASS_MODEL`.
        about: how it was made, for people; kept in ``bundle.json`` and no part of the hash.
        card: model card, Markdown.
        notice: attributions.

    Returns:
        The bundle's folder.
    """
    import dataclasses

    from asr.config import make_config
    from asr.model import compact
    from asr.model.acoustic import AcousticModel
    from asr.model.export import export_onnx, quantise_onnx
    from asr.train import checkpoint as checkpoints

    saved = checkpoints.load(checkpoint / checkpoints.FINAL if checkpoint.is_dir() else checkpoint)
    config = make_config(ModelConfig, saved["model_config"], str(checkpoint))
    encoder = dataclasses.replace(
        config.encoder, chunk_frames=chunk_frames or config.encoder.chunk_frames, pretrained=""
    )
    config = dataclasses.replace(config, encoder=encoder)
    model = AcousticModel(config, len(saved["tokens"]))
    model.load_state_dict(saved["model"])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as temporary:
        work = Path(temporary) / "bundle"
        work.mkdir()
        export_onnx(model, Path(temporary) / "float.onnx")
        quantise_onnx(Path(temporary) / "float.onnx", work / ENGINE)
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        compact.save(weights, work / WEIGHTS, work / ENGINE)
        (work / "model.yaml").write_text(config_to_yaml(config), encoding="utf-8")
        (work / "decoder.yaml").write_text(config_to_yaml(decoder), encoding="utf-8")
        if unknown is not None:
            (work / UNKNOWN).write_text(config_to_yaml(unknown), encoding="utf-8")
        (work / "tokens.json").write_text(json.dumps(saved["tokens"], ensure_ascii=False), encoding="utf-8")
        (work / CARD).write_text(card, encoding="utf-8")
        (work / "NOTICE").write_text(notice, encoding="utf-8")
        if lm is not None:
            shutil.copyfile(lm, work / _lm_name(lm))
        for path in names:
            shutil.copyfile(path, work / path.name)
        facts = {
            "dev": saved.get("dev"),
            "steps": saved.get("steps"),
            "minutes": None if saved.get("elapsed_s") is None else round(saved["elapsed_s"] / 60, 1),
        }
        return _seal(work, folder, {**facts, **(about or {})})


def extend_bundle(
    parent: Bundle,
    folder: Path,
    names: tuple[Path, ...],
    *,
    about: Mapping[str, Any],
    decoder: DecoderConfig | None = None,
) -> Path:
    """Packs a bundle's own model with other learned names.

    Args:
        parent: whose model and language model stay.
        folder: the bundle becomes ``folder/HASH``.
        names: files of learned names, as in `build_bundle`.
        about: how it was made; takes the place of the parent's.
        decoder: settings it is served with; None for the parent's.

    Returns:
        The bundle's folder.
    """
    return _repack(parent, folder, {path.name: path for path in names}, (), about, decoder)


def exchange_lm(parent: Bundle, folder: Path, lm: Path, *, about: Mapping[str, Any]) -> Path:
    """Packs a bundle's own model and decoder settings with another language model; names that it learned stay behind.

    Args:
        parent: whose model and settings stay.
        folder: the bundle becomes ``folder/HASH``.
        lm: KenLM file to ship.
        about: how it was made; takes the place of the parent's.

    Returns:
        The bundle's folder.
    """
    return _repack(parent, folder, {_lm_name(lm): lm}, ("lm.*", NAMES, CLASS_MODEL), about)


def _repack(
    parent: Bundle,
    folder: Path,
    files: Mapping[str, Path],
    without: tuple[str, ...],
    about: Mapping[str, Any],
    decoder: DecoderConfig | None = None,
) -> Path:
    """A bundle with other files in place of some of its own, or beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as temporary:
        work = Path(temporary) / "bundle"
        shutil.copytree(parent.path, work, ignore=shutil.ignore_patterns(DESCRIPTION, CARD, *without))
        for name, path in files.items():
            shutil.copyfile(path, work / name)
        if decoder is not None:
            (work / "decoder.yaml").write_text(config_to_yaml(decoder), encoding="utf-8")
        return _seal(work, folder, about)


def _lm_name(path: Path) -> str:
    """What a language model's file is called in a bundle."""
    return f"lm{''.join(path.suffixes[-2:]) or '.bin'}"


def _seal(work: Path, folder: Path, about: Mapping[str, Any]) -> Path:
    """Describes what lies in `work` and moves it to ``folder/HASH``."""
    from asr import __version__

    for path in work.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner only
    files = {path.name: _sha256(path) for path in sorted(work.iterdir()) if path.name != CARD}
    digest = content_hash(files)
    description = {"format": FORMAT, "hash": digest, "dengar": __version__, "files": files, "about": dict(about)}
    (work / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    target = folder / digest[:12]
    if target.exists():
        shutil.rmtree(target)
    work.rename(target)
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
