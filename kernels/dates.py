"""Dates and times as numbers: text to seconds since 1970 in UTC, for uploads and predictions alike.

Read are ISO 8601 (2026-01-31), the same with slashes (2026/01/31), day, month and year with points (31.01.2026), and
English names of months (31-Jan-2026, January 31, 2026). What may be two dates, as 01/02/2026, is one only if the order
of day and month is known. `predict.py` is given the text below the line of dashes.
"""

from __future__ import annotations

import re
from datetime import date

EXAMPLES = "2026-01-31 or 2026-01-31T14:30:00Z"
"""For messages."""

ORDERS = ("dmy", "mdy")
"""Orders of day and month, for dates such as 31/01/2026 and 01/31/2026."""

# --- dates ---
DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DATE = re.compile(
    r"(?P<y1>\d{4})(?:-(?P<m1>\d\d)-(?=\d\d)|/(?P<m2>\d\d?)/)(?P<d1>\d\d?)"
    r"|(?P<d2>\d\d?)\.(?P<m3>\d\d?)\.(?P<y2>\d{4})"
    r"|(?P<d3>\d\d?)(?P<gap>[ -])(?P<n1>[A-Za-z]{3,9})(?P=gap)(?P<y3>\d{4})"
    r"|(?P<n2>[A-Za-z]{3,9})\.? (?P<d4>\d\d?),? (?P<y4>\d{4})"
    r"|(?P<a>\d\d?)(?P<sign>[/-])(?P<b>\d\d?)(?P=sign)(?P<y5>\d{4}|\d\d)",
    re.ASCII,
)
_TIME = re.compile(
    r"(?:[T ]|, ?)(\d\d?):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(?: ?([AaPp])\.?[Mm]\.?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def seconds_of(text: str, order: str | None = None) -> float | None:
    """Seconds since 1970-01-01T00:00Z of a date or date-time, taken as UTC without a zone; None for any other text.

    `order` is that of day and month where digits alone do not tell, `dmy` or `mdy`; without it those are none.
    """
    found = _DATE.match(text)
    day = None if found is None else _day(found, order)
    if found is None or day is None:
        return None
    if found.end() == len(text):
        return float(day * DAY_S)
    time = _TIME.fullmatch(text, found.end())
    seconds = None if time is None else _clock_s(time)
    return None if seconds is None else day * DAY_S + seconds


def _day(found: re.Match[str], order: str | None) -> int | None:
    """Days since 1970 of a matched date; None where there is no such day, or the order is not known."""
    part = found.groupdict("")
    day = part["d1"] or part["d2"] or part["d3"] or part["d4"]
    month = part["m1"] or part["m2"] or part["m3"]
    year = part["y1"] or part["y2"] or part["y3"] or part["y4"] or part["y5"]
    if part["a"]:
        day, month = (part["a"], part["b"]) if order == "dmy" else (part["b"], part["a"])
        year = year if len(year) == 4 else f"{'19' if year > '68' else '20'}{year}"
        month = month if order else "0"
    word = part["n1"] or part["n2"]
    if word:
        month = str(1 + next((k for k, name in enumerate(_MONTHS) if name.startswith(word.lower())), -1))
    try:
        return date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def _clock_s(time: re.Match[str]) -> float | None:
    """Seconds of a matched time of the day since midnight in UTC; None where there is no such time."""
    hour, minute, second, fraction, half, zone = time.groups()
    hours = int(hour)
    if half:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half in "Pp" else 0)
    if hours > 23 or int(minute) > 59 or int(second or 0) > 59:
        return None
    return hours * 3600 + int(minute) * 60 + int(second or 0) + float(fraction or 0) - _offset_s(zone)


def _offset_s(zone: str | None) -> int:
    """Seconds by which a zone such as +01:00 is ahead of UTC."""
    if zone is None or zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return -seconds if zone[0] == "-" else seconds


# --- end of dates ---
