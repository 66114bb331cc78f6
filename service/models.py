"""What bodies look like: strict models for what comes in, descriptions for what goes out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from nets.spec import LossSpec, NetSpec, TrainingSpec
from service.text import echo, name_error
from store.records import PRIORITY_RANGE, TAGS_MAX

MAX_TAG_CHARACTERS = 64
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 8
MAX_PREDICT_ROWS = 10_000
CHECK_ROWS = 8
"""Rows of a gradient check, if nobody says otherwise."""
MAX_CHECK_ROWS = 64
MAX_SAFE_INTEGER = 2**53 - 1
"""Beyond it JSON readers disagree about integers."""


def _name(text: str) -> str:
    why = name_error(text)
    if why is not None:
        raise ValueError(why)
    return text


def _tag(text: str) -> str:
    why = name_error(text, MAX_TAG_CHARACTERS) or (None if text.strip() else "is empty")
    if why is not None:
        raise ValueError(why)
    return text


def _unique(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def _metadata(value: Any) -> Any:
    """Any small JSON object: depth, size and numbers are bounded, so that every reader reads it alike."""
    if isinstance(value, dict):
        size = _measure(value, 1)
        if size > MAX_METADATA_BYTES:
            raise ValueError(f"takes {size} bytes; at most {MAX_METADATA_BYTES} are allowed")
    return value


def _measure(value: Any, depth: int) -> int:
    if depth > MAX_METADATA_DEPTH:
        raise ValueError(f"is nested more than {MAX_METADATA_DEPTH} levels deep")
    match value:
        case dict():
            return 2 + sum(len(key) + 4 + _measure(item, depth + 1) for key, item in value.items())
        case list():
            return 2 + sum(1 + _measure(item, depth + 1) for item in value)
        case str():
            return len(value.encode()) + 2
        case bool() | None:
            return 5
        case int() if abs(value) > MAX_SAFE_INTEGER:
            raise ValueError(f"holds {echo(value)}; integers must be within ±(2^53 - 1)")
        case float() if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"holds {echo(value)}; numbers must be finite")
    return 20


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"maxLength": 200})]
Tag = Annotated[str, AfterValidator(_tag), Field(json_schema_extra={"minLength": 1, "maxLength": MAX_TAG_CHARACTERS})]
Tags = Annotated[list[Tag], Field(max_length=TAGS_MAX), AfterValidator(_unique)]
Metadata = Annotated[dict[str, Any], BeforeValidator(_metadata)]
Priority = Annotated[int, Field(ge=PRIORITY_RANGE[0], le=PRIORITY_RANGE[1])]


class Strict(BaseModel):
    """No conversions, no unknown fields, no infinities."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class JobRequest(TrainingSpec):
    """A job to train: only `dataset` is required."""

    dataset: str
    name: Name | None = None
    tags: Tags = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=dict)
    priority: Priority = 0


Part = dict[str, Any]


class ForkRequest(Strict):
    """What a fork changes; what is not named stays as its origin has it. Of `features` nothing can be changed."""

    dataset: str | None = None
    net: Part = Field(default_factory=dict)
    loss: str | Part | None = None
    optimizer: str | Part | None = None
    schedule: str | Part | None = None
    training: Part = Field(default_factory=dict)
    name: Name | None = None
    tags: Tags = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=dict)
    priority: Priority = 0


class JobPatch(Strict):
    """Changes to a job; what is not named stays."""

    name: Name | None = None
    tags: Tags = Field(default_factory=list)
    priority: Priority = 0


class PredictRequest(Strict):
    """Rows to predict: lists in the order of the data set's columns, or objects by column name."""

    rows: list[list[Any] | dict[str, Any]] = Field(min_length=1, max_length=MAX_PREDICT_ROWS)


class EvaluateRequest(Strict):
    """A data set to measure a job's weights on."""

    dataset: str


class GradientCheckRequest(Strict):
    """A net and a loss to check on the first rows of a data set: only `dataset` is required."""

    dataset: str
    net: NetSpec = NetSpec()
    loss: LossSpec | None = None
    rows: Annotated[int, Field(ge=1, le=MAX_CHECK_ROWS)] = CHECK_ROWS


class Out(BaseModel):
    """A described answer; further fields may come."""

    model_config = ConfigDict(extra="allow")


class FieldProblem(Out):
    """One rejected field."""

    pointer: str
    detail: str


class ProblemOut(Out):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem]


class ProgressOut(Out):
    """How far a job is."""

    epoch: int
    epochs: int
    step: int
    steps: int
    eta_s: float | None


class JobErrorOut(Out):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class OriginOut(Out):
    """What a fork started from: a job's result, or its checkpoint of a step."""

    job: str
    checkpoint: int | None


class JobOut(Out):
    """A job."""

    id: str
    object: Literal["job"]
    name: str | None
    status: Literal["queued", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled"]
    status_reason: str | None
    attempt: int
    progress: ProgressOut
    queue_position: int | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    device: str | None
    backend: str | None
    spec: dict[str, Any]
    dataset: str
    origin: OriginOut | None
    metrics: dict[str, float | None]
    error: JobErrorOut | None
    tags: list[str]
    metadata: dict[str, Any]
    priority: int
    owner: str | None
    links: dict[str, str]


class ColumnOut(Out):
    """A column of a data set."""

    name: str
    kind: str
    missing: int


class DatasetOut(Out):
    """A data set."""

    id: str
    object: Literal["dataset"]
    name: str
    task: Literal["classification", "regression"]
    n_rows: int
    n_features: int
    n_classes: int | None
    classes: list[str]
    columns: list[ColumnOut]
    warnings: list[str]
    sha256: str | None
    bytes: int | None
    created_at: str | None


class JobList(Out):
    """One page of jobs, newest first."""

    object: Literal["list"]
    data: list[JobOut]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DatasetList(Out):
    """One page of data sets."""

    object: Literal["list"]
    data: list[DatasetOut]
    first_id: str | None
    last_id: str | None
    has_more: bool


class CheckpointList(Out):
    """The checkpoints of a job, newest first."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DryRunOut(Out):
    """What a job would be."""

    object: Literal["dry_run"]
    spec: dict[str, Any]
    inputs: int
    parameters: int
    rows: dict[str, int]
    memory_bytes: int
    initial_loss: float | None
    gradient_check: dict[str, Any] | None


class CardOut(Out):
    """The model card of a job."""

    object: Literal["card"]
    job: str
    dataset: dict[str, Any]
    spec: dict[str, Any]
    metrics: dict[str, dict[str, float | None]]
    environment: dict[str, Any]
    artifacts: list[dict[str, Any]]


class GradientCheckOut(Out):
    """Per parameter tensor the largest relative error against central differences; null where not finite."""

    object: Literal["gradient_check"]
    dataset: str
    at: Literal["initial", "checkpoint", "result"]
    ok: bool
    tolerance: float
    errors: dict[str, float | None]
    max_relative_error: float | None
    checked: int
    at_kinks: int
    initial_loss: float | None
    expected_loss: float | None
    rows: int


class MetricsOut(Out):
    """A curve as columns of equal length."""

    object: Literal["metrics"]
    job: str
    columns: dict[str, list[float | None]]
    n_points: int


class CurveOut(Out):
    """One figure of a job: its value at each of some steps."""

    steps: list[int]
    values: list[float]


class CurvesOut(Out):
    """The curves of a job by the names of their figures, and how many points it has in all."""

    object: Literal["curves"]
    job: str
    n_points: int
    curves: dict[str, CurveOut]


class CurveList(Out):
    """The curves of some jobs, in the order in which these were named."""

    object: Literal["list"]
    data: list[CurvesOut]
    first_id: str | None
    last_id: str | None
    has_more: bool


class PredictOut(Out):
    """Predictions, one per row; probabilities for classification."""

    object: Literal["predictions"]
    predictions: list[str | float]
    probabilities: list[list[float]] | None
    classes: list[str] | None


class EvaluationOut(Out):
    """Figures of a job on a data set; null where one is not defined. `confusion_matrix`: true class by predicted."""

    object: Literal["evaluation"]
    job: str
    dataset: str
    task: Literal["classification", "regression"]
    n_rows: int
    metrics: dict[str, float | None]
    classes: list[str] | None
    confusion_matrix: list[list[int]] | None


class ExplanationOut(Out):
    """An explanation; its numbers stand beside these fields. `step`: of the checkpoint, if it is of one."""

    object: str
    job: str
    dataset: str
    dataset_name: str
    at: Literal["checkpoint", "result"]
    step: int | None


class ExplanationList(Out):
    """Every explanation, and whether a job has it."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class QueueOut(Out):
    """How many jobs wait and run."""

    object: Literal["queue"]
    depth: int
    jobs: dict[str, int]


class WorkersOut(Out):
    """The workers that are alive, each with the jobs that it trains and their number (`stack`)."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class LectureRow(Out):
    """A row of the lecture."""

    object: Literal["lecture_row"]
    id: str
    chapter: str
    title: str
    text: str
    where: str
    computed: bool
    proof: str | None
    link: str | None


class ClaimOut(Out):
    """One comparison of a row; `slide`: the number as the lecture prints it, to which `got` must round."""

    what: str
    expected: bool | float | str
    got: bool | float | str | None
    tolerance: float
    slide: str | None
    ok: bool


class LectureRowOut(LectureRow):
    """A row with its numbers."""

    claims: list[ClaimOut]
    ok: bool | None
    seconds: float


class LectureList(Out):
    """All rows of the lecture, in its order."""

    object: Literal["list"]
    data: list[LectureRow]
    first_id: str | None
    last_id: str | None
    has_more: bool
