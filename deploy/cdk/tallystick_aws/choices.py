"""What whoever deploys may choose, read from the CDK's context and checked."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from tallystick_aws.sizes import SIZES, Size

_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|sha256:[0-9a-f]{64}"
_CERTIFICATE: Final = r"arn:[a-z-]+:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]{36}"
_NETWORK: Final = r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}/1[6-9]"
_ADDRESS: Final = r"[^@\s]+@[^@\s]+"


class ChoiceError(Exception):
    """A choice is missing or cannot be; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class Choices:
    """All choices.

    Attributes:
        version: Tag (or `sha256:` digest) of Tallystick's image in the repository that the data stack makes.
        collector: The same of the image of AWS's OpenTelemetry collector.
        certificate: ARN of the certificate that the balancer shows.
        size: Name of the row of `SIZES`.
        external_database: Whether PostgreSQL is run elsewhere, as with TimescaleDB; a secret then tells where.
        egress: Whether tasks reach the internet, for the keys of an external issuer.
        network: Addresses of the VPC.
        alarm_email: Who is told of alarms.
        issuers: `TALLYSTICK_AUTH__EXTERNAL_ISSUERS`, JSON.
        audience: `TALLYSTICK_AUTH__AUDIENCE`.
    """

    version: str
    collector: str
    certificate: str
    size: str
    external_database: bool
    egress: bool
    network: str
    alarm_email: str | None
    issuers: str | None
    audience: str

    @property
    def sizes(self) -> Size:
        """What the chosen size means."""
        return SIZES[self.size]

    @classmethod
    def read(cls, context: Callable[[str], object]) -> Self:
        """Read the context.

        Args:
            context: Looks one name up; None where nothing was said.

        Raises:
            ChoiceError: One is missing or of no form that can be used.
        """

        def text(name: str, form: str, mend: str, default: str | None = None) -> str:
            value = context(name)
            found = default if value is None else str(value)
            if found is None or not re.fullmatch(form, found):
                raise ChoiceError(f"{name} is {'missing' if found is None else repr(found)}: {mend}")
            return found

        def optional(name: str, form: str, mend: str) -> str | None:
            return None if context(name) is None else text(name, form, mend)

        choices = cls(
            version=text("version", _TAG, "pass the tag of the image, as in -c version=0.1.0"),
            collector=text("collector", _TAG, "pass the tag of the collector's image, as in -c collector=v0.49.0"),
            certificate=text("certificate", _CERTIFICATE, "pass the ARN of a certificate in ACM, -c certificate=arn:…"),
            size=text("size", "|".join(SIZES), f"choose one of {', '.join(SIZES)}", "small"),
            external_database=text("database", "aurora|external", "choose aurora or external", "aurora") == "external",
            egress=text("egress", "yes|no", "choose yes or no", "no") == "yes",
            network=text("network", _NETWORK, "choose a network of /16 to /19, as in 10.0.0.0/16", "10.0.0.0/16"),
            alarm_email=optional("alarm_email", _ADDRESS, "pass an e-mail address"),
            issuers=optional("issuers", r"\{.*\}", "pass a JSON object of issuer to the URL of its JWKS"),
            audience=text("audience", r"\S+", "pass the audience of tokens", "tallystick"),
        )
        if choices.issuers and not choices.egress:
            raise ChoiceError("issuers are fetched from the internet, which tasks do not reach: add -c egress=yes")
        return choices
