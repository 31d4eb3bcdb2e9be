"""The simulated cabin has the published properties that docs/car.md says it has, and shows the ones it lacks."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from asr.augment import validate
from asr.augment.figures import figures
from services.cli.main import main


@pytest.fixture(scope="module")
def measured():
    return validate.validate(drives=2, length_s=3.0, seed=0)


@pytest.fixture(scope="module")
def by_name(measured):
    return {finding.name: finding for finding in measured.findings}


def test_the_spectrum_falls_at_every_speed(measured):
    for speed, bands in measured.spectra_db.items():
        tilt = validate.measure.tilt_db_per_octave(bands, 100.0, 4000.0)
        assert -12.0 < tilt < -4.0, speed


def test_levels_rise_with_speed_and_lie_among_those_of_cars_on_test(measured, by_name):
    means = [np.mean(measured.levels_dba[speed]) for speed in validate.SPEEDS_KMH]
    assert means == sorted(means)
    assert by_name["level at 100 km/h"].agrees
    assert by_name["level at 130 km/h"].agrees


def test_the_strongest_order_is_the_firing_rate(measured):
    for cylinders, order in validate.ENGINES.items():
        assert validate.ORDERS[int(measured.orders_db[cylinders].argmax())] == order == cylinders / 2


def test_driving_is_nearly_as_steady_as_its_surrogate_and_a_voice_is_not(measured):
    deviation = measured.steadiness_db
    assert deviation["steady surrogate"] < deviation["driving"] < 2.5
    assert deviation["one voice"] > 5.0


def test_each_finding_names_a_source_and_judges_by_its_range(measured):
    for finding in measured.findings:
        assert finding.source in validate.SOURCES
        low, high = finding.low, finding.high
        assert finding.agrees == (
            (low is None or finding.measured >= low) and (high is None or finding.measured <= high)
        )
    assert {finding.agrees for finding in measured.findings} == {True, False}


def test_figures_are_svg_documents_and_the_same_every_time(measured):
    drawn = figures(measured)
    assert set(drawn) == {"car-spectrum", "car-level", "car-orders", "car-steadiness"}
    assert drawn == figures(measured)
    for document in drawn.values():
        assert ET.fromstring(document).tag.endswith("svg")


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    arguments = ["data", "cabin", "-o", str(tmp_path / "docs"), "--drives", "1", "--length-s", "2", "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "docs" / "car-cabin.json").read_text()) == printed
    assert printed["settings"] == {"seed": 0, "drives": 1, "length_s": 2.0}
    assert sum(finding["agrees"] for finding in printed["findings"]) == printed["agree"]
    assert len(list((tmp_path / "docs").glob("car-*.svg"))) == 4
