"""The trainer against other libraries on one CPU: `python -m bench.cpu`."""
