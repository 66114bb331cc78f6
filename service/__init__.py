"""How the world talks to mlpq: the HTTP API, event streams, errors as problem+json, the web page."""
