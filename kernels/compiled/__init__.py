"""Training steps compiled for the CPU: products, elementwise programs, losses and updates without Python.

Everything here needs numba and is imported only where `nets.compiled_engine` found it usable.
"""
