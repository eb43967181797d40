"""Headers by name, as the server has them."""

from tallystick.auth.headers import header_of, headers_of

SCOPE = {"type": "http", "headers": [(b"a", b"1"), (b"b", b""), (b"a", b"2"), (b"c", b"\xfc")]}


def test_a_header_is_the_first_of_its_name() -> None:
    assert [header_of(SCOPE, name) for name in (b"a", b"b", b"c", b"d")] == ["1", "", "ü", None]


def test_all_of_a_name_are_given_in_their_order() -> None:
    assert [headers_of(SCOPE, name) for name in (b"a", b"d")] == [["1", "2"], []]
