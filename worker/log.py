"""One line per happening on stderr: time, level, what happened, then `key=value` fields (logfmt)."""

from __future__ import annotations

import json
import logging
import sys
import time

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/,+@%")
_LOGGER = logging.getLogger("mlpq.worker")


def setup(worker: str, role: str) -> None:
    """Send our lines and the warnings of RQ to stderr, each marked with the worker's name and the process' role."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogfmtFormatter(f"worker={_value(worker)} role={role}"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("rq").setLevel(logging.WARNING)
    _LOGGER.setLevel(logging.INFO)


def info(event: str, **fields: object) -> None:
    """Something that is meant to happen."""
    _LOGGER.info(event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    """Something that went wrong and was dealt with."""
    _LOGGER.warning(event, extra={"fields": fields})


def error(event: str, trace: BaseException | None = None, **fields: object) -> None:
    """Something that a person should look at; `trace` adds the traceback on the lines below."""
    _LOGGER.error(event, extra={"fields": fields}, exc_info=trace)


class _LogfmtFormatter(logging.Formatter):
    def __init__(self, constant: str) -> None:
        super().__init__()
        self.constant = constant

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = getattr(record, "fields", {})
        parts = [
            f"{seconds}.{int(record.msecs):03d}Z",
            record.levelname.lower(),
            self.constant,
            f"event={_value(record.getMessage())}",
            *(f"{key}={_value(value)}" for key, value in fields.items() if value is not None),
        ]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _value(value: object) -> str:
    """A bare word where that is unambiguous, else a JSON string: a value can never forge a line or a field."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text)
