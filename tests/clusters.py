"""Installations of their own in the one OpenSearch of the session."""

import os
from typing import Any

from factories import unique
from tallystick.settings import SearchSettings


def cluster_settings(url: str, **changes: Any) -> SearchSettings:
    """Settings of an installation that shares nothing with any other test's."""
    name = unique(f"test_{os.getpid()}").replace("-", "_")
    return SearchSettings(engine="opensearch", url=url, prefix=name, **changes)
