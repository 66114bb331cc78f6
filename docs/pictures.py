"""Draw the pictures of docs/explanations.md by a service of this checkout: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mlpq import Client
from mlpq.up.launch import deployment

HERE = Path(__file__).parent
WIDTH = 640


def main() -> None:
    """Train three small nets and write what they have learned."""
    with (
        tempfile.TemporaryDirectory() as folder,
        deployment(Path(folder) / "data", "--port", "0", "--device", "cpu") as (url, _),
        Client(url) as client,
    ):
        spiral = client.train("spiral", name="two hidden layers", hidden=[32, 16]).wait(timeout_s=120)
        linear = client.train("digits", name="linear classifier", hidden=[], epochs=60, l2=0.01).wait(timeout_s=120)
        for job, explanation in ((spiral, "boundary"), (linear, "templates"), (linear, "confusion")):
            job.picture(explanation, HERE / f"explanation-{explanation}.png", width=WIDTH)
            sys.stdout.write(f"explanation-{explanation}.png\n")


if __name__ == "__main__":
    main()
