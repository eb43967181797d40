"""Settings as a command reads them. What is wrong is named by its environment variable, never by its value."""

from pydantic import ValidationError

from tallystick.errors import ConfigurationError
from tallystick.settings import Settings


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigurationError: One of them is not valid.
    """
    try:
        return Settings()
    except ValidationError as error:
        flaws = [
            f"TALLYSTICK_{'__'.join(str(part) for part in flaw['loc']).upper()}: {flaw['msg']}"
            for flaw in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigurationError("; ".join(flaws)) from None
    except ValueError as error:  # a value that is no JSON, in pydantic-settings' words without the value
        raise ConfigurationError(str(error)) from None
