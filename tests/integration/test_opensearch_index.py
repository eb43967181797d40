"""The search index in OpenSearch, on a real server."""

from collections.abc import AsyncIterator

import pytest

from clusters import cluster_settings
from search_conformance import SearchConformance
from tallystick.adapters.opensearch.index import OpenSearchIndex

SMALL = {"shared_logs": 3, "shared_events": 20, "index_events": 15}


@pytest.fixture(params=[{}, SMALL], ids=["one part", "several parts"])
async def index(request: pytest.FixtureRequest, opensearch_url: str) -> AsyncIterator[OpenSearchIndex]:
    async with OpenSearchIndex(cluster_settings(opensearch_url, **request.param)) as made:
        yield made


class TestConformance(SearchConformance):
    pass
