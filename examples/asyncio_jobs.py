"""Many jobs at once on one event loop: submitted together, watched together.

mlpq up &
python examples/asyncio_jobs.py
"""

import asyncio

from mlpq import AsyncClient, MetricEvent


async def train(client: AsyncClient, width: int) -> tuple[int, float]:
    """A net of that width on iris; its smallest validation loss."""
    job = await client.train("iris", hidden=[width], epochs=30, seed=0)
    best = float("inf")
    async for event in job.events():
        if isinstance(event, MetricEvent) and event.val_loss is not None:
            best = min(best, event.val_loss)
    return width, best


async def main() -> None:
    """Four widths side by side."""
    async with AsyncClient() as client:
        for width, loss in await asyncio.gather(*(train(client, width) for width in (2, 4, 8, 16))):
            print(f"{width:3d} hidden units: validation loss {loss:.4f}")


asyncio.run(main())
