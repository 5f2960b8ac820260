"""What one user may do only so often."""

from services.console.throttle import Bound


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
