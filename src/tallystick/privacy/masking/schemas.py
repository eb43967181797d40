"""Masking in a tenant's settings: a preset, and what differs from it."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from tallystick.privacy.masking.names import words_of
from tallystick.privacy.masking.presets import RULES, SWITCHES, PresetName

MOST_NAMES: Final = 200
LONGEST_NAME: Final = 64

RuleAction = Literal["redact", "hash", "encrypt", "drop"]
NameAction = Literal["redact", "hash", "encrypt", "drop", "keep"]


def _known(kind: str, known: tuple[str, ...]) -> AfterValidator:
    def check(given: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"there is no {kind} `{unknown[0][:LONGEST_NAME]}`; there are {', '.join(known)}")
        return given

    return AfterValidator(check)


def _sound_names(given: dict[str, Any]) -> dict[str, Any]:
    if len(given) > MOST_NAMES:
        raise ValueError(f"may have up to {MOST_NAMES} names")
    for name in given:
        if len(name) > LONGEST_NAME or not words_of(name) or not all(c.isalnum() or c in " _.-" for c in name):
            raise ValueError(
                f"a name has letters, digits, spaces and `_.-` alone, at least one of the first two, and up to "
                f"{LONGEST_NAME} characters"
            )
    return given


def _named(names: Iterable[str], schema: dict[str, Any]) -> WithJsonSchema:
    """An object whose members are known by name."""
    return WithJsonSchema({"type": "object", "properties": dict.fromkeys(names, schema), "additionalProperties": False})


class MaskingSettings(BaseModel):
    """What of a tenant's events is masked before they are stored. What is masked cannot be brought back later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    preset: PresetName = Field(
        default="default", description="What the tenant begins with; `none` masks nothing by itself."
    )
    names: Annotated[
        dict[str, NameAction],
        AfterValidator(_sound_names),
        WithJsonSchema(
            {"type": "object", "additionalProperties": {"enum": get_args(NameAction)}, "maxProperties": MOST_NAMES}
        ),
    ] = Field(
        default={},
        description="Further names of secrets and what becomes of their values, however they are spelt (`badge_no` "
        "is also `badgeNo`, and ends `employee-badge-no`). `keep` lets a name stay that a rule would mask.",
    )
    detectors: Annotated[dict[str, bool], _known("detector", SWITCHES), _named(SWITCHES, {"type": "boolean"})] = Field(
        default={}, description="Detectors to switch on or off, by name."
    )
    actions: Annotated[dict[str, RuleAction], _known("rule", RULES), _named(RULES, {"enum": get_args(RuleAction)})] = (
        Field(
            default={},
            description="What becomes of what a rule finds, by rule; its preset's choice where none is said.",
        )
    )
