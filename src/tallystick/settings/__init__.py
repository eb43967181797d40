"""All settings, in one frozen object read once from the environment (prefix ``TALLYSTICK_``).

Groups nest with two underscores: ``TALLYSTICK_DATABASE__READER_CONNECTIONS=20``.
`docs/reference/settings.md` is generated from the descriptions here.
"""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tallystick.settings.following import QueueSettings, SearchSettings
from tallystick.settings.keeping import (
    DatabaseSettings,
    ExportSettings,
    KeySettings,
    ObjectSettings,
    RetentionSettings,
    WriterSettings,
)
from tallystick.settings.observing import TelemetrySettings, WorkerSettings
from tallystick.settings.serving import ApiSettings, AuthSettings, EventSettings, LogSettings, RateSettings

__all__ = (
    "ApiSettings",
    "AuthSettings",
    "DatabaseSettings",
    "EventSettings",
    "ExportSettings",
    "KeySettings",
    "LogSettings",
    "ObjectSettings",
    "QueueSettings",
    "RateSettings",
    "RetentionSettings",
    "SearchSettings",
    "Settings",
    "TelemetrySettings",
    "WorkerSettings",
    "WriterSettings",
)


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="TALLYSTICK_",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    home: Path = Field(default=Path(".tallystick"), description="State directory: data, keys, logs and `run.json`.")
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port the API listens on; 0 takes any free one.")
    key_dir: Path | None = Field(
        default=None,
        description="Folder of the secret key files; `keys` under the state directory when absent.",
    )
    key_files: SecretStr | None = Field(
        default=None,
        description="All key files as one JSON object, where secrets come as environment variables; in place of"
        " `key_dir`. `tallystick keys bundle` makes it.",
    )
    max_scan: int = Field(
        default=20_000,
        ge=100,
        description="Most events that one filtered listing looks at before it answers with a cursor.",
    )
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    events: EventSettings = EventSettings()
    writer: WriterSettings = WriterSettings()
    search: SearchSettings = SearchSettings()
    queue: QueueSettings = QueueSettings()
    objects: ObjectSettings = ObjectSettings()
    keys: KeySettings = KeySettings()
    exports: ExportSettings = ExportSettings()
    retention: RetentionSettings = RetentionSettings()
    auth: AuthSettings = AuthSettings()
    rates: RateSettings = RateSettings()
    logging: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    worker: WorkerSettings = WorkerSettings()

    @property
    def key_folder(self) -> Path:
        """The folder of the secret key files."""
        return self.key_dir or self.home / "keys"
