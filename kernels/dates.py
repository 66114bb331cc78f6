"""Dates and times as numbers: text to seconds since 1970 in UTC, for uploads and predictions alike.

Read are ISO 8601 (2026-01-31), the same with slashes (2026/01/31), and day, month and year with points (31.01.2026).
What may be two dates, as 01/02/2026, is none.
"""

from __future__ import annotations

import re
from datetime import date

_MOMENT = re.compile(
    r"(?:(\d{4})(?:-(\d\d)-|/(\d\d?)/)(\d\d?)|(\d\d?)\.(\d\d?)\.(\d{4}))"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
DAY_S = 86_400

EXAMPLES = "2026-01-31 or 2026-01-31T14:30:00Z"
"""For messages."""


def seconds_of(text: str) -> float | None:
    """Seconds since 1970-01-01T00:00Z of a date or date-time, taken as UTC without a zone; None for any other text."""
    found = _MOMENT.fullmatch(text)
    if found is None or (found[2] and len(found[4]) < 2):
        return None
    year, month, day = found[1] or found[7], found[2] or found[3] or found[6], found[4] or found[5]
    hour, minute, second, fraction, zone = found.groups()[7:]
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
