"""How large each part is for 1,000, 10,000 and 100,000 events a second; docs/reference/sizing.md has the reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Size:
    """One row of the table of sizes.

    Attributes:
        events: Events a second, sustained, that it is for.
        days: Days for which they are kept at that rate: the storage is sized for them.
        api_tasks: Least and most API tasks, each of one process on one vCPU.
        worker_tasks: Least and most workers, likewise.
        requests: Requests a minute to one API task at which another is added.
        database: Class of the database's instances.
        search_nodes: Data nodes of OpenSearch, a multiple of the three availability zones.
        search_node: Their type.
        search_storage: GiB of each.
        search_master: Type of the three dedicated masters.
        index_events: Events of a large log in one index (`search.index_events`).
        cache: Type of Valkey's two nodes.
        requests_per_token: Requests in five minutes with one token beyond which the firewall refuses it.
        requests_per_address: The same from one address.
    """

    events: int
    days: int
    api_tasks: tuple[int, int]
    worker_tasks: tuple[int, int]
    requests: int
    database: str
    search_nodes: int
    search_node: str
    search_storage: int
    search_master: str
    index_events: int
    cache: str
    requests_per_token: int
    requests_per_address: int


SIZES: Final[Mapping[str, Size]] = {
    "small": Size(
        events=1_000,
        days=90,
        api_tasks=(2, 6),
        worker_tasks=(2, 4),
        requests=60_000,
        database="r7g.2xlarge",
        search_nodes=3,
        search_node="r7g.xlarge.search",
        search_storage=2_560,
        search_master="m7g.large.search",
        index_events=100_000_000,
        cache="cache.t4g.small",
        requests_per_token=300_000,
        requests_per_address=600_000,
    ),
    "medium": Size(
        events=10_000,
        days=30,
        api_tasks=(4, 16),
        worker_tasks=(3, 8),
        requests=60_000,
        database="r7g.8xlarge",
        search_nodes=6,
        search_node="r7g.2xlarge.search",
        search_storage=4_096,
        search_master="m7g.large.search",
        index_events=100_000_000,
        cache="cache.m7g.large",
        requests_per_token=3_000_000,
        requests_per_address=6_000_000,
    ),
    "large": Size(
        events=100_000,
        days=7,
        api_tasks=(12, 80),
        worker_tasks=(20, 40),
        requests=60_000,
        database="r7g.16xlarge",
        search_nodes=12,
        search_node="r7g.4xlarge.search",
        search_storage=5_120,
        search_master="m7g.xlarge.search",
        index_events=100_000_000,
        cache="cache.r7g.xlarge",
        requests_per_token=30_000_000,
        requests_per_address=60_000_000,
    ),
}
