"""Recipes: how each kind of corpus is laid out. A new one is one file here and one line in `RECIPES`.

A recipe only reads: it yields `RawItem`s with the text as its corpus writes it, and a `Problem` for every line it
cannot understand. What is kept is decided by the same checks for all (`asr.corpus.checks`).
"""

from asr.corpus.items import Recipe
from asr.corpus.recipes import commonvoice, digits, kaldi, librispeech, packed, pairs, speechcommands, table

RECIPES: dict[str, Recipe] = {
    "table": table.RECIPE,
    "pairs": pairs.RECIPE,
    "librispeech": librispeech.RECIPE,
    "commonvoice": commonvoice.RECIPE,
    "kaldi": kaldi.RECIPE,
    "digits": digits.RECIPE,
    "speechcommands": speechcommands.RECIPE,
    "packed": packed.PACKED,
    "manifest": packed.MANIFEST,
}

__all__ = ["RECIPES"]
