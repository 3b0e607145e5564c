"""Webhooks that are switched off: by a call, after many bad answers, and by whom they are enabled again."""

import pytest
from sandbox_surroundings import Client, Receiver, rows

from sandbox.ladder import SWITCH_OFF_AFTER


def _register(client: Client, receiver: Receiver) -> str:
    body = {"destination": receiver.url(), "settings": ["add_lead"]}
    assert client.post("/webhooks", body).status == 201
    return receiver.url()


def _is_disabled(client: Client) -> bool:
    (row,) = rows(client.get("/webhooks"), "webhooks")
    return bool(row["disabled"])


@pytest.mark.parametrize("named_by", ["destination", "id"])
def test_one_that_is_switched_off_gets_nothing_and_the_list_says_so(
    client: Client, receiver: Receiver, named_by: str
) -> None:
    _register(client, receiver)
    (row,) = rows(client.get("/webhooks"), "webhooks")
    client.run("webhooks/disable", **{named_by: row[named_by]})
    assert _is_disabled(client)
    client.run("lead.create", name="Nobody hears of it")
    assert client.box.settled()
    assert receiver.received == []


def test_registering_enables_it_unless_it_is_off_firmly(client: Client, receiver: Receiver) -> None:
    address = _register(client, receiver)
    for firmly, is_off in ((False, False), (True, True)):
        client.run("webhooks/disable", destination=address, firmly=firmly)
        _register(client, receiver)
        assert _is_disabled(client) is is_off
    client.run("webhooks/enable", destination=address)
    assert not _is_disabled(client)
    client.run("webhooks/disable", destination=address)
    _register(client, receiver)
    assert not _is_disabled(client)


def test_more_than_a_hundred_bad_answers_switch_it_off(client: Client, receiver: Receiver) -> None:
    receiver.answers = [503]
    _register(client, receiver)
    for number in range(SWITCH_OFF_AFTER):
        client.run("lead.create", name=f"Lead {number}")
    assert client.box.settled()
    assert _is_disabled(client)


def test_what_is_not_registered_cannot_be_switched_off(client: Client) -> None:
    answer = client.ask("POST", "/_sandbox/webhooks/disable", {"destination": "https://other.example/"})
    assert answer.status == 404
