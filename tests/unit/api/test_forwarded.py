from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tallystick.api.forwarded import NO_PROXIES, Proxies, scheme_of
from tallystick.settings import ApiSettings

BALANCER, HAPROXY, CLIENT = "10.0.1.7", "10.0.2.8", "203.0.113.9"
PROXIES = Proxies([ip_network("10.0.0.0/16"), ip_network("2001:db8:1::/48"), ip_network("192.0.2.1")])


def settled(peer: str | None, *headers: tuple[str, str], proxies: Proxies = PROXIES, scheme: str = "http") -> Any:
    """The client and the scheme of a request with these headers."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope: dict[str, Any] = {"client": None if peer is None else (peer, 50_000), "headers": raw, "scheme": scheme}
    proxies.settle(scope)
    return None if scope["client"] is None else scope["client"][0], scope["scheme"]


def client(peer: str, *forwarded_for: str, proxies: Proxies = PROXIES) -> str:
    return settled(peer, *(("x-forwarded-for", value) for value in forwarded_for), proxies=proxies)[0]


def test_several_hops_are_walked_from_the_right() -> None:
    assert client(HAPROXY, f"{CLIENT}, {BALANCER}") == CLIENT
    assert client(HAPROXY, f"{CLIENT},{BALANCER}") == CLIENT
    assert client(BALANCER, CLIENT) == CLIENT


def test_what_a_client_sends_itself_is_not_reached() -> None:
    assert client(HAPROXY, f"1.1.1.1, {BALANCER}, {CLIENT}, {BALANCER}") == CLIENT


def test_a_header_given_several_times_is_one_list() -> None:
    assert client(HAPROXY, "1.1.1.1", CLIENT, BALANCER) == CLIENT
    assert client(HAPROXY, f"1.1.1.1, {CLIENT}", BALANCER) == CLIENT


def test_a_peer_that_is_no_proxy_is_the_client() -> None:
    lies = (("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"))
    assert settled(CLIENT, *lies) == (CLIENT, "http")
    assert settled(BALANCER, *lies, proxies=NO_PROXIES) == (BALANCER, "http")
    assert settled(None, *lies) == (None, "http")
    assert settled("testclient", *lies) == ("testclient", "http")


def test_a_proxy_that_names_nobody_is_the_client_itself() -> None:
    assert settled(BALANCER) == (BALANCER, "http")
    assert client(BALANCER, "") == BALANCER
    assert client(BALANCER, " , ,") == BALANCER


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("203.0.113.9:49152", CLIENT),
        ("2001:db8:2::9", "2001:db8:2::9"),
        ("[2001:db8:2::9]", "2001:db8:2::9"),
        ("[2001:db8:2::9]:49152", "2001:db8:2::9"),
        ("2001:DB8:2:0:0:0:0:9", "2001:db8:2::9"),
        ("::ffff:203.0.113.9", CLIENT),
        ("[::ffff:203.0.113.9]:1", CLIENT),
        ("fe80::9%eth0", "fe80::9"),
        (f"  {CLIENT}\t", CLIENT),
    ],
)
def test_an_address_is_read_as_balancers_write_it(hop: str, address: str) -> None:
    assert client(BALANCER, hop) == address
    assert client(HAPROXY, f"{hop}, {BALANCER}") == address


@pytest.mark.parametrize("proxy", [BALANCER, f"{BALANCER}:443", f"::ffff:{BALANCER}", "2001:db8:1::7", "192.0.2.1"])
def test_a_proxy_is_known_however_it_is_written(proxy: str) -> None:
    assert client(HAPROXY, f"1.1.1.1, {CLIENT}, {proxy}") == CLIENT


def test_a_peer_on_a_socket_of_both_families_is_known() -> None:
    assert client(f"::ffff:{BALANCER}", CLIENT) == CLIENT
    assert client(f"::ffff:{CLIENT}", "1.1.1.1") == f"::ffff:{CLIENT}"


@pytest.mark.parametrize(
    "garbage",
    ["unknown", "_hidden", "example.com", "203.0.113.256", "[2001:db8::1", "203.0.113.9:x", "1:2:3", "é", "9" * 5_000],
)
def test_a_hop_that_is_no_address_leaves_the_one_that_named_it(garbage: str) -> None:
    assert client(HAPROXY, f"1.1.1.1, {garbage}, {BALANCER}") == BALANCER
    assert client(HAPROXY, f"1.1.1.1, {garbage}") == HAPROXY


def test_among_proxies_alone_the_farthest_is_the_client() -> None:
    assert client(HAPROXY, f"10.0.3.3, {BALANCER}") == "10.0.3.3"


strangers = st.one_of(
    st.ip_addresses(network="198.51.100.0/24").map(str), st.ip_addresses(network="2001:db8:2::/48").map(str)
)
hops = st.one_of(
    strangers, st.sampled_from([BALANCER, HAPROXY, "", "unknown"]), st.text(st.characters(max_codepoint=255))
)


@given(st.lists(hops), strangers)
def test_nothing_that_a_client_prepends_changes_who_it_is(prepended: list[str], address: str) -> None:
    for lines in ([", ".join([*prepended, address, BALANCER])], [*prepended, address, BALANCER]):
        assert client(HAPROXY, *lines) == address
    assert client(address, *prepended) == address


def test_the_scheme_is_what_the_nearest_proxy_says() -> None:
    assert settled(BALANCER, ("x-forwarded-proto", "https")) == (BALANCER, "https")
    assert settled(BALANCER, ("x-forwarded-proto", "http"), ("x-forwarded-proto", "https"))[1] == "https"
    assert settled(BALANCER, ("x-forwarded-proto", "https, http"))[1] == "http"
    assert settled(BALANCER, ("x-forwarded-proto", "HTTPS"), scheme="ws")[1] == "wss"
    assert settled(BALANCER, ("x-forwarded-proto", "http"), scheme="wss")[1] == "ws"


@given(st.binary(max_size=20), st.sampled_from(["http", "https", "ws", "wss"]))
def test_a_scheme_stays_one_of_its_protocol(told: bytes, given: str) -> None:
    assert scheme_of(told, given) in (("ws", "wss") if given.startswith("ws") else ("http", "https"))
    assert scheme_of(b"gopher", given) == given


@pytest.mark.parametrize("wrong", ["example.com", "10.0.0.1/8", "*", "", "10.0.0.0/33", "10.0.0"])
def test_what_is_no_address_is_not_taken_for_one(wrong: str) -> None:
    with pytest.raises(ValidationError, match="not a valid IPv4 or IPv6 network"):
        ApiSettings.model_validate({"trusted_proxies": [wrong]})


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_nobody_trusts_everybody(everybody: str) -> None:
    with pytest.raises(ValidationError, match="name those of the proxies alone"):
        ApiSettings.model_validate({"trusted_proxies": [everybody]})
