"""What a client says of data sets; every call is written once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mlpq.api import Api, dataset_path
from mlpq.arrays import table_to_npz
from mlpq.bars import upload_bar
from mlpq.both import iteration, operation
from mlpq.errors import InvalidArgumentError
from mlpq.records import DatasetRecord, dataset_from
from mlpq.sending import ProgressCallback

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Dataset: TypeAlias = "str | os.PathLike[str] | tuple[ArrayLike, ArrayLike] | DatasetRecord"
"""An id of the service (`digits`, `ds_…`), a path of a data file, `(X, y)` arrays, or a data set's record."""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class UploadingCalls:
    """The calls of a client that make and find data sets."""

    _api: Api

    @iteration
    async def datasets(self, limit: int | None = None) -> AsyncIterator[DatasetRecord]:
        """Data sets, built-in ones among them.

        >>> "digits" in [record.id for record in client.datasets()]
        True
        """
        async for document in self._api.listed("/v1/datasets", {}, limit):
            yield dataset_from(document)

    @operation
    async def dataset(self, dataset_id: str) -> DatasetRecord:
        """One data set.

        >>> client.dataset("iris").classes
        ('setosa', 'versicolor', 'virginica')
        """
        return await self._api.dataset(dataset_id)

    @operation
    async def delete_dataset(self, dataset_id: str) -> None:
        """Forget a data set. Raises ConflictError while an unfinished job needs it.

        >>> client.delete_dataset(client.upload_bytes(b"x,y\\n1,a\\n2,b\\n", "small.csv").id)
        """
        await self._api.delete(dataset_path(dataset_id))

    @operation
    async def upload(
        self,
        /,
        path: Paths,
        *,
        target: str | None = None,
        name: str | None = None,
        progress: ProgressCallback | bool | None = None,
        **options: Any,
    ) -> DatasetRecord:
        """Stream a file (CSV, JSON, Parquet, Feather, NPZ, NPY, CIFAR) or a pair of files (IDX, NPY) to the service.

        >>> from pathlib import Path
        >>> _ = Path("prices.csv").write_text("size,price\\n" + "".join(f"{n},{3 * n + 0.5}\\n" for n in range(30)))
        >>> client.upload("prices.csv", target="price").task
        'regression'

        Args:
            path: the file, or a list of those that make one data set; gzipped where customary.
            target: the column to predict; default the last of a table, `y` of an NPZ.
            name: default the file's name.
            progress: called with (bytes sent, bytes in all); True: a bar on standard error, if that is a terminal.
            options: `format`, `task`, `features`, `columns` (`{name: {"kind": …}}`), `missing`, `standardize`, `part`,
                `delimiter`, `header`, `encoding`, `decimal`, `thousands`, `dates`.

        Raises:
            InvalidInputError: the file cannot be used; row and column are named.
        """
        return await self._upload(path, progress, {"target": target, "name": name, **options})

    @operation
    async def upload_arrays(
        self, /, x: ArrayLike, y: ArrayLike, *, name: str = "arrays", **options: Any
    ) -> DatasetRecord:
        """Send `X` (n, features) and `y` (n,) as a data set; equal content gives the same data set again.

        >>> client.upload_arrays([[0.0, 1.0], [1.0, 0.0]], ["left", "right"], name="two").n_features
        2
        """
        return await self._upload_arrays(x, y, {"name": name, **options})

    @operation
    async def upload_bytes(self, /, content: bytes, filename: str, **options: Any) -> DatasetRecord:
        """Send the content of a file as a data set; `filename` tells its format, `options` are those of `upload`.

        >>> client.upload_bytes(b"x,y\\n1,a\\n2,b\\n", "small.csv").n_rows
        2
        """
        return await self._api.upload_bytes(filename, content, options)

    async def _upload(
        self, path: Paths, progress: ProgressCallback | bool | None, options: Mapping[str, Any]
    ) -> DatasetRecord:
        given = {key: value for key, value in options.items() if value is not None}
        paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]
        bar = upload_bar(paths) if progress is True else nullcontext(progress or None)
        with bar as told:
            if isinstance(path, str | os.PathLike):
                return await self._api.upload_file(paths[0], given, told)
            return await self._api.upload_files(paths, given, told)

    async def _upload_arrays(self, x: ArrayLike, y: ArrayLike, options: Mapping[str, Any]) -> DatasetRecord:
        content = await self._api.transport.work(table_to_npz, x, y)
        return await self._api.upload_bytes(f"{options['name']}.npz", content, options)

    async def _dataset_id(self, dataset: Dataset, target: str | None = None) -> str:
        """The id of a data set, which is uploaded first if need be; `target` names the column of a file to predict."""
        if isinstance(dataset, os.PathLike) or (isinstance(dataset, str) and looks_like_file(dataset)):
            return (await self._upload(dataset, None, {"target": target})).id
        if target is not None:
            raise InvalidArgumentError(
                "target names a column of a file; a data set of the service has its own, (X, y) is y"
            )
        if isinstance(dataset, DatasetRecord):
            return dataset.id
        if isinstance(dataset, tuple):
            if len(dataset) != 2:
                raise InvalidArgumentError(f"dataset is a tuple of {len(dataset)}; must be (X, y)")
            return (await self._upload_arrays(*dataset, {"name": "arrays"})).id
        return dataset


def looks_like_file(dataset: str) -> bool:
    """Whether a string names a file rather than a data set of the service: it has a path separator or a suffix."""
    return "/" in dataset or "." in dataset or os.sep in dataset
