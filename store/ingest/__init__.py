"""From an uploaded file to arrays: formats, column inference, limits, and the bounded process that does it.

    intake.py      receives bytes: counts, hashes and writes them as they come
    sandbox.py     runs `python -m store.ingest` with limits and turns every way it can end into one answer
    __main__.py    that process
    options.py     what a client may say about its file, checked; limits.py: what a file may cost
    formats.py     FORMATS: one row per format; csv_table.py (on csv_text.py), parquet.py, npz.py, npy.py, idx.py and
                   cifar10.py (on tar.py) read them; inflate.py opens what may be gzipped
    source_arrays.py  arrays with a header; pairs.py: features in one of them, the target in another
    tables.py      kinds, categories and missing values of tables of any format; columns.py measures them
    images.py      images of any format
    targets.py     classes or numbers: what the target is, and its codes
    problems.py    where in a file something is wrong: pointer, row, column

Nothing here knows Redis. A format module takes a `Request` and leaves `x.npy`, `y.npy` in its folder and returns
the content of `info.json`; whatever is wrong with the input it raises as `InvalidInput` or `TooLarge`.
"""
