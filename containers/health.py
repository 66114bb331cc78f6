#!/opt/venv/bin/python -I
"""Whether the role that a container plays is well: `mlpq-health api|redis|worker`; exit status 0 or 1.

It runs inside the container every few seconds, so each role imports only what it needs.
"""

import os
import signal
import sys

TIMEOUT_S = 4
"""Below the timeout of the health checks in docker-compose.yml."""


def api() -> str | None:
    """The API answers, and its store answers it."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=TIMEOUT_S)
    connection.request("GET", "/readyz")
    status = connection.getresponse().status
    return None if status == http.client.OK else f"/readyz answers {status}"


def redis() -> str | None:
    """The server answers a command, which it does only when it has read its log."""
    import socket

    with socket.create_connection(("127.0.0.1", 6379), TIMEOUT_S) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.recv(64)
    return None if answer == b"+PONG\r\n" else f"PING is answered by {answer!r}"


def worker() -> str | None:
    """The worker of this container is in the registry, which forgets whoever is silent, and its device is open."""
    import socket

    from store.connection import connect
    from store.workers import Workers

    host = socket.gethostname()
    states = [info.backend for info in Workers(connect(os.environ["REDIS_URL"])).list() if info.host == host]
    if not states:
        return f"no worker of {host} is in the registry"
    return "the training process is not ready" if set(states) == {"starting"} else None


def main() -> int:
    """Check the role that the command line names; say on stderr what is wrong."""
    roles = {"api": api, "redis": redis, "worker": worker}
    if len(sys.argv) != 2 or sys.argv[1] not in roles:
        sys.stderr.write(f"usage: mlpq-health {'|'.join(roles)}\n")
        return 2
    signal.alarm(TIMEOUT_S)  # unhandled, so that it ends even a look-up of a name that nobody answers
    try:
        wrong = roles[sys.argv[1]]()
    except Exception as error:  # noqa: BLE001 - whatever it is, the role is not well
        wrong = f"{type(error).__name__}: {error}"
    if wrong is not None:
        sys.stderr.write(f"{wrong}\n")
    return 0 if wrong is None else 1


if __name__ == "__main__":
    sys.exit(main())
