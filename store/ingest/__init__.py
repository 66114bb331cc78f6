"""From an uploaded file to arrays: formats, column inference, limits, and the bounded process that does it.

    intake.py      receives bytes: counts, hashes and writes them as they come
    sandbox.py     runs `python -m store.ingest` with limits and turns every way it can end into one answer
    __main__.py    that process
    formats.py     FORMATS: one row per format; csv_table.py, npz.py read them
    tables.py      columns, kinds, categories and missing values of tables of any format
    targets.py     classes or numbers: what the target is, and its codes

Nothing here knows Redis. A format module takes a `Request` and leaves `x.npy`, `y.npy` in its folder and returns
the content of `info.json`; whatever is wrong with the input it raises as `InvalidInput` or `TooLarge`.
"""
