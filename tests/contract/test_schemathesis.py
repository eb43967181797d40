"""Generated requests of every operation: nothing makes the server fail, and answers are as described."""

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection, positive_data_acceptance

from doors import Door, open_live_door
from tallystick.auth.operations import OPERATIONS
from tallystick.settings import RetentionSettings, Settings

if TYPE_CHECKING:
    from conftest import Template

PUBLIC = ("healthz", "readyz", "metrics")

EXACT = ("create_tenant", "read_tenant", "update_tenant", *PUBLIC)
"""Where the schema says all. Elsewhere it cannot: timestamps near now, `from` before `to`, cursors given out."""


@pytest_asyncio.fixture(scope="module")
async def fuzz_settings(template: "Template", tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Settings]:
    async with template.copied() as database:
        # What a schema cannot say of an installation, the shortest retention, does not narrow this one.
        retention = RetentionSettings(min_days=0, min_access_days=0)
        yield Settings(home=tmp_path_factory.mktemp("home"), database=database, retention=retention)


@pytest.fixture(scope="module")
def live_door(fuzz_settings: Settings) -> Generator[tuple[str, Door]]:
    with open_live_door(fuzz_settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def described(live_door: tuple[str, Door]) -> Any:
    document = httpx.get(f"{live_door[0]}/openapi.json").json()
    # Every request here has its token; what becomes of those without one is told by `security/test_matrix.py`.
    del document["security"]
    loaded: Any = schemathesis.openapi.from_dict(document)
    loaded.config.update(base_url=live_door[0])
    return loaded


def _leave_out_names(body: Any) -> None:
    """Take out the names of secrets: OpenAPI 3.0 has no word for what the names of an object's members may be."""
    match body:
        case {"settings": {"masking": {"names": _} as masking}}:
            del masking["names"]
        case _:
            pass


VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


DESCRIBED = sorted(OPERATIONS.keys() - {"stream_events", "stream_access_events"})  # no WebSocket is in OpenAPI 3.0


@pytest.mark.parametrize(
    ("operation_id", "mode"),
    [(name, VALID) for name in (*DESCRIBED, *PUBLIC)] + [(name, INVALID) for name in DESCRIBED],
)
def test_every_answer_is_as_described(
    described: Any, live_door: tuple[str, Door], operation_id: str, mode: GenerationMode
) -> None:
    headers = live_door[1].bearer(platform=True, default_tenant="fuzz")
    operation = described.find_operation_by_id(operation_id)
    excluded: list[Any] = [] if operation_id in EXACT else [positive_data_acceptance]
    if operation_id == "append_events":
        excluded.append(negative_data_rejection)  # with `on_error=skip` a bad event is no error

    @profile(max_examples=40, deadline=None, suppress_health_check=list[Any](HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def knock(case: Any) -> None:
        if mode is VALID:
            _leave_out_names(case.body)
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    knock()
