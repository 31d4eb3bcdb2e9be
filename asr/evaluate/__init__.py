"""Evaluation: error rates with intervals, slices, comparison of two models, reports."""

from asr.evaluate.analyse import analyse
from asr.evaluate.compare import Comparison, compare
from asr.evaluate.evaluation import Evaluation, SliceResult
from asr.evaluate.findings import Findings
from asr.evaluate.measure import evaluate, score
from asr.evaluate.results import Results, ScoredUtterance, is_results_folder
from asr.evaluate.run import RunConfig, recognise
from asr.evaluate.statistics import Resampling

__all__ = [
    "Comparison",
    "Evaluation",
    "Findings",
    "Resampling",
    "Results",
    "RunConfig",
    "ScoredUtterance",
    "SliceResult",
    "analyse",
    "compare",
    "evaluate",
    "is_results_folder",
    "recognise",
    "score",
]
