import re
from html.parser import HTMLParser

import numpy as np
import pytest

from asr.corpus.manifest import Problem, Utterance
from asr.decode import Word
from asr.evaluate import Resampling, Results, ScoredUtterance, compare, evaluate
from asr.evaluate.report import comparison_html, evaluation_html

QUICK = Resampling(resamples=100, flips=100)
HOSTILE = "<script>alert(1)</script>"
ATTRIBUTE = '"onload="alert(2)'


class Page(HTMLParser):
    """Collects tags, their attributes and text, and notices tags left open."""

    VOID = frozenset({"meta", "input", "br", "path", "use"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open, self.words = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def hostile_run(seed):
    rng = np.random.default_rng(seed)
    items = []
    for number in range(24):
        noise = {"noise": HOSTILE, "snr_db": float(rng.choice([0, 5, 10]))} if number % 2 else None
        utterance = Utterance(
            f"{number}{ATTRIBUTE}.wav",
            1.0,
            f"call {HOSTILE} home",
            speaker=f"{HOSTILE}{number % 4}",
            augmentation=noise,
        )
        heard = ["call", HOSTILE, str(rng.choice(["home", "rome", "$x^2$"])), "uh&<b>"]
        words = tuple(Word(word, 0.0, 0.1, float(rng.random())) for word in heard)
        items.append(ScoredUtterance(utterance, " ".join(heard), words, 0.5, 1.0, 0.1))
    failed = ScoredUtterance(Utterance(f"{HOSTILE}.wav", 1.0, "x"), error=HOSTILE)
    return Results((*items, failed), (Problem(HOSTILE, HOSTILE),), {"bundle": HOSTILE, "mode": ATTRIBUTE})


def evaluation_page():
    results = hostile_run(1)
    evaluation = evaluate(results, vocabulary={"call"}, resampling=QUICK)
    return evaluation_html(results, evaluation, audio=lambda _: np.zeros(16_000, np.float32), audio_budget_mb=0.01)


def comparison_page():
    return comparison_html(compare(hostile_run(1), hostile_run(2), resampling=QUICK))


@pytest.mark.parametrize("make", [evaluation_page, comparison_page])
def test_reports_are_self_contained_and_hostile_text_stays_text(make):
    html = make()
    page = Page(html)
    assert page.open == []
    assert not re.search(r"https?:|//\w+\.\w+/|@import|url\((?!#)", html)
    assert page.tags.count("script") == 1
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert any(HOSTILE in text for text in page.words)


def test_the_worst_utterances_are_playable_within_the_budget():
    results = hostile_run(1)
    evaluation = evaluate(results, resampling=QUICK)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)
    asked = []

    def audio(item):
        asked.append(item)
        return noise

    few = Page(evaluation_html(results, evaluation, audio=audio, audio_budget_mb=0.03))
    assert 1 <= few.tags.count("audio") == len(asked) < 24
    gone = Page(evaluation_html(results, evaluation, audio=lambda _: None))
    assert gone.tags.count("audio") == 0


def test_the_report_has_a_ladder_a_matrix_and_the_failures():
    html = evaluation_html(results := hostile_run(1), evaluate(results, resampling=QUICK))
    assert "Word errors over the noise" in html
    assert "Spoken (rows) against heard (columns)" in html
    assert "Is the confidence honest?" in html
    assert "Not in these numbers" in html
    quiet = Results((ScoredUtterance(Utterance("a.wav", 1.0, "call"), "call"),))
    html = evaluation_html(quiet, evaluate(quiet, resampling=QUICK))
    assert "Word errors over the noise" not in html
    assert "Not in these numbers" not in html


def test_a_run_in_which_all_failed_still_has_a_report():
    results = Results((ScoredUtterance(Utterance("a.wav", 1.0, "call"), error="gone"),))
    assert Page(evaluation_html(results, evaluate(results, resampling=QUICK))).open == []


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    evaluation_html(results := hostile_run(1), evaluate(results, resampling=QUICK))
    assert dict(mpl.rcParams) == before
