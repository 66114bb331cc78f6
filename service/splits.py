"""The rows that a job's spec names: the other data sets it reads, and how many rows train, validate and test."""

from __future__ import annotations

from threading import BoundedSemaphore

from kernels.errors import InvalidInput, NotFound
from nets.parts import Sizes, inputs_of, parts_of, sizes_of
from nets.scoring import check_holdout
from nets.table import TableInfo
from nets.training_spec import TrainingOptions
from service.context import Services
from service.text import echo, no_dataset

_turns = BoundedSemaphore(2)
"""Requests whose parts are looked up row by row at the same time in one process; others wait."""


def info_of(services: Services, dataset_id: str, pointer: str = "/dataset") -> TableInfo:
    """The description of a data set that a request names at the pointer. Raises InvalidInput: there is none."""
    try:
        return services.tables.info(dataset_id)
    except NotFound:
        raise no_dataset(pointer, dataset_id) from None


def reads(training: TrainingOptions) -> tuple[str, ...]:
    """The data sets that a job reads beside its own."""
    return tuple(filter(None, (training.validation_dataset, training.test_dataset)))


def sizes_for(services: Services, dataset_id: str, training: TrainingOptions) -> Sizes:
    """How many rows train, validate and test.

    Raises InvalidInput for data sets that are not there or do not fit, for parts that leave no training row, or none
    of some class, and for a value that no row has.
    """
    info = info_of(services, dataset_id)
    about = inputs_of(info, training)
    others = {}
    for field in ("validation_dataset", "test_dataset"):
        name, pointer = getattr(training, field), f"/training/{field}"
        if name is None:
            continue
        if name == dataset_id:
            raise InvalidInput.at(pointer, f"is {echo(name)}, the data set that is trained on; must be another one")
        others[field] = info_of(services, name, pointer)
        check_holdout(about, others[field], pointer)
    validation = others.get("validation_dataset")
    n_validation = None if validation is None else validation.n_rows
    drawn_plainly = training.stratify is False and info.task == "classification"
    if training.split is None and not drawn_plainly:
        return sizes_of(info.n_rows, training, n_validation)
    with _turns:
        try:
            table = services.tables.table(dataset_id)
        except NotFound:  # deleted since its description was read
            raise no_dataset("/dataset", dataset_id) from None
        return parts_of(table, training).sizes(n_validation)
