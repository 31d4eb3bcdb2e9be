"""The estimator against KenLM's lmplz, and reading what it writes.

The oracle's files were written from data/lm_text.txt by::

    lmplz -o 3 < lm_text.txt > lmplz_3.arpa
    lmplz -o 3 --prune 0 0 1 < lm_text.txt > lmplz_3_pruned.arpa
    head -3 lm_text.txt | lmplz -o 2 --discount_fallback > lmplz_2_fallback.arpa
"""

import math
from pathlib import Path

import kenlm
import pytest

from asr.decode import LanguageModel
from asr.decode.lm_build import estimate, write_arpa, write_binary
from asr.decode.lm_tools import main as tools_main
from asr.decode.lm_tools import program
from asr.errors import BundleError, ConfigError, InputError, MissingDependencyError

DATA = Path(__file__).parent / "data"
TEXT = (DATA / "lm_text.txt").read_text().splitlines()


def ngrams(path):
    rows = [line.split("\t") for line in path.read_text().splitlines() if "\t" in line]
    return {row[1]: (float(row[0]), float(row[2]) if len(row) > 2 else 0.0) for row in rows}


@pytest.mark.parametrize(
    ("oracle", "text", "options", "fallbacks"),
    [
        ("lmplz_3.arpa", TEXT, {"order": 3}, ()),
        ("lmplz_3_pruned.arpa", TEXT, {"order": 3, "prune": [0, 0, 1]}, ()),
        ("lmplz_2_fallback.arpa", TEXT[:3], {"order": 2}, (1, 2)),
    ],
)
def test_agrees_with_lmplz(tmp_path, oracle, text, options, fallbacks):
    model = estimate(text, **options)
    assert model.fallbacks == fallbacks
    write_arpa(model, tmp_path / "own.arpa")
    own, expected = ngrams(tmp_path / "own.arpa"), ngrams(DATA / oracle)
    assert own.keys() == expected.keys()
    for ngram, (prob, backoff) in expected.items():
        assert own[ngram] == pytest.approx((prob, backoff), abs=2e-6), ngram


@pytest.mark.parametrize("options", [{"order": 2}, {"order": 3}, {"order": 4, "prune": [0, 0, 1]}])
@pytest.mark.parametrize("size", [2, 20, 160])
def test_every_distribution_sums_to_one(tmp_path, options, size):
    model = estimate(TEXT[:size], **options)
    write_arpa(model, tmp_path / "own.arpa.gz")
    lm = LanguageModel.load(tmp_path / "own.arpa.gz")
    for context in ([], ["play"], ["play", "some"], TEXT[0].split(), ["never-seen"]):
        state = lm.start()
        for word in context:
            _, state = lm.score(state, word)
        total = math.fsum(math.exp(lm.score(state, word)[0]) for word in [*lm.words, "<unk>"]) + math.exp(lm.end(state))
        assert total == pytest.approx(1.0, abs=1e-4)


def test_vocabulary_scores_and_fit(tmp_path):
    write_arpa(estimate(TEXT, order=3), tmp_path / "own.arpa")
    lm = LanguageModel.load(tmp_path / "own.arpa")
    assert lm.order == 3
    assert lm.words == tuple(sorted({word for sentence in TEXT for word in sentence.split()}))
    assert "jazz" in lm
    assert "<s>" not in lm
    assert "polka" not in lm
    raw = kenlm.Model(str(tmp_path / "own.arpa"))
    state, total = lm.start(), 0.0
    for word in TEXT[0].split():
        log_prob, state = lm.score(state, word)
        total += log_prob
    assert total + lm.end(state) == pytest.approx(raw.score(TEXT[0]) * math.log(10), rel=1e-5)
    fit = lm.fit(TEXT)
    assert (fit.sentences, fit.words, fit.oov_rate) == (160, sum(len(s.split()) for s in TEXT), 0.0)
    assert fit.perplexity < LanguageModel.load(DATA / "lmplz_2_fallback.arpa").fit(TEXT[:3]).perplexity * 20
    assert lm.fit(["play polka", "polka"]).oov_rate == pytest.approx(2 / 3)


def test_binary_holds_the_same_model(tmp_path):
    """With the real build_binary where it is installed, and a clear error where it is not."""
    model = estimate(TEXT, order=3)
    try:
        program("build_binary")
    except MissingDependencyError:
        with pytest.raises(MissingDependencyError, match="lm_tools --install"):
            write_binary(model, tmp_path / "own.bin")
        assert not (tmp_path / "own.bin").exists()
        return
    write_binary(model, tmp_path / "own.bin", bits=16)
    write_arpa(model, tmp_path / "own.arpa")
    text, binary = LanguageModel.load(tmp_path / "own.arpa"), LanguageModel.load(tmp_path / "own.bin")
    assert binary.words == text.words
    assert binary.fit(TEXT).perplexity == pytest.approx(text.fit(TEXT).perplexity, rel=1e-3)


def test_missing_tools_are_named_with_the_way_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DENGAR_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools_main([]) == 4
    assert "lm_tools --install" in capsys.readouterr().err


def test_installed_tools_are_found_and_not_built_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DENGAR_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler: a build would fail
    (tmp_path / "bin").mkdir()
    for name in ("lmplz", "build_binary"):
        (tmp_path / "bin" / name).touch(mode=0o755)
    assert tools_main(["--install"]) == 0
    assert str(tmp_path / "bin" / "lmplz") in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"order": 1}, {"order": 7}, {"prune": [1]}, {"prune": [0, 2, 1]}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="language model"):
        estimate(TEXT, **options)


@pytest.mark.parametrize(
    ("text", "reason"), [([], "empty"), (["  "], "empty"), (["a <s> b"], "<s>"), (["<unk>"], "<unk>")]
)
def test_impossible_text_is_refused(text, reason):
    with pytest.raises(InputError, match=reason):
        estimate(text)


def test_files_that_are_no_language_model_are_refused(tmp_path):
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    (tmp_path / "cut.arpa").write_text("\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t<unk>\n")
    (tmp_path / "cut.arpa.gz").write_bytes(b"\x1f\x8b\x08")
    (tmp_path / "magic.bin").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(200))
    for name in ("noise.bin", "cut.arpa", "cut.arpa.gz", "magic.bin", "missing.arpa"):
        with pytest.raises(BundleError, match=name):
            LanguageModel.load(tmp_path / name)
