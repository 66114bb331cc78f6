"""Featurisers: what a net of images may be given beside, or instead of, the pixels. One file each.

    featuriser.py        what a row of the registry is
    raw.py, color_histogram.py, hog.py, bag_of_words.py   the rows
    registry.py          the table of all rows
    numpy_operations.py  the array operations that featurisers are written in, for the service and for predict.py
    onnx_operations.py   the same operations as nodes of an ONNX graph
    fitted.py            a list of featurisers with what they learnt from the training rows

A featuriser is written once, in a few operations; service, `predict.py` and ONNX files run that same function.
"""
