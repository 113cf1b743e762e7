"""A short run of the fuzz with a fixed seed; long ones are `tests.trust.fuzz`."""

from tests.trust.fuzz import run


def test_random_calls_get_a_right_number_or_a_message():
    found = run(250, 0)
    assert not found, "\n\n".join(f"{h}: {wrong}" for h, wrong in found.values())
