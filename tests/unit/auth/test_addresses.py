import pytest
from starlette.requests import Request

from tallystick.auth.addresses import address_of, source_of


def request(host: str | None) -> Request:
    return Request({"type": "http", "headers": [], "client": None if host is None else (host, 50_000)})


@pytest.mark.parametrize(
    ("host", "address", "source"),
    [
        ("203.0.113.9", "203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9", "203.0.113.9"),
        ("2001:DB8:0:0:1::9", "2001:db8::1:0:0:9", "2001:db8::/64"),
        ("fe80::9%eth0", "fe80::9", "fe80::/64"),
        ("testclient", None, "unknown"),
        ("", None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_an_address_has_one_form_and_ipv6_counts_by_network(host: str | None, address: str | None, source: str) -> None:
    assert (address_of(request(host)), source_of(request(host))) == (address, source)
