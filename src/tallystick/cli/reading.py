"""Settings as a command reads them. What is wrong is named by its environment variable, never by its value."""

import re
from typing import Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

_FIELD: Final = re.compile(r'field "(\w+)"')


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
    except SettingsError as error:  # it names the field, and neither the variable nor its value
        told = _FIELD.search(str(error))
        name = "" if told is None else told[1].upper()
        raise ConfigurationError(
            f"a variable TALLYSTICK_{name}… is no JSON, which lists and objects are: '[\"10.0.0.0/8\"]'"
        ) from None
