"""Train a net on a built-in data set, watch it learn, take the weights home.

mlpq up &
python examples/train_digits.py
"""

from mlpq import Client, MetricEvent

with Client() as client:
    job = client.train("digits", hidden=[128, 64], activation="relu", momentum=0.9, learning_rate=0.05, epochs=10)
    for event in job.watch():
        if isinstance(event, MetricEvent):
            print(f"epoch {event.epoch:3d}  train {event.train_loss:.4f}  validation {event.val_loss:.4f}")

    print(job.status, dict(job.final_metrics))
    weights = job.weights()
    print({name: array.shape for name, array in weights.items() if name[0] in "Wb"})
