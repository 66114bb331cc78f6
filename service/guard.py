"""Who may talk to this process: Host, Origin and key, checked on every method before anything else.

A web page anywhere can make its visitor's browser send requests to 127.0.0.1. What stops it: the Host must be a
name we answer to (DNS rebinding needs a name of the attacker's), and a request that a browser marks as coming from
another site is refused whatever its method is. There is no CORS.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from typing import Any

from service.problems import Refused
from service.settings import Settings
from service.text import echo

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""Answered without a key: they hold nothing of anyone's. The page's own files are open as well."""

_GUARDED_PREFIXES = ("/v1/", "/metrics")


class Guard:
    """The three checks, with what the settings allow prepared once."""

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.api_keys
        own = {"localhost", settings.host.strip("[]").lower(), socket.gethostname().lower()}
        self._hosts = own | settings.allowed_hosts
        self._known: set[bytes] = set()

    def check(self, scope: Any) -> str:
        """Whose the request is: what stands for its key, "" where none is asked for.

        Raises: Refused (401, 403, 421).
        """
        host = origin = site = mode = authorization = None
        for name, value in scope["headers"]:
            match name:
                case b"host":
                    host = value
                case b"origin":
                    origin = value
                case b"authorization":
                    authorization = value
                case b"sec-fetch-site":
                    site = value
                case b"sec-fetch-mode":
                    mode = value
        self._check_host(host)
        self._check_origin(scope["scheme"].encode(), host, origin)
        if site == b"cross-site" and not (mode == b"navigate" and scope["method"] == "GET"):
            raise Refused(403, "cross_site", "Requests from other sites are refused", "another web site sent this")
        if self._keys and scope["path"].startswith(_GUARDED_PREFIXES):
            return self._owner(authorization)
        return ""

    def _check_host(self, host: bytes | None) -> None:
        if host in self._known:
            return
        name = _host_name(host or b"")
        if name not in self._hosts and not _is_address(name):
            detail = f"Host is {echo(name)}; list the names that this service answers to in MLPQ_ALLOWED_HOSTS"
            raise Refused(421, "unknown_host", "This service does not answer to that name", detail)
        if host is not None and len(self._known) < 64:
            self._known.add(host)

    def _check_origin(self, scheme: bytes, host: bytes | None, origin: bytes | None) -> None:
        if origin is None or origin == scheme + b"://" + (host or b""):
            return
        # Behind a proxy that ends TLS the scheme differs, the host does not.
        if origin.partition(b"://")[2] == host and _host_name(host) in self._hosts:
            return
        shown = echo(origin.decode("latin-1"))
        raise Refused(403, "cross_site", "Requests from other sites are refused", f"Origin is {shown}")

    def _owner(self, authorization: bytes | None) -> str:
        scheme, _, token = (authorization or b"").partition(b" ")
        digest = hashlib.sha256(token.strip()).digest()
        # Every key is compared, so that the time says nothing about which one was near.
        matches = [hmac.compare_digest(digest, key) for key in self._keys]
        if scheme.lower() != b"bearer" or not any(matches):
            detail = "send the header Authorization: Bearer <key>"
            headers = {"WWW-Authenticate": 'Bearer realm="mlpq"'}
            raise Refused(401, "unauthorized", "A valid API key is needed", detail, headers)
        return owner_of(digest)


def owner_of(digest: bytes) -> str:
    """What stands for a key in records: 32 bits of a hash of its hash, too few to find the key by."""
    return "key_" + hashlib.sha256(b"mlpq owner " + digest).hexdigest()[:8]


def _host_name(host: bytes) -> str:
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if ":" in text else text


def _is_address(name: str) -> bool:
    """An IP address cannot be rebound: only names can point somewhere else tomorrow."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
