"""Dates and times as numbers: ISO 8601 text to seconds since 1970 in UTC, for uploads and predictions alike."""

from __future__ import annotations

import re
from datetime import date

_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
DAY_S = 86_400

EXAMPLES = "2026-01-31 or 2026-01-31T14:30:00Z"
"""For messages."""


def seconds_of(text: str) -> float | None:
    """Seconds since 1970-01-01T00:00Z of an ISO 8601 date or date-time, taken as UTC without a zone; else None."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    if hour is None:
        return float(days * DAY_S)
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 59:
        return None
    whole = days * DAY_S + int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    return whole - _offset_s(zone) + float(fraction or 0)


def _offset_s(zone: str | None) -> int:
    """Seconds by which a zone such as +01:00 is ahead of UTC."""
    if zone is None or zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return -seconds if zone[0] == "-" else seconds
