"""Configuration of jobs: how they are done, and how a bundle that passed the gate is let in."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LearningConfig:
    """How jobs are done.

    Attributes:
        learn: YAML of `asr.learn.LearnConfig`; empty for the shipped ``data/learn.yaml``.
        gate: YAML of `services.learner.gating.GatingConfig`; empty for the shipped ``data/gate.yaml``.
        at_once: utterances of a name that espeak-ng says as soon as it is approved; what the live bundle writes for
            them is taken for the name from then on. 0 for none.
        heard: spellings of a name, as it was heard, that are read aloud in its place too.
        rows_per_name: recordings of each name that are learned from, at most.
        rows_per_user: and of each user.
        lease_s: how long a job stays with a worker that says nothing.
        mlflow: URI of an MLflow registry that is to show the bundles with their aliases; empty for none.
    """

    learn: str = ""
    gate: str = ""
    at_once: Annotated[int, Field(ge=0, le=100)] = 8
    heard: Annotated[int, Field(ge=0, le=20)] = 2
    rows_per_name: Annotated[int, Field(ge=0)] = 20
    rows_per_user: Annotated[int, Field(ge=0)] = 5
    lease_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    mlflow: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RolloutConfig:
    """How a bundle that passed the gate is let in.

    Attributes:
        canary_share: of the streams it answers first; 0 makes it live at once.
        canary_queries: answers after which it is compared with the live bundle and, if it holds, made live.
        canary_minutes: after so long it is made live with fewer answers too, if those it has do not speak against it.
        watch_minutes: how long after that it is watched.
        min_queries: fewer answers of either bundle are not compared.
        alpha: of the tests, one-sided; divided by their number.
        max_confidence_drop: a lower mean confidence is a fall only if by more than this.
        max_empty_rise: a higher share of empty answers likewise.
    """

    canary_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    canary_queries: Annotated[int, Field(ge=1)] = 200
    canary_minutes: Annotated[float, Field(ge=0)] = 30.0
    watch_minutes: Annotated[float, Field(ge=0)] = 240.0
    min_queries: Annotated[int, Field(ge=2)] = 30
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    max_confidence_drop: Annotated[float, Field(ge=0, le=1)] = 0.02
    max_empty_rise: Annotated[float, Field(ge=0, le=1)] = 0.02
