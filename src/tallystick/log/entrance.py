"""How a request whose parameters are all in its URL comes in: who is calling comes before what is asked."""

from collections.abc import Container, Sequence

from starlette.requests import Request

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.operations import Operation
from tallystick.log.query_string import Values, first, query_of


async def let_in(
    gate: Gate,
    request: Request,
    operation: Operation,
    *,
    known: Sequence[str] = (),
    several: Container[str] = (),
    tenant_id: str | None = None,
) -> tuple[Access, Values]:
    """Let a request in, and charge it.

    Args:
        gate: Judges it.
        request: Nothing of its body is read.
        operation: What it asks for.
        known: Query parameters that it may have.
        several: Those of them that may be repeated.
        tenant_id: The tenant that its path names; else the parameter `tenant_id` does, if it is known.

    Raises:
        TallystickError: It is refused; of which kind says the class.
    """
    principal = await gate.authenticate(request)
    values = query_of(request, known, several)
    access = await gate.authorise(principal, operation, tenant_id or first(values, "tenant_id"))
    await gate.charge(request, access, 1)
    return access, values
