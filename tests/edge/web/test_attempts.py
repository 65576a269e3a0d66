from __future__ import annotations

from edge.web.attempts import Attempts
from tests.edge.clock import Clock


def test_the_sixth_attempt_within_a_minute_has_to_wait() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(5):
        assert attempts.wait_s("10.0.0.1") == 0
        attempts.begin("10.0.0.1")
        clock.now += 1
    assert attempts.wait_s("10.0.0.1") == 55
    assert attempts.wait_s("10.0.0.2") == 0
    clock.now += 55
    assert attempts.wait_s("10.0.0.1") == 0


def test_who_logs_in_in_between_has_no_more_guesses() -> None:
    attempts = Attempts(Clock())
    for _ in range(4):
        attempts.begin("10.0.0.1")
        attempts.begin("10.0.0.1")
        attempts.succeed("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == 0
    attempts.begin("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") > 0


def test_addresses_of_one_ipv6_network_are_one() -> None:
    attempts = Attempts(Clock())
    for last in range(5):
        attempts.begin(f"2001:db8::{last}")
    assert attempts.wait_s("2001:db8::ffff") > 0
    assert attempts.wait_s("2001:db8:0:1::1") == 0


def test_addresses_without_end_take_no_memory_without_end() -> None:
    attempts = Attempts(Clock())
    for number in range(10_050):
        attempts.begin(f"10.0.{number // 256}.{number % 256}")
    assert len(attempts._failed) == 10_000
