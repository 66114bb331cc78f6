"""What a job tells about itself: its model card, and what its net has learned, in numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlpq.api import job_path
from mlpq.both import operation
from mlpq.files import write_whole
from mlpq.handle import Handle
from mlpq.records import DatasetRecord, Json


class Explained(Handle):
    """The calls of a job's handle that explain it."""

    @operation
    async def card(self) -> Json:
        """The model card: data, spec, figures, environment, files with their hashes.

        >>> job.card()["object"]
        'card'
        """
        return await self._api.card(self.id)

    @operation
    async def card_text(self) -> str:
        """The model card as Markdown.

        >>> print(job.card_text().splitlines()[0])
        # ...
        """
        return await self._api.card_text(self.id)

    @operation
    async def explanations(self) -> dict[str, str | None]:
        """By name why this job has no such explanation; None for those that it has once it has weights.

        >>> job.explanations()["confusion"] is None
        True
        """
        listed = (await self._api.get_json(f"{job_path(self.id)}/explanations"))["data"]
        return {one["id"]: one["reason"] for one in listed}

    @operation
    async def explanation(
        self,
        /,
        name: str,
        *,
        dataset: str | DatasetRecord | None = None,
        checkpoint: int | str | None = None,
        **options: str | int,
    ) -> Json:
        """What the net has learned, in numbers: the service's JSON.

        >>> job.explanation("confusion", rows="train")["classes"]
        ['setosa', 'versicolor', 'virginica']

        Args:
            name: `confusion`, `templates`, `boundary`, `importance`, `histograms`, `calibration`, `gradient_check`.
            dataset: another data set with the same columns, where the explanation is taken on rows.
            checkpoint: a step, or `latest`; default the result, or the newest checkpoint of a job without one.
            options: the explanation's own, such as `rows="train"`; `GET /v1/capabilities` lists them.

        Raises:
            InvalidInputError: an unknown option or value, or a job that has no such explanation: `detail` says why.
            NotFoundError: the job has no weights (yet).
        """
        return await self._api.explanation(self.id, name, _asked(dataset, checkpoint, options))

    @operation
    async def picture(
        self,
        /,
        name: str,
        path: str | Path | None = None,
        *,
        width: int | None = None,
        dataset: str | DatasetRecord | None = None,
        checkpoint: int | str | None = None,
        **options: str | int,
    ) -> bytes:
        """The picture of an explanation, as PNG.

        >>> job.picture("confusion", "confusion.png")[:4]
        b'\\x89PNG'

        Args:
            name: see `explanation`.
            path: where it is written too, whole or not at all.
            width: pixels across, 200..2400.
            dataset: see `explanation`.
            checkpoint: see `explanation`.
            options: see `explanation`.
        """
        asked = options if width is None else options | {"width": width}
        content = await self._api.picture(self.id, name, _asked(dataset, checkpoint, asked))
        if path is not None:
            await self._api.transport.work(write_whole, Path(path), content)
        return content


def _asked(
    dataset: str | DatasetRecord | None, checkpoint: int | str | None, options: Mapping[str, str | int]
) -> dict[str, str]:
    """The query of an explanation."""
    name = dataset.id if isinstance(dataset, DatasetRecord) else dataset
    asked = {"dataset": name, "checkpoint": checkpoint, **options}
    return {key: str(value) for key, value in asked.items() if value is not None}
