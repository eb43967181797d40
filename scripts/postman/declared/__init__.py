"""What the collection asks: for each operation of the API, in the order of learning, how it goes and how it fails."""

from collections.abc import Mapping, Sequence
from typing import Final

from postman.declared import access, appending, exports, finding, health, jobs, tenants
from postman.declaring import Request

DECLARED: Final[Mapping[str, Sequence[Request]]] = {
    **health.REQUESTS,
    **tenants.REQUESTS,
    **appending.REQUESTS,
    **finding.REQUESTS,
    **access.REQUESTS,
    **exports.REQUESTS,
    **jobs.REQUESTS,
}
"""The requests by ``operationId``."""
