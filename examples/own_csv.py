"""Train on a table of your own and predict rows by column name.

mlpq up &
python examples/own_csv.py
"""

import csv
import random
import tempfile
from pathlib import Path

from mlpq import Client

with tempfile.TemporaryDirectory() as folder, Client() as client:
    # A table as you might have it: numbers, a category, a missing cell, a target column.
    table = Path(folder) / "ice_cream.csv"
    numbers = random.Random(0)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["temperature", "weather", "sold"])
        for day in range(300):
            temperature, weather = numbers.uniform(0, 35), numbers.choice(["sun", "rain", "clouds"])
            sold = 4 * temperature + {"sun": 40, "clouds": 10, "rain": -20}[weather] + numbers.gauss(0, 3)
            writer.writerow(["" if day == 7 else round(temperature, 1), weather, round(sold, 1)])

    data = client.upload(table, target="sold", name="ice cream")
    print(data.task, [(column.name, column.kind, column.missing) for column in data.columns])

    job = client.train(data, hidden=[32], epochs=60, tags=["example"]).wait(timeout_s=120)
    print(dict(job.final_metrics))

    rows = [{"temperature": 30, "weather": "sun"}, {"temperature": 5, "weather": "rain"}]
    hot, cold = job.predict(rows).predictions
    print(f"a hot day sells {hot:.0f}, a wet one {cold:.0f}")
    assert hot > cold
