import base64
import functools
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from asr.corpus.manifest import Problem, Utterance
from asr.decode import Word
from asr.errors import ConfigError
from asr.evaluate import Resampling, Results, ScoredUtterance, compare
from asr.evaluate.analyse import analyse
from asr.evaluate.report import comparison_html, report_html

QUICK = Resampling(resamples=100, flips=100)
HOSTILE = "<script>alert(1)</script>"
ATTRIBUTE = '"onload="alert(2)'
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)


class Page(HTMLParser):
    """Collects tags, their attributes and text, and notices tags left open."""

    VOID = frozenset({"meta", "input", "br", "path", "use"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open, self.words, self.scripts = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag == "script":
            self.scripts.append([dict(attributes), ""])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1][1] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))

    def data(self, name):
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == name))


def hostile_run(seed):
    rng = np.random.default_rng(seed)
    items = []
    for number in range(24):
        noise = {"noise": HOSTILE, "snr_db": float(rng.choice([0, 5, 10]))} if number % 2 else None
        utterance = Utterance(
            f"{number}{ATTRIBUTE}.wav",
            1.0,
            f"call {HOSTILE} home",
            speaker=f"{HOSTILE}{number % 12}",
            gender=f"{ATTRIBUTE}{number % 2}",
            corpus=HOSTILE,
            augmentation=noise,
        )
        heard = ["call", HOSTILE, str(rng.choice(["home", "rome", "$x^2$"])), "uh&<b>"][: 3 + int(number > 2)]
        words = tuple(Word(word, 0.0, 0.1, float(rng.random())) for word in heard)
        items.append(ScoredUtterance(utterance, " ".join(heard), words, 0.5, 1.0, 0.1))
    failed = ScoredUtterance(Utterance(f"{HOSTILE}.wav", 1.0, "x"), error=HOSTILE)
    return Results((*items, failed), (Problem(HOSTILE, HOSTILE),), {"bundle": HOSTILE, "mode": ATTRIBUTE})


@functools.cache
def findings():
    return analyse(hostile_run(1), vocabulary={"call"}, references={HOSTILE: 0.01}, resampling=QUICK)


@functools.cache
def comparison():
    return compare(hostile_run(2), hostile_run(1), resampling=QUICK)


@functools.cache
def full_page():
    return report_html(findings(), comparison=comparison(), audio=lambda _: NOISE, audio_budget_mb=0.02)


@functools.cache
def comparison_page():
    return comparison_html(comparison())


def playable(html):
    return [row for row in Page(html).data("utterances-data")["rows"] if row[8]]


@pytest.mark.parametrize("make", [full_page, comparison_page])
def test_reports_are_self_contained_and_hostile_text_stays_text(make):
    html = make()
    page = Page(html)
    assert page.open == []
    assert not re.search(r"https?:|//\w+\.\w+/|@import|url\((?!#)", html)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert any(HOSTILE in text for text in page.words)
    programs = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    assert len(programs) == 1
    assert HOSTILE not in programs[0]
    policy = next(value for _, name, value in page.attributes if name == "content" and "script-src" in value)
    allowed = base64.b64encode(hashlib.sha256(programs[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}';" in policy
    assert "default-src 'none'" in policy


def test_links_within_the_page_lead_somewhere_and_names_are_unique():
    page = Page(full_page())
    names = [value for _, name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    targets = [value[1:] for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert len(targets) > 5
    assert set(targets) <= set(names)


def test_every_utterance_is_in_the_list_with_its_whole_text_and_its_slices():
    items = {item.key: item for item in hostile_run(1).items if item.error is None}
    data = Page(full_page()).data("utterances-data")
    dimensions = dict(data["dimensions"])
    assert {"gender", "noise", "snr"} <= set(dimensions)
    seen = set()
    for name, segments, errors, words, _confidence, seconds, snr_db, slices, *_ in data["rows"]:
        key = name.rpartition(", speaker ")[0]
        sides = [part if isinstance(part, list) else [part, part] for part in segments]
        item = items[key]
        assert " ".join(filter(None, (spoken for spoken, _ in sides))) == item.utterance.text
        assert " ".join(filter(None, (heard for _, heard in sides))) == item.hypothesis
        assert (words, seconds) == (3, 1.0)
        assert (errors == 0) == (item.utterance.text == item.hypothesis)
        assert snr_db == (item.utterance.augmentation or {}).get("snr_db")
        labels = {dimension: values[at] for (dimension, values), at in zip(dimensions.items(), slices, strict=True)}
        assert labels["gender"] == item.utterance.gender
        assert labels["snr"] == ("clean" if snr_db is None else f"{snr_db:.0f} dB")
        seen.add(key)
    assert seen == set(items)
    wrong = [row[2] for row in data["rows"]]
    assert wrong == sorted(wrong, reverse=True)


def test_the_worst_utterances_have_sound_and_picture_within_the_budget():
    asked = []

    def audio(read):
        asked.append(read)
        return NOISE

    budget = 30_000
    rows = Page(report_html(findings(), audio=audio, audio_budget_mb=budget / 1e6)).data("utterances-data")["rows"]
    heard = [row for row in rows if row[8]]
    assert 1 <= len(heard) < len(rows)
    assert budget / 2 < sum(len(row[8]) + len(row[9]) for row in heard) <= budget
    assert heard == rows[: len(heard)]
    assert len(asked) <= len(heard) + 1
    assert playable(report_html(findings(), audio=lambda _: None)) == []
    assert playable(report_html(findings(), audio=audio, audio_budget_mb=0.0)) == []


def test_few_recordings_are_encoded_in_vain():
    rng = np.random.default_rng(0)
    asked = []

    def audio(read):
        asked.append(read)
        return rng.uniform(-0.5, 0.5, 48_000).astype(np.float32)

    long = replace(findings(), utterances=tuple(replace(row, duration_s=3.0) for row in findings().utterances))
    page = report_html(long, audio=audio, audio_budget_mb=0.02)
    assert sum(row.errors > 0 for row in long.utterances) > len(playable(page)) + 2
    assert len(asked) == len(playable(page)) + 1


def test_a_long_recording_leaves_room_for_shorter_ones():
    longest = max(findings().utterances, key=lambda row: row.errors)
    long = replace(findings(), utterances=(replace(longest, errors=9, duration_s=600.0), *findings().utterances))
    rows = Page(report_html(long, audio=lambda _: NOISE, audio_budget_mb=0.03)).data("utterances-data")["rows"]
    assert rows[0][5] == 600.0
    assert rows[0][8] is None
    assert rows[1][8]


def test_a_limit_on_the_page_is_kept_and_what_is_left_out_is_counted():
    bare = len(report_html(findings()).encode())
    for limit in (bare - 1000, bare + 3000, bare + 30_000):
        html = report_html(findings(), audio=lambda _: NOISE, max_mb=limit / 1e6)
        assert len(html.encode()) <= limit
        page = Page(html)
        rows = page.data("utterances-data")["rows"]
        if limit < bare:
            assert len(rows) < 24
            assert f"{24 - len(rows)} of 24 utterances" in page.text
        else:
            assert len(rows) == 24
            assert "of 24 utterances" not in page.text
    assert playable(html)
    with pytest.raises(ConfigError, match=r"does not fit into 0\.01 MB"):
        report_html(findings(), max_mb=0.01)


def test_the_comparison_holds_every_flip_with_both_alignments():
    flips = comparison().flips
    assert flips
    for html in (full_page(), comparison_page()):
        page = Page(html)
        rows = page.data("flips-data")
        assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
            (flip.item, flip.kind, flip.errors_a, flip.errors_b) for flip in flips
        ]
        for flip, row in zip(flips, rows, strict=True):
            for segments, heard in zip(row[4:], (flip.hypothesis_a, flip.hypothesis_b), strict=True):
                sides = [part if isinstance(part, list) else [part, part] for part in segments]
                assert " ".join(filter(None, (said for said, _ in sides))) == flip.reference
                assert " ".join(filter(None, (said for _, said in sides))) == heard
        for part in comparison().slices:
            assert part.value in page.words


def test_the_report_names_what_was_found():
    page = Page(full_page())
    found = findings()
    for advice in found.advice:
        assert re.sub(r"\s+", " ", advice.text) in page.text
    assert "largest step" in page.text
    assert "Word errors over the noise" in page.text
    assert "Spoken (rows) against heard (columns)" in page.text
    assert "Expected calibration error" in page.text
    assert "Not in these numbers" in page.text
    assert found.fairness.rule in page.text
    assert any(not part.enough for part in found.slices)
    assert "too few" in page.text
    for part in found.slices:
        if part.result.wer.low is not None:  # intervals are there to read, not only as lines
            assert f"{100 * part.result.wer.low:.1f} to {100 * part.result.wer.high:.1f}" in page.text
    for part in found.breakdowns:
        assert part.title in page.text
    for pair in found.confusions:
        assert pair.hypothesis in page.words


def test_settings_of_pooled_runs_are_lines_of_their_own():
    run = Results(
        (ScoredUtterance(Utterance("a.wav", 1.0, "call"), "call"),),
        settings={"threads": 1, "runs": [{"a": {"b": 1}}, {"a": {"b": [2, 3]}}]},
    )
    html = report_html(analyse(run, resampling=QUICK))
    assert "<dt>runs.1.a.b</dt><dd>1</dd><dt>runs.2.a.b</dt><dd>2, 3</dd>" in html


def test_parts_that_say_nothing_are_not_there():
    quiet = analyse(Results((ScoredUtterance(Utterance("a.wav", 1.0, "call"), "call"),)), resampling=QUICK)
    page = Page(report_html(quiet))
    assert page.open == []
    for absent in ("Word errors over the noise", "Not in these numbers", "B against A", "Is everyone served alike?"):
        assert absent not in page.text


def test_folders_of_the_machine_stay_out_of_the_page():
    settings = {"bundle": "/home/someone/bundles/best", "manifests": ["/home/someone/corpus/dev.jsonl", "test.jsonl"]}
    run = Results((ScoredUtterance(Utterance("a.wav", 1.0, "call"), "tall"),), (), settings)
    html = report_html(analyse(run, resampling=QUICK), comparison=compare(run, run, resampling=QUICK))
    assert "someone" not in html
    assert "corpus/dev.jsonl, test.jsonl" in html
    assert "bundles/best" in html


def test_a_run_in_which_all_failed_still_has_a_report():
    failed = analyse(Results((ScoredUtterance(Utterance("a.wav", 1.0, "call"), error="gone"),)), resampling=QUICK)
    page = Page(report_html(failed))
    assert page.open == []
    assert "gone" in page.text


def test_a_hypothesis_that_is_no_text_does_not_stop_the_report():
    half = "\ud83d"
    findings_ = analyse(Results((ScoredUtterance(Utterance("a.wav", 1.0, "call"), f"{half} call"),)), resampling=QUICK)
    assert report_html(findings_, max_mb=1.0).encode()


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    report_html(findings())
    assert dict(mpl.rcParams) == before


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STEPS = """
const texts = (root, query) => [...document.querySelectorAll(root + " " + query)].map(cell => cell.textContent);
const seen = {};
const section = document.getElementById("utterances");
const search = section.querySelector("input[type=search]"), select = section.querySelector("select");
const type = text => { search.value = text; search.dispatchEvent(new Event("input")); };
const later = step => new Promise(done => setTimeout(() => { step(); done(); }, 400));
const rows = () => section.querySelectorAll("tbody tr").length;
(async () => {
  seen.all = rows();
  seen.words = texts("#utterances", "tbody tr:first-child .w > span:not(.vh)");
  seen.players = section.querySelectorAll("audio").length;
  seen.alerts = document.querySelectorAll("tbody script").length;
  await later(() => type("home>rome"));
  await later(() => { seen.found = rows(); type(""); });
  await later(() => {
    select.value = [...select.options].find(option => option.textContent === "clean").value;
    select.dispatchEvent(new Event("change"));
    seen.quiet = rows();
    document.querySelector("button.link").click();
    seen.linked = section.querySelector("output").textContent;
    select.value = "";
    type("");
  });
  await later(() => {
    const head = section.querySelectorAll("th")[0];
    head.querySelector("button").click();
    head.querySelector("button").click();
    seen.sorted = [head.ariaSort, ...texts("#utterances", "tbody td:first-child").map(Number)];
    seen.flips = texts("#flips", "tbody tr").length;
    const result = document.createElement("pre");
    result.id = "seen";
    result.textContent = JSON.stringify(seen);
    document.body.append(result);
  });
})();
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with (Debian: apt-get install chromium)")
def test_the_page_works_in_a_browser(tmp_path):
    html = re.sub(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", full_page())
    path = tmp_path / "page.html"
    path.write_text(html.replace("</body>", f"<script>{STEPS}</script></body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=10000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, flags=re.DOTALL)
    assert found is not None
    seen = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    items = [item for item in hostile_run(1).items if item.error is None]
    assert seen["all"] == len(items)
    assert seen["alerts"] == 0
    assert HOSTILE in seen["words"]
    assert seen["players"] == len(playable(full_page())) > 0
    assert seen["found"] == sum("rome" in item.hypothesis for item in items) > 0
    assert seen["quiet"] == sum(item.utterance.augmentation is None for item in items)
    assert int(seen["linked"].split(" of ")[0]) < len(items)
    direction, *errors = seen["sorted"]
    assert direction == "ascending"
    assert errors == sorted(errors)
    assert seen["flips"] == len(comparison().flips)
