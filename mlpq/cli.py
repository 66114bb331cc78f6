"""The `mlpq` command."""
