"""Our webhook is found among an account's webhooks, whichever form its address has."""

from typing import Any

import pytest

from kommo.hooks.signature import url_signature, webhook_url
from kommo.hooks.subscription import Address, Sight, sight

BASE = "https://Hooks.example.org/in"
NEW, OLD = (url_signature(secret, "client", 77) for secret in ("new", "old"))
ADDRESS = Address(77, BASE, (NEW, OLD))


def webhook(destination: str, *settings: str, disabled: Any = False) -> dict[str, Any]:
    return {"id": 1, "destination": destination, "settings": list(settings), "disabled": disabled}


def test_what_is_registered_is_what_the_commands_register() -> None:
    assert ADDRESS.url == webhook_url(BASE, "new", "client", 77)


@pytest.mark.parametrize("address", [Address(77, "", (NEW,)), Address(77, BASE, ())])
def test_without_a_base_or_a_secret_nothing_can_be_registered(address: Address) -> None:
    assert address.url == ""


@pytest.mark.parametrize(
    "destination",
    [
        f"{BASE}/webhooks/77/{NEW}/",
        f"{BASE}/webhooks/77/{NEW}",
        f"https://hooks.EXAMPLE.org/in/webhooks/77/{NEW}/",
        f"{BASE}/webhooks/77/{OLD}/",
        f"{BASE}/webhooks/77/?signature={NEW}",
        f"{BASE}/webhooks/77?signature={OLD}",
    ],
)
def test_ours_is_known_in_every_form_that_the_receiver_takes(destination: str) -> None:
    assert ADDRESS.owns(destination)


@pytest.mark.parametrize(
    "destination",
    [
        f"https://other.example.org/in/webhooks/77/{NEW}/",
        f"https://hooks.example.org/elsewhere/in/webhooks/77/{NEW}/",
        f"{BASE}/webhooks/78/{NEW}/",
        f"{BASE}/webhooks/770/{NEW}/",
        f"{BASE}/webhooks/77/{'0' * 64}/",
        f"{BASE}/webhooks/77/",
        f"{BASE}/{NEW}/",
        "https://[broken",
        "",
    ],
)
def test_others_are_not(destination: str) -> None:
    assert not ADDRESS.owns(destination)


def test_without_a_base_the_path_decides() -> None:
    address = Address(77, "", (NEW,))
    assert address.owns(f"https://anywhere.example/deep/webhooks/77/{NEW}/")
    assert not address.owns(f"https://anywhere.example/webhooks/77/{'0' * 64}/")


def test_without_a_secret_any_signature_will_do() -> None:
    address = Address(77, BASE, ())
    assert address.owns(f"{BASE}/webhooks/77/{'0' * 64}/")
    assert not address.owns(f"{BASE}/webhooks/77/nothing/")


class TestSight:
    URL = ADDRESS.url

    def test_of_none_there_is_nothing_to_see(self) -> None:
        assert sight([webhook("https://other.example/", "add_lead")], ADDRESS) == Sight()

    @pytest.mark.parametrize(
        ("disabled", "is_on"), [(False, True), (None, True), ("0", True), (True, False), (1, False)]
    )
    def test_the_flag_says_whether_it_is_on(self, disabled: Any, is_on: bool) -> None:
        assert sight([webhook(self.URL, "add_lead", disabled=disabled)], ADDRESS).is_on is is_on

    def test_of_several_that_are_on_it_gets_what_all_get(self) -> None:
        rows = [webhook(f"{BASE}/webhooks/77/{OLD}/", "add_lead"), webhook(self.URL, "update_lead")]
        assert sight(rows, ADDRESS) == Sight(self.URL, True, frozenset({"add_lead", "update_lead"}))

    def test_one_that_is_on_is_enough(self) -> None:
        old = f"{BASE}/webhooks/77/{OLD}/"
        rows = [webhook(self.URL, "add_lead", disabled=True), webhook(old, "update_lead")]
        assert sight(rows, ADDRESS) == Sight(old, True, frozenset({"update_lead"}))

    def test_what_is_wanted_and_does_not_come_is_named(self) -> None:
        seen = sight([webhook(self.URL, "add_lead")], ADDRESS)
        assert seen.lacking(["add_lead", "add_task", "note_lead"]) == ("add_task", "note_lead")


class TestElsewhere:
    @pytest.mark.parametrize(
        ("destination", "named"),
        [
            (f"https://green.example.org/webhooks/77/{NEW}/", "https://green.example.org"),
            (f"https://green.example.org:8443/in/webhooks/77/?signature={OLD}", "https://green.example.org:8443/in"),
            (f"https://hooks.example.org/before/webhooks/77/{OLD}", "https://hooks.example.org/before"),
            (f"https://user:pass@green.example.org/webhooks/77/{NEW}/", "https://green.example.org"),
        ],
    )
    def test_a_receiver_that_is_not_this_one_is_named_without_the_proof(self, destination: str, named: str) -> None:
        rows = [webhook(destination, "add_lead"), webhook(ADDRESS.url, "add_lead")]
        assert sight(rows, ADDRESS) == Sight(ADDRESS.url, True, frozenset({"add_lead"}), (named,))
        assert sight(rows[:1], ADDRESS) == Sight(elsewhere=(named,))

    @pytest.mark.parametrize(
        "row",
        [
            webhook(f"https://green.example.org/webhooks/77/{'0' * 64}/", "add_lead"),
            webhook(f"https://green.example.org/webhooks/78/{NEW}/", "add_lead"),
            webhook("https://green.example.org/other", "add_lead"),
            webhook("https://[broken", "add_lead"),
            webhook(f"https://green.example.org/webhooks/77/{NEW}/", "add_lead", disabled=True),
            webhook(ADDRESS.url, "add_lead"),
        ],
        ids=["no proof", "another account", "a stranger", "no URL", "switched off", "this one"],
    )
    def test_others_are_not(self, row: dict[str, Any]) -> None:
        assert sight([row], ADDRESS).elsewhere == ()

    @pytest.mark.parametrize("address", [Address(77, "", (NEW,)), Address(77, BASE, ())])
    def test_who_does_not_know_its_own_address_or_secret_names_none(self, address: Address) -> None:
        assert address.elsewhere(f"https://green.example.org/webhooks/77/{NEW}/") == ""
