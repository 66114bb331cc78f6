"""What the README claims, measured: one module per claim, one JSON file per module in bench/results."""
