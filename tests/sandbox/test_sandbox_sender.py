"""Deliveries on their way: order, timeouts, repetition, switching off."""

import socket
import time
from contextlib import closing
from itertools import pairwise
from threading import Thread
from typing import Any

import pytest
from sandbox_surroundings import Client, Receiver

from sandbox.delivery import masked
from tests.waiting import wait_for


def listen(client: Client, receiver: Receiver, *settings: str, path: str = "/hooks/") -> None:
    client.box.register(receiver.url(path), *settings)


def kinds(receiver: Receiver) -> list[str]:
    return [
        next(key for key, _ in one.pairs if not key.startswith("account")).split("[0]")[0] for one in receiver.received
    ]


def test_only_what_was_subscribed_is_sent(client: Client, receiver: Receiver) -> None:
    listen(client, receiver, "update_lead", "responsible_contact")
    lead, contact = client.add("leads", name="a"), client.add("contacts", name="b")
    client.patch(f"/leads/{lead}", {"status_id": 142})
    client.patch(f"/contacts/{contact}", {"name": "c"})
    client.patch(f"/contacts/{contact}", {"responsible_user_id": 0})
    assert client.box.settled()
    assert kinds(receiver) == ["leads[update]", "contacts[update]"]
    assert receiver.received[1].values["contacts[update][0][old_responsible_user_id]"] == "9000100"


def test_a_moved_lead_is_told_twice_and_a_new_owner_a_third_time(client: Client, receiver: Receiver) -> None:
    lead = client.add("leads", name="a")
    listen(client, receiver, "update_lead", "status_lead", "responsible_lead")
    client.patch(f"/leads/{lead}", {"status_id": 142, "responsible_user_id": 0})
    assert client.box.settled()
    assert kinds(receiver) == ["leads[update]", "leads[status]", "leads[responsible]"]
    assert receiver.received[0].values["leads[update][0][old_status_id]"] == "61000002"
    assert "leads[update][0][old_responsible_user_id]" not in receiver.received[0].values


def test_a_contact_with_a_new_owner_is_told_once_even_if_both_events_were_subscribed(
    client: Client, receiver: Receiver
) -> None:
    contact = client.add("contacts", name="b")
    listen(client, receiver, "update_contact", "responsible_contact")
    client.patch(f"/contacts/{contact}", {"responsible_user_id": 0})
    assert client.box.settled()
    assert kinds(receiver) == ["contacts[update]"]


def test_first_attempts_to_a_destination_keep_the_order_of_the_changes(client: Client, receiver: Receiver) -> None:
    lead = client.add("leads", name="a")
    listen(client, receiver, "update_lead")
    names = [f"n{number}" for number in range(60)]
    for name in names:
        client.patch(f"/leads/{lead}", {"name": name})
    assert client.box.settled()
    assert [one.values["leads[update][0][name]"] for one in receiver.received] == names


def test_a_receiver_that_does_not_answer_neither_holds_up_the_api_nor_other_receivers(
    start: Any, receiver: Receiver
) -> None:
    client: Client = start(delivery_timeout=5.0, time_scale=1.0)
    with Receiver() as silent:
        silent.answers = [None]
        client.box.register(silent.url(), "add_lead")
        listen(client, receiver, "add_lead")
        started = time.monotonic()
        client.add("leads", name="a")
        receiver.wait_for(1)
        assert time.monotonic() - started < 2.5
        silent.wait_for(1)


def test_an_answer_after_the_time_limit_counts_as_499_and_is_repeated(start: Any, receiver: Receiver) -> None:
    client: Client = start(delivery_timeout=0.2)
    receiver.answers = [None, 200]
    listen(client, receiver, "add_lead")
    client.add("leads", name="a")
    assert client.box.settled()
    sent = client.box.deliveries()[0]
    assert [attempt["status"] for attempt in sent["attempts"]] == [499, 200]
    assert 200 <= sent["attempts"][0]["duration_ms"] < 1000
    assert sent["state"] == "delivered"


def test_an_answer_that_trickles_in_does_not_stretch_the_time_limit(start: Any) -> None:
    client: Client = start(delivery_timeout=0.3, time_scale=1.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def trickle() -> None:
            connection, _ = server.accept()
            with connection:
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100:
                    try:
                        connection.sendall(bytes([byte]))
                    except OSError:
                        return
                    time.sleep(0.05)

        thread = Thread(target=trickle)
        thread.start()
        client.box.register(f"http://127.0.0.1:{server.getsockname()[1]}/", "add_lead")
        client.add("leads", name="a")
        thread.join()
        client.box.world.sender.stop()
    attempt = client.box.deliveries()[0]["attempts"][0]
    assert attempt["status"] == 499
    assert attempt["duration_ms"] < 1000


@pytest.mark.parametrize(("answer", "attempts"), [(307, 3), (404, 3), (503, 5)])
def test_a_failure_is_repeated_as_often_as_its_status_earns(
    client: Client, receiver: Receiver, answer: int, attempts: int
) -> None:
    receiver.answers = [answer]
    listen(client, receiver, "add_lead")
    client.add("leads", name="a")
    assert client.box.settled()
    sent = client.box.deliveries()[0]
    assert ([attempt["status"] for attempt in sent["attempts"]], sent["state"]) == ([answer] * attempts, "failed")
    assert len({one.body for one in receiver.received}) == 1, "the same bytes each time"
    assert {one.path for one in receiver.received} == {"/hooks/"}, "a redirect is not followed"


def test_the_waits_between_attempts_are_the_scaled_ladder(start: Any, receiver: Receiver) -> None:
    client: Client = start(time_scale=0.0005)
    receiver.answers = [404]
    listen(client, receiver, "add_lead")
    client.add("leads", name="a")
    assert client.box.settled()
    times = [attempt["at"] for attempt in client.box.deliveries()[0]["attempts"]]
    waits = [after - before for before, after in pairwise(times)]
    assert waits[0] >= 0.15
    assert waits[1] >= 0.45


def test_a_later_delivery_does_not_wait_for_the_repetition_of_an_earlier_one(start: Any, receiver: Receiver) -> None:
    client: Client = start(time_scale=0.001)
    receiver.answers = [500, 200]
    listen(client, receiver, "add_lead")
    client.add("leads", name="first")
    client.add("leads", name="second")
    assert client.box.settled()
    assert [one.values["leads[add][0][name]"] for one in receiver.received] == ["first", "second", "first"]


def test_nobody_listening_is_no_connection(client: Client) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    client.box.register(f"http://127.0.0.1:{port}/", "add_lead")
    client.add("leads", name="a")
    assert client.box.settled()
    assert [attempt["status"] for attempt in client.box.deliveries()[0]["attempts"]] == [0, 0, 0]


def test_after_more_than_a_hundred_bad_answers_a_webhook_is_off_until_it_is_enabled(
    start: Any, receiver: Receiver
) -> None:
    client: Client = start(time_scale=1.0)
    receiver.answers = [400]
    listen(client, receiver, "add_lead")
    client.post("/leads", [{"name": str(number)} for number in range(120)])
    receiver.wait_for(101)
    hook = client.box.world.webhooks.all()[0]
    wait_for(
        lambda: hook.disabled and client.box.world.sender.by_state()["dropped"] == 19,
        what="the webhook is off, and what was left for it is dropped",
    )
    assert client.get("/webhooks").json["_embedded"]["webhooks"][0]["disabled"] is True
    client.add("leads", name="unheard")
    assert len(client.box.deliveries()) == 120, "nothing is sent to it any more"
    receiver.answers = [200]
    client.run("webhooks/enable", destination=hook.destination)
    client.add("leads", name="heard")
    assert receiver.wait_for(102)[-1].values["leads[add][0][name]"] == "heard"


def test_registering_again_enables_too(client: Client, receiver: Receiver) -> None:
    listen(client, receiver, "add_lead")
    client.box.world.webhooks.all()[0].disabled = True
    client.post("/webhooks", {"destination": receiver.url(), "settings": ["add_lead"]})
    client.add("leads", name="a")
    assert receiver.wait_for(1)


def test_what_is_on_its_way_to_a_removed_webhook_is_dropped(start: Any, receiver: Receiver) -> None:
    client: Client = start(time_scale=0.001)
    receiver.answers = [500]
    listen(client, receiver, "add_lead")
    client.add("leads", name="a")
    receiver.wait_for(1)
    client.ask("DELETE", "/api/v4/webhooks", {"destination": receiver.url()})
    assert client.box.settled()
    assert (len(receiver.received), client.box.deliveries()[0]["state"]) == (1, "dropped")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://h.example/webhooks/31/abcdef/", "http://h.example/webhooks/31/***/"),
        ("http://h.example/webhooks/31/abcdef", "http://h.example/webhooks/31/***"),
        ("http://h.example/?signature=abcdef", "http://h.example/?***"),
        ("https://me:pass@h.example:8443/a", "https://h.example:8443/***"),
        ("http://h.example", "http://h.example"),
    ],
)
def test_the_log_does_not_show_what_proves_the_sender(address: str, shown: str) -> None:
    assert masked(address) == shown
