"""The words before names are those of the grammars."""

from __future__ import annotations

from asr.decode.before_names import BEFORE_NAMES
from asr.learn import load_learn_config
from asr.learn.extension import name_contexts


def test_they_are_what_the_grammars_say() -> None:
    config = load_learn_config()
    assert name_contexts(config.extension, config.seed) == BEFORE_NAMES
