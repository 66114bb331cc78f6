"""The few wire types of Protocol Buffers that an ONNX file needs, written by hand.

A message is its fields one after another; a field is a key (number << 3 | wire type) and a value.
"""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    """An integer in groups of seven bits, the lowest first; a negative one as 64 bits in two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(field: int, value: int) -> bytes:
    """A field of type int32, int64 or enum."""
    return varint(field << 3) + varint(value)


def single(field: int, value: float) -> bytes:
    """A field of type float."""
    return varint(field << 3 | 5) + struct.pack("<f", value)


def content(field: int, value: bytes) -> bytes:
    """A field of type bytes, or a message."""
    return head(field, len(value)) + value


def head(field: int, length: int) -> bytes:
    """What stands before the value of such a field."""
    return varint(field << 3 | 2) + varint(length)


def text(field: int, value: str) -> bytes:
    """A field of type string."""
    return content(field, value.encode())
