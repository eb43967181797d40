"""Every setting by the variable that sets it."""

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tallystick.settings import Settings


def setting_fields() -> dict[str, FieldInfo]:
    """The fields of all groups, and those that are in none."""
    found: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            group = field.annotation.model_fields
            found |= {f"TALLYSTICK_{name}__{inner}".upper(): group[inner] for inner in group}
        else:
            found[f"TALLYSTICK_{name}".upper()] = field
    return found
