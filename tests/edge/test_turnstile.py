from __future__ import annotations

import threading

from edge.turnstile import Turnstile


def test_it_lets_in_as_many_as_there_is_room_for_and_the_others_in_turn() -> None:
    turnstile = Turnstile(2)
    tickets = [turnstile.queue() for _ in range(4)]
    assert not turnstile.enter(tickets[1], 0.0)
    assert turnstile.enter(tickets[0], 0.0)
    assert turnstile.enter(tickets[1], 0.0)
    assert not turnstile.enter(tickets[2], 0.01)
    turnstile.leave()
    assert not turnstile.enter(tickets[3], 0.0)
    assert turnstile.enter(tickets[2], 0.0)


def test_who_gives_up_stands_in_nobodys_way() -> None:
    turnstile = Turnstile(1)
    first, second = turnstile.queue(), turnstile.queue()
    turnstile.give_up(first)
    turnstile.give_up(first)
    assert turnstile.enter(second, 0.0)


def test_one_that_comes_again_at_once_stands_behind_those_that_wait() -> None:
    turnstile = Turnstile(1)
    order: list[str] = []
    inside = turnstile.queue()
    assert turnstile.enter(inside, 0.0)
    patient = turnstile.queue()

    def wait() -> None:
        assert turnstile.enter(patient, 30.0)
        order.append("patient")
        turnstile.leave()

    thread = threading.Thread(target=wait)
    thread.start()
    turnstile.leave()
    again = turnstile.queue()
    assert turnstile.enter(again, 30.0)
    order.append("again")
    thread.join(30)
    assert order == ["patient", "again"]
