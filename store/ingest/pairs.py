"""Features in one array, their target in another: checked against each other, read as a table or as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.errors import InvalidInput, TooLarge
from store.ingest.arrays import Floats, Spool
from store.ingest.images import Layout, row_layout, write_images
from store.ingest.limits import MAX_ERRORS
from store.ingest.options import Request
from store.ingest.problems import cell, of_file, shown
from store.ingest.raw import RawColumn, RawTable
from store.ingest.source_arrays import SourceArray
from store.ingest.tables import choose_features, finish
from store.ingest.targets import target_of_numbers, target_of_texts

_FITS_FLOAT32 = tuple(np.dtype(name) for name in ("?", "i1", "u1", "i2", "u2", "f2", "f4"))
"""Types whose every value is a float32."""

_TARGET_BYTES = 1 << 29
"""Size of the target, which is held in memory."""


def read_pair(features: SourceArray, target: SourceArray, request: Request) -> dict[str, Any]:
    """Read both arrays into `x.npy` and `y.npy`; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    layout = row_layout(features.name, features.dtype, features.shape)
    _check_pair(features, target)
    if layout.image is not None and features.dtype == np.uint8:
        return _read_images(features, target, layout, request)
    return _read_table(features, target, layout, request)


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 where that holds every value of a type, else float64."""
    return np.dtype(np.float32) if dtype in _FITS_FLOAT32 else np.dtype(np.float64)


def _read_images(features: SourceArray, target: SourceArray, layout: Layout, request: Request) -> dict[str, Any]:
    names, texts, values = _target_values(target, request)
    if np.isnan(values).any():
        raise of_file(f"{shown(names)} has rows without a value; images need a label each")
    if texts is None:
        found = target_of_numbers(names, values, request.options.task)
    else:
        found = target_of_texts(names, values.astype(np.int64), texts, request.options.task)
    return write_images(features.blocks(request.folder), layout, found, names, request)


def _read_table(features: SourceArray, target: SourceArray, layout: Layout, request: Request) -> dict[str, Any]:
    name, texts, values = _target_values(target, request)
    chosen = choose_features(layout.names, request.options.features)
    columns = [RawColumn(layout.names[index]) for index in chosen]
    raw = RawTable([*columns, RawColumn(name, texts)], Spool(request.folder / "spool", len(chosen) + 1))
    raw.dtype = stored_dtype(features.dtype)
    raw.image = layout.image if len(chosen) == len(layout.names) else None
    unit = raw.image is not None
    for block in features.blocks(request.folder):
        numbers = block.astype(np.float64)
        check_finite(numbers, raw.spool.rows, features.name, layout.names, request)
        numbers = numbers[:, chosen]
        numbers[~np.isfinite(numbers)] = np.nan
        unit = unit and bool(np.all((numbers >= 0) & (numbers <= 1)))
        labels = values[raw.spool.rows : raw.spool.rows + len(numbers), None]
        raw.spool.append(np.concatenate([numbers, labels], axis=1))
    raw.standardize = not unit
    return finish(raw, request)


def _check_pair(features: SourceArray, target: SourceArray) -> None:
    n_rows = features.shape[0]
    if target.shape not in {(n_rows,), (n_rows, 1)}:
        raise of_file(
            f"{shown(target.name)} has the shape {target.shape}; must be ({n_rows},), "
            f"one value for each row of {shown(features.name)}"
        )
    if n_rows == 0:
        raise of_file("has no rows; at least 1 is needed")
    if target.dtype.kind not in "biufUS":
        raise of_file(f"{shown(target.name)} has the type {target.dtype}; must be numbers or text")
    if target.data_bytes > _TARGET_BYTES:
        raise TooLarge(f"{shown(target.name)} has {target.data_bytes} bytes; must be 0..{_TARGET_BYTES}")


def _target_values(member: SourceArray, request: Request) -> tuple[str, list[str] | None, Floats]:
    """The target's name, its different texts (None for numbers), and values or codes of shape (n_rows,)."""
    values = np.concatenate([np.frombuffer(piece, member.dtype) for piece in member.pieces()])
    if member.dtype.kind == "b":
        values = values.astype("U5")
    if values.dtype.kind in "US":
        distinct, codes = np.unique(values, return_inverse=True)
        return member.name, _decoded(member.name, distinct), codes.astype(np.float64)
    numbers = values.astype(np.float64)
    check_finite(numbers[:, None], 0, member.name, [member.name], request)
    numbers[~np.isfinite(numbers)] = np.nan
    return member.name, None, numbers


def _decoded(name: str, distinct: npt.NDArray[Any]) -> list[str]:
    try:
        texts = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in distinct.tolist()]
        "".join(texts).encode("utf-8")
    except (UnicodeError, ValueError) as error:
        raise of_file(f"{shown(name)} holds text that is not Unicode") from error
    return texts


def check_finite(block: Floats, first_row: int, array: str, names: Sequence[str], request: Request) -> None:
    """Refuse NaN and infinities, first locations named, unless `missing` says what to do with them."""
    if request.options.accepts_nan:
        return
    places = np.argwhere(~np.isfinite(block))[:MAX_ERRORS].tolist()
    if places:
        raise InvalidInput(
            *(
                cell(
                    first_row + row + 1,
                    names[column],
                    f"{array}[{first_row + row}, {column}] is {block[row, column]}; send "
                    f'"missing": "impute" to have it filled in, or "drop"',
                )
                for row, column in places
            )
        )
