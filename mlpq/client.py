"""The blocking client: `Client().train(...)` and what follows from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from numpy.typing import ArrayLike

import mlpq
from mlpq.addresses import DEFAULT_URL
from mlpq.api import Api, dataset_path
from mlpq.arrays import table_to_npz
from mlpq.bars import upload_bar
from mlpq.errors import InvalidArgumentError
from mlpq.job import Job
from mlpq.records import DatasetRecord, Json, dataset_from, job_from
from mlpq.sending import ProgressCallback
from mlpq.settings import TrainSettings, job_specification
from mlpq.transport import BlockingTransport, iterate, run

Dataset = str | os.PathLike[str] | tuple[ArrayLike, ArrayLike] | DatasetRecord
"""An id of the service (`digits`, `ds_…`), a path of a data file, `(X, y)` arrays, or a data set's record."""


class Client:
    """A connection to one service.

    Args:
        url: where the service is; default `MLPQ_URL`, else http://127.0.0.1:8000.
        api_key: default `MLPQ_API_KEY` (the first, where it lists several); a service on loopback needs none.
        timeout: seconds without a byte after which one attempt is given up.
        patience_s: seconds during which lost connections and a busy service are tried again; every POST carries an
            idempotency key, so nothing is ever done twice.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
        *,
        patience_s: float = 15.0,
    ) -> None:
        self.url = (url or os.environ.get("MLPQ_URL") or DEFAULT_URL).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise InvalidArgumentError(f"url is {self.url!r}; must start with http:// or https://")
        key = (api_key or os.environ.get("MLPQ_API_KEY", "")).partition(",")[0].strip()
        self._made_with = (url, api_key, timeout, patience_s)
        headers = {"User-Agent": f"mlpq/{mlpq.__version__}"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._api = Api(BlockingTransport(self.url, headers, timeout), patience_s)

    def __reduce__(self) -> tuple[Any, ...]:
        """What is unpickled, in another process, is made in the same way and has connections of its own."""
        return _again, self._made_with

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies of what holds a client share it: connections have no copies, and threads may share a client."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        run(self._api.transport.close())

    def train(self, dataset: Dataset, **settings: Unpack[TrainSettings]) -> Job:
        """Queue a training job and return its handle at once.

        Args:
            dataset: an id, a path of a data file, or `(X, y)`; files and arrays are uploaded first.
            settings: see `TrainSettings`; none is required.

        Raises:
            InvalidInputError: the service refuses a setting; `errors` names each with its allowed range.
        """
        specification = job_specification(self._dataset_id(dataset), settings)
        return self.submit(specification)

    def submit(self, specification: Mapping[str, Any]) -> Job:
        """Queue a job from a whole specification, as in the HTTP contract."""
        return Job(self._api, run(self._api.submit(specification)))

    def fork(self, job_id: str, changes: Mapping[str, Any], checkpoint: int | str | None = None) -> Job:
        """Queue a job from another one's weights with changes as in the HTTP contract; see also `Job.fork`."""
        return Job(self._api, run(self._api.fork(job_id, changes, checkpoint)))

    def dry_run(self, dataset: Dataset, **settings: Unpack[TrainSettings]) -> Json:
        """What `train` would do: the resolved spec, parameter count, memory, initial loss, gradient check."""
        return self.dry_run_of(job_specification(self._dataset_id(dataset), settings))

    def dry_run_of(self, specification: Mapping[str, Any]) -> Json:
        """What `submit` would do."""
        return run(self._api.dry_run(specification))

    def job(self, job_id: str) -> Job:
        """A handle on an existing job."""
        return Job(self._api, run(self._api.job(job_id)))

    def jobs(self, status: str | None = None, tag: str | None = None, limit: int | None = 20) -> Iterator[Job]:
        """Jobs, newest first; `limit=None` goes on to the oldest."""
        asked = {"status": status, "tag": tag}
        query = {name: value for name, value in asked.items() if value is not None}
        for document in iterate(self._api.listed("/v1/jobs", query, limit)):
            yield Job(self._api, job_from(document))

    def datasets(self, limit: int | None = None) -> Iterator[DatasetRecord]:
        """Data sets, built-in ones among them."""
        for document in iterate(self._api.listed("/v1/datasets", {}, limit)):
            yield dataset_from(document)

    def dataset(self, dataset_id: str) -> DatasetRecord:
        """One data set."""
        return run(self._api.dataset(dataset_id))

    def delete_dataset(self, dataset_id: str) -> None:
        """Forget a data set. Raises ConflictError while an unfinished job needs it."""
        run(self._api.delete(dataset_path(dataset_id)))

    def upload(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        target: str | None = None,
        name: str | None = None,
        progress: ProgressCallback | bool | None = None,
        **options: Any,
    ) -> DatasetRecord:
        """Stream a file (CSV, NPZ, NPY, Parquet, CIFAR-10) or a pair of files (IDX, NPY) to the service.

        Args:
            path: the file, or a list of those that make one data set; gzipped where customary.
            target: the column to predict; default the last of a table, `y` of an NPZ.
            name: default the file's name.
            progress: called with (bytes sent, bytes in all); True: a bar on standard error, if that is a terminal.
            options: `format`, `task`, `features`, `columns` (`{name: {"kind": …}}`), `missing`, `standardize`, `part`,
                `delimiter`, `header`, `encoding`.

        Raises:
            InvalidInputError: the file cannot be used; row and column are named.
        """
        chosen = {"target": target, "name": name, **options}
        given = {key: value for key, value in chosen.items() if value is not None}
        paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]
        bar = upload_bar(paths) if progress is True else nullcontext(progress or None)
        with bar as told:
            if isinstance(path, str | os.PathLike):
                return run(self._api.upload_file(paths[0], given, told))
            return run(self._api.upload_files(paths, given, told))

    def upload_arrays(self, x: ArrayLike, y: ArrayLike, *, name: str = "arrays", **options: Any) -> DatasetRecord:
        """Send `X` (n, features) and `y` (n,) as a data set; equal content gives the same data set again."""
        return run(self._api.upload_bytes(f"{name}.npz", table_to_npz(x, y), {"name": name, **options}))

    def upload_bytes(self, content: bytes, filename: str, **options: Any) -> DatasetRecord:
        """Send the content of a file as a data set; `filename` tells its format, `options` are those of `upload`."""
        return run(self._api.upload_bytes(filename, content, options))

    def capabilities(self) -> Json:
        """Every activation, loss, optimizer, schedule and initializer, with parameters, ranges, defaults and docs."""
        return run(self._api.get_json("/v1/capabilities"))

    def queue(self) -> Json:
        """How many jobs wait and run."""
        return run(self._api.get_json("/v1/queue"))

    def workers(self) -> Json:
        """The workers that are alive, with host, device and present jobs."""
        return run(self._api.get_json("/v1/workers"))

    def _dataset_id(self, dataset: Dataset) -> str:
        if isinstance(dataset, DatasetRecord):
            return dataset.id
        if isinstance(dataset, tuple):
            if len(dataset) != 2:
                raise InvalidArgumentError(f"dataset is a tuple of {len(dataset)}; must be (X, y)")
            return self.upload_arrays(*dataset).id
        if isinstance(dataset, os.PathLike) or looks_like_file(dataset):
            return self.upload(dataset).id
        return dataset


def _again(url: str | None, api_key: str | None, timeout: float, patience_s: float) -> Client:
    return Client(url, api_key, timeout, patience_s=patience_s)


def looks_like_file(dataset: str) -> bool:
    """Whether a string names a file rather than a data set of the service: it has a path separator or a suffix."""
    return "/" in dataset or "." in dataset or os.sep in dataset
