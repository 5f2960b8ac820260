"""What one user, or one address, may do only so often."""

import pytest

from shared.web.bounds import MOST, Bound, household_of


def test_a_user_does_so_many_within_the_time_and_others_are_not_hindered() -> None:
    now = 0.0
    bound = Bound(2, 60.0, lambda: now)
    assert [bound.allows("anna"), bound.allows("anna"), bound.allows("anna")] == [True, True, False]
    assert bound.allows("bert")
    now = 59.0
    assert not bound.allows("anna")
    # What was refused is not counted.
    now = 60.0
    assert [bound.allows("anna"), bound.allows("anna"), bound.allows("anna")] == [True, True, False]


def test_quiet_keys_are_forgotten_and_a_flood_of_them_does_not_fill_the_memory() -> None:
    now = 0.0
    bound = Bound(1, 60.0, lambda: now)
    for number in range(MOST + 1):
        assert bound.allows(f"client {number}")
    for number in range(3 * MOST):
        bound.allows(f"another {number}")
    assert len(bound._done) <= MOST + 1
    now = 200.0
    assert bound.allows("another 1")


@pytest.mark.parametrize(
    ("host", "household"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_line_with_ipv6_counts_as_one_however_many_addresses_it_uses(host: str, household: str) -> None:
    assert household_of(host) == household
