"""How a request comes in: who is calling comes before what is asked, and both are recorded before it is answered."""

from collections.abc import Container, Sequence

from starlette.requests import HTTPConnection, Request

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.model import Principal
from tallystick.auth.operations import Operation, Recorded
from tallystick.auth.recording import Asked, record_of
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
    """Let a request in whose parameters are all in its URL, charge it, and record what it is to read.

    An act is recorded by who does it, right before: `auth.recording.record_of(request).begin(…)`.

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
    named = tenant_id or first(values, "tenant_id")
    return await admit(gate, request, principal, operation, named, values), values


async def admit(
    gate: Gate, request: HTTPConnection, principal: Principal, operation: Operation, tenant_id: str | None, asked: Asked
) -> Access:
    """Let a request in whose sender is known, charge it, and record what it is to read.

    Args:
        gate: Judges it.
        request: Whose record is begun.
        principal: Who sent it.
        operation: What it asks for.
        tenant_id: The tenant that it names, or None.
        asked: Its parameters.

    Raises:
        TallystickError: It is refused; of which kind says the class.
    """
    access = await gate.authorise(principal, operation, tenant_id)
    await gate.charge(request, access, 1)
    if operation.recording is not None and operation.recording.how is not Recorded.ACT:
        await record_of(request).begin(access, asked)
    return access
