"""TLS of the API itself, for who wants it between the balancer and the server, too."""

import ssl

from tallystick.errors import ConfigurationError
from tallystick.settings import ApiSettings


def server_context(settings: ApiSettings) -> ssl.SSLContext | None:
    """What the API shows its certificate with, TLS 1.2 at least; None where it speaks plain HTTP.

    Raises:
        ConfigurationError: The certificate or its key is missing, cannot be read, or they do not belong together.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError("TALLYSTICK_API__TLS_CERTIFICATE and TALLYSTICK_API__TLS_KEY go together: set both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Given a password, a key that needs one is refused; else it would be asked for where nobody sits.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"TLS of the API cannot be set up with {certificate} and {key} ({reason}): they must be in PEM, a"
            " certificate followed by those of its authorities, and its key without a password"
        ) from error
    return context


def own_client_context() -> ssl.SSLContext:
    """For asking our own socket, whose certificate speaks of another host: nothing secret is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
