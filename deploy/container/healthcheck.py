"""Exits with 0 where `/healthz` says that the process beside it is alive. Usage: ``healthcheck.py [PORT]``.

Without a port it asks the API, over TLS where that has a certificate.
"""

import os
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

ITSELF, SECONDS = "127.0.0.1", 3


def connect(arguments: list[str]) -> HTTPConnection:
    """A connection that is yet to be opened."""
    if arguments:
        return HTTPConnection(ITSELF, int(arguments[0]), timeout=SECONDS)
    port = int(os.environ.get("TALLYSTICK_PORT", "8080"))
    if "TALLYSTICK_API__TLS_CERTIFICATE" not in os.environ:
        return HTTPConnection(ITSELF, port, timeout=SECONDS)
    # The certificate is for the name by which others come. Nobody stands between this process and the one beside it.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(ITSELF, port, timeout=SECONDS, context=context)


connection = connect(sys.argv[1:])
try:
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
except (OSError, HTTPException) as error:
    sys.exit(f"no answer at port {connection.port}: {error}")
sys.exit(None if status == 200 else f"/healthz answers {status}")
