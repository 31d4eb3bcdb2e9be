"""Which symbols a training has: those of the model that it goes on from, subwords of its transcripts, or characters.

Subwords are symbols of several letters beside all single ones, so that every text can be spelled. Their list is all
there is to them: `asr.decode.types.Tokens.encode` spells with the longest symbol that fits, in training as in the
alignments and searches that come later, so a run or bundle keeps nothing but the list.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr.decode.types import BLANK, WORD_MARK, Tokens
from asr.errors import ConfigError
from asr.train import checkpoint
from asr.train.config import CHARACTERS, TrainConfig

_OUTPUT = "head.output.weight"


def learn_subwords(texts: Sequence[str], characters: Sequence[str], size: int) -> tuple[str, ...]:
    """Symbols learned by byte-pair encoding (Sennrich et al. 2016), as SentencePiece does it; from its input alone.

    SentencePiece's other method also gives probabilities, which a spelling by the longest symbols has no use for.

    Args:
        texts: to learn from, in the characters.
        characters: symbols whose letters are to be spelled, the blank first.
        size: of the list.

    Returns:
        The blank, the bare mark of a word's beginning, every letter, and symbols of several letters.

    Raises:
        ConfigError: fewer symbols than characters, or more than the texts give.
    """
    import sentencepiece

    letters = sorted(set("".join(Tokens(characters).pieces)))
    single = (BLANK, WORD_MARK, *letters)
    if size <= len(single):
        raise ConfigError(f"subwords: {size} are no more than the {len(single)} characters, which are among them")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            character_coverage=1.0,
            required_chars="".join(letters),
            normalization_rule_name="identity",
            split_by_unicode_script=False,  # an apostrophe may stand beside letters
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,  # what is left is <unk>, in whose place stands the blank
            minloglevel=3,
        )
    except RuntimeError as error:
        most = re.search(r"value <= (\d+)", str(error))
        advice = f"set at most {most[1]}" if most else " ".join(str(error).split())
        raise ConfigError(f"subwords: {len(texts)} training texts do not give {size} ({advice})") from error
    learned = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [learned.id_to_piece(place) for place in range(1, learned.get_piece_size())]
    return (*single, *(piece for piece in pieces if len(piece) > 1))


def inherited(config: TrainConfig, folder: Path) -> TrainConfig:
    """The run with the tokens of the run in its folder, of the model whose output layer it takes, or of its teacher.

    Args:
        config: of the run.
        folder: of the run, which need not exist.

    Raises:
        ConfigError: that model has other tokens than the configuration asks for.
    """
    sources = []
    if (folder / checkpoint.LAST).is_file():
        sources.append((folder, "choose another folder for the run"))
    if config.init_from and (not config.init_parts or _OUTPUT.startswith(config.init_parts)):
        sources.append((Path(config.init_from), "take only its encoder (init_parts: [encoder.])"))
    if config.distil:
        sources.append((Path(config.distil.teacher), "choose a teacher that has them"))
    for path, remedy in sources:
        found = _tokens(path)
        if found is None:
            continue
        if not _is_asked_for(found, config):
            asked = f"{config.subwords} subwords" if config.subwords else f"a list of {len(config.tokens)}"
            raise ConfigError(
                f"tokens: {path} has {len(found)}, and not those that are asked for ({asked}); {remedy}, or leave out "
                "tokens and subwords to take what it has"
            )
        return replace(config, tokens=found)
    return config


def with_subwords(config: TrainConfig, texts: Sequence[str]) -> TrainConfig:
    """The run with subwords of these texts as its tokens, if it asks for any and does not have them yet."""
    if config.subwords in {0, len(config.tokens)}:
        return config
    return replace(config, tokens=learn_subwords(texts, config.tokens, config.subwords))


def _is_asked_for(found: tuple[str, ...], config: TrainConfig) -> bool:
    if config.tokens in {CHARACTERS, found}:
        return config.subwords in {0, len(found)}
    given, own = ({*"".join(Tokens(symbols).pieces)} for symbols in (config.tokens, found))
    return config.subwords == len(found) and given == own


def _tokens(path: Path) -> tuple[str, ...] | None:
    """Of a bundle, a run folder or a checkpoint file; None where none are written."""
    if (path / "tokens.json").is_file():
        return tuple(json.loads((path / "tokens.json").read_text(encoding="utf-8")))
    files = (path / checkpoint.FINAL, path / checkpoint.LAST) if path.is_dir() else (path,)
    found = next((file for file in files if file.is_file() and file.suffix == ".pt"), None)
    tokens = checkpoint.load(found).get("tokens") if found else None
    return tuple(tokens) if tokens else None
