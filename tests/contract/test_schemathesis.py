"""Generated requests of every operation: nothing makes the server fail, and answers are as described."""

from collections.abc import Generator
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
from tallystick.settings import Settings

if TYPE_CHECKING:
    from conftest import Template

PUBLIC = ("healthz", "readyz", "metrics")

EXACT = ("create_tenant", "read_tenant", "update_tenant", *PUBLIC)
"""Where the schema says all. Elsewhere it cannot: timestamps near now, `from` before `to`, cursors given out."""


@pytest_asyncio.fixture(scope="module")
async def fuzz_settings(template: "Template", tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), database=await template.copy())


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


VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.mark.parametrize(
    ("operation_id", "mode"),
    [(name, VALID) for name in (*sorted(OPERATIONS), *PUBLIC)] + [(name, INVALID) for name in sorted(OPERATIONS)],
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
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    knock()
