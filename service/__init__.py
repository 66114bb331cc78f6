"""How the world talks to mlpq: the FastAPI app, event streams, errors as problem+json, the web page."""
