"""Reading what PocketSphinx writes.

data/lm_sphinx.bin.gz was written by PocketSphinx 5.1.1 from data/lmplz_3_pruned.arpa, which KenLM's lmplz had made::

    NGramModel.readfile("lmplz_3_pruned.arpa").write("lm_sphinx.bin")
"""

import gzip
from pathlib import Path

import pytest

from asr.decode.lm_build import write_arpa
from asr.decode.lm_sphinx import read_sphinx
from asr.errors import InputError

DATA = Path(__file__).parent / "data"


def ngrams(path):
    rows = [line.split("\t") for line in path.read_text().splitlines() if "\t" in line]
    return {row[1]: (float(row[0]), float(row[2]) if len(row) > 2 else 0.0) for row in rows}


@pytest.fixture(scope="module")
def binary():
    return gzip.decompress((DATA / "lm_sphinx.bin.gz").read_bytes())


def test_holds_what_the_arpa_file_held(tmp_path, binary):
    (tmp_path / "lm.bin").write_bytes(binary)
    write_arpa(read_sphinx(tmp_path / "lm.bin"), tmp_path / "lm.arpa")
    read, written = ngrams(tmp_path / "lm.arpa"), ngrams(DATA / "lmplz_3_pruned.arpa")
    assert read.keys() == written.keys()
    for ngram, (probability, backoff) in written.items():
        if ngram != "<s>":  # its probability is a convention: 0 here, -99 there
            assert read[ngram] == pytest.approx((probability, backoff), abs=1e-4), ngram


@pytest.mark.parametrize("size", [5, 25, 100_000, 787_000, 789_500])
def test_a_file_that_ends_early_is_one_sentence(tmp_path, binary, size):
    (tmp_path / "lm.bin").write_bytes(binary[:size])
    with pytest.raises(InputError, match=r"lm\.bin: (ends early or is damaged|is no binary language model)"):
        read_sphinx(tmp_path / "lm.bin")


def test_other_files_and_none_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_sphinx(tmp_path / "missing.bin")
    with pytest.raises(InputError, match="is no binary language model of CMU Sphinx"):
        read_sphinx(DATA / "lmplz_3_pruned.arpa")
