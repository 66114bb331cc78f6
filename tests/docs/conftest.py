"""One running service for all pages and examples."""

from __future__ import annotations

from tests.mlpq.conftest import no_config, service_url

__all__ = ["no_config", "service_url"]
