"""The trainer against other libraries on one GPU: `python -m bench.gpu`."""
