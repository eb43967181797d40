"""An honest plain audit log: FastAPI, SQLAlchemy async over asyncpg, one INSERT and one commit a request.

What a careful team would write first, and what Tallystick's figures are compared with: a validated pydantic model, a
pooled engine, a column for every field, an index for the newest events of a tenant. No authentication, no limits, no
hashes, no sequence.
"""

import os
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Response
from pydantic import AwareDatetime, BaseModel, Field, IPvAnyAddress
from sqlalchemy import Index, String, Text, or_, select
from sqlalchemy.dialects.postgresql import INET, JSONB, TIMESTAMP, UUID
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["BASELINE_DATABASE_URL"], pool_size=20, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The baseline's tables."""


class AuditLog(Base):
    """One event a row, one column a field."""

    __tablename__ = "audit_logs"
    __table_args__ = (Index("audit_logs_newest", "tenant_id", "occurred_at"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(63))
    user_id: Mapped[str | None] = mapped_column(String(256))
    session_id: Mapped[str | None] = mapped_column(String(256))
    action: Mapped[str] = mapped_column(String(128))
    resource_type: Mapped[str] = mapped_column(String(128))
    resource_id: Mapped[str | None] = mapped_column(String(512))
    occurred_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True))
    received_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True))
    ip_address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)
    severity: Mapped[str] = mapped_column(String(8))
    message: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(256))


class Event(BaseModel):
    """What a client sends."""

    tenant_id: str = Field(max_length=63)
    user_id: str | None = Field(None, max_length=256)
    session_id: str | None = Field(None, max_length=256)
    action: str = Field(max_length=128)
    resource_type: str = Field(max_length=128)
    resource_id: str | None = Field(None, max_length=512)
    timestamp: AwareDatetime | None = None
    ip_address: IPvAnyAddress | None = None
    user_agent: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    severity: Literal["INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    message: str | None = None
    request_id: str | None = Field(None, max_length=256)


class Stored(BaseModel):
    """What the client gets back."""

    id: uuid.UUID
    received_at: datetime


async def session() -> AsyncGenerator[AsyncSession]:
    """One session a request."""
    async with sessions() as opened:
        yield opened


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Make the table on first start."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/healthz")
async def healthz() -> Response:
    """Say that the process is up."""
    return Response(status_code=204)


@app.post("/api/v1/logs", status_code=201)
async def create(event: Event, db: Annotated[AsyncSession, Depends(session)]) -> Stored:
    """Store one event; the answer is sent after the commit."""
    received_at = datetime.now(UTC)
    row = AuditLog(
        **event.model_dump(exclude={"timestamp", "ip_address", "metadata"}),
        id=uuid.uuid4(),
        occurred_at=event.timestamp or received_at,
        received_at=received_at,
        ip_address=str(event.ip_address) if event.ip_address else None,
        details=event.metadata,
    )
    db.add(row)
    await db.commit()
    return Stored(id=row.id, received_at=received_at)


class Listed(BaseModel):
    """A page of events."""

    items: list[dict[str, Any]]


Several = Annotated[list[str], Query()]


@app.get("/api/v1/logs")
async def listing(  # noqa: PLR0913 - one for each parameter
    *,
    db: Annotated[AsyncSession, Depends(session)],
    tenant_id: str,
    user_id: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    action: str | None = None,
    severity: str | None = None,
    after: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    before: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    contains: str | None = None,
    metadata: Several = [],  # noqa: B006 - FastAPI copies it
    at_least: Several = [],  # noqa: B006
    at_most: Several = [],  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Listed:
    """List the newest events; `contains` looks into message and user agent, `key:value` into the metadata."""
    query = select(AuditLog).where(AuditLog.tenant_id == tenant_id)
    fields = {
        AuditLog.user_id: user_id,
        AuditLog.resource_type: resource_type,
        AuditLog.resource_id: resource_id,
        AuditLog.action: action,
        AuditLog.severity: severity,
    }
    for column, value in fields.items():
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(AuditLog.occurred_at >= after)
    if before is not None:
        query = query.where(AuditLog.occurred_at < before)
    if contains is not None:
        columns = (AuditLog.message, AuditLog.user_agent)
        query = query.where(or_(*(column.icontains(contains, autoescape=True) for column in columns)))
    for key, _, value in (text.partition(":") for text in metadata):
        query = query.where(AuditLog.details[key].as_string() == value)
    for key, _, value in (text.partition(":") for text in at_least):
        query = query.where(AuditLog.details[key].as_float() >= float(value))
    for key, _, value in (text.partition(":") for text in at_most):
        query = query.where(AuditLog.details[key].as_float() <= float(value))
    query = query.order_by(AuditLog.occurred_at.desc(), AuditLog.id.desc()).limit(limit).offset(offset)
    names = [column.key for column in AuditLog.__mapper__.column_attrs]
    rows = (await db.scalars(query)).all()
    return Listed(items=[{name: getattr(row, name) for name in names} for row in rows])
