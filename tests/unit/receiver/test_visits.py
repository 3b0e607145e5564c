"""What a redirect and a disconnect call bring along, and what of it is not taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.address import DOMAINS
from receiver.installs.visits import Arrival, Hint, Unusable, read_callback, read_disconnect, referer_host

CODE = "def50200" + "0a" * 300
GOOD = {"code": CODE, "referer": "acme.kommo.com", "state": "s.t.u", "client_id": "c"}
SIGNATURE = "5f" * 32


def callback(**changes: str) -> Arrival | None:
    return read_callback({name: [value] for name, value in {**GOOD, **changes}.items()})


def refused(**changes: str) -> str:
    with pytest.raises(Unusable) as caught:
        callback(**changes)
    return caught.value.reason


class TestARedirect:
    def test_gives_code_host_state_and_integration(self) -> None:
        assert callback() == Arrival(CODE, "acme.kommo.com", "c", "s.t.u", from_widget=False)

    def test_without_anything_is_a_probe(self) -> None:
        assert read_callback({}) is None

    @pytest.mark.parametrize("value", ["1", "true", "Y"])
    def test_of_a_widget_says_so(self, value: str) -> None:
        arrival = callback(from_widget=value, state="")
        assert arrival is not None
        assert arrival.from_widget

    @pytest.mark.parametrize("value", ["", "0", "false"])
    def test_that_denies_being_a_widgets_is_none(self, value: str) -> None:
        arrival = callback(from_widget=value)
        assert arrival is not None
        assert not arrival.from_widget

    def test_of_somebody_who_did_not_agree_is_told_apart_from_other_errors(self) -> None:
        assert (refused(error="access_denied"), refused(error="server_error")) == ("denied", "error")

    @pytest.mark.parametrize("code", ["", "a b", "a\nb", "<b>", "é", "x" * 2001, "\0"])
    def test_with_what_is_no_code_is_refused(self, code: str) -> None:
        assert refused(code=code) == "code"

    @pytest.mark.parametrize("name", ["code", "referer", "state", "client_id", "from_widget", "error"])
    def test_that_says_something_twice_is_refused(self, name: str) -> None:
        query = {key: [value] for key, value in GOOD.items()} | {name: ["a", "a"]}
        with pytest.raises(Unusable) as caught:
            read_callback(query)
        assert caught.value.reason == "twice"

    def test_may_carry_parameters_that_nobody_knows(self) -> None:
        assert callback(platform="2") == callback()

    def test_shows_neither_code_nor_state_in_its_repr(self) -> None:
        assert CODE not in repr(callback())
        assert "s.t.u" not in repr(callback())


class TestTheHost:
    @pytest.mark.parametrize("domain", DOMAINS)
    @pytest.mark.parametrize("name", ["acme", "a", "acme-2", "0"])
    def test_is_one_name_before_a_domain_of_kommos(self, name: str, domain: str) -> None:
        assert referer_host(f"{name}.{domain}") == f"{name}.{domain}"

    def test_is_read_without_regard_to_case(self) -> None:
        assert referer_host("Acme.KOMMO.com") == "acme.kommo.com"

    @pytest.mark.parametrize(
        "referer",
        [
            "",
            "acme",
            "kommo.com",
            ".kommo.com",
            "www.kommo.com",
            "WWW.Kommo.com",
            "a.b.kommo.com",
            "acme.kommo.com.",
            "acme..kommo.com",
            "acme.kommo.com.evil.test",
            "acme.evilkommo.com",
            "acmekommo.com",
            "evil.test/kommo.com",
            "evil.test/.kommo.com",
            "evil.test#.kommo.com",
            "evil.test?.kommo.com",
            "evil.test\\.kommo.com",
            "user@acme.kommo.com",
            "acme.kommo.com@evil.test",
            "acme.kommo.com:443",
            "https://acme.kommo.com",
            "//acme.kommo.com",
            "acme.kommo.com/",
            " acme.kommo.com",
            "acme.kommo.com\n",
            "acme%2ekommo.com",
            "-acme.kommo.com",
            "acme_.kommo.com",
            "аcme.kommo.com",
            "acme.\u212aommo.com",
            "ac\u212ae.kommo.com",
            "acme。kommo.com",
            "acme.kommo.ru",
            "127.0.0.1",
            "[::1]",
            "localhost",
        ],
    )
    def test_is_nothing_else_however_much_it_looks_like_one(self, referer: str) -> None:
        with pytest.raises(Unusable) as caught:
            referer_host(referer)
        assert caught.value.reason == "referer"

    @pytest.mark.parametrize("name", ["developers", "support", "status", "api-c", "drive-b", "Amojo", "id", "WS-2"])
    @pytest.mark.parametrize("domain", DOMAINS)
    def test_is_no_service_of_kommos_to_which_no_secret_goes(self, name: str, domain: str) -> None:
        with pytest.raises(Unusable, match="services") as caught:
            referer_host(f"{name}.{domain}")
        assert caught.value.reason == "referer"

    @pytest.mark.parametrize("name", ["apiary", "drivers", "supportive", "filesharing", "my-api", "statusquo"])
    def test_may_be_an_account_whose_name_begins_like_one(self, name: str) -> None:
        assert referer_host(f"{name}.kommo.com") == f"{name}.kommo.com"

    def test_is_not_repeated_in_the_sentence_about_it(self) -> None:
        with pytest.raises(Unusable) as caught:
            referer_host("acme.evil.test")
        assert "evil" not in str(caught.value)

    @given(st.text())
    def test_always_ends_in_a_domain_of_kommos_and_has_one_name_before_it(self, referer: str) -> None:
        for text in (referer, f"{referer}.kommo.com", f"acme.kommo.com{referer}"):
            try:
                host = referer_host(text)
            except Unusable:
                continue
            name, _, domain = host.partition(".")
            assert domain in DOMAINS
            assert name.replace("-", "").isalnum()


class TestADisconnectCall:
    @pytest.mark.parametrize("name", ["client_uuid", "client_id"])
    def test_names_the_integration_in_either_way(self, name: str) -> None:
        query = {name: ["c"], "account_id": ["42"], "signature": [SIGNATURE]}
        assert read_disconnect(query) == Hint(42, "c", SIGNATURE)

    def test_may_name_it_in_both_ways_if_they_agree(self) -> None:
        query = {"client_uuid": ["c"], "client_id": ["c"], "account_id": ["42"], "signature": [SIGNATURE]}
        assert read_disconnect(query).client_id == "c"

    @pytest.mark.parametrize(
        "changes",
        [
            {"client_uuid": []},
            {"client_id": ["d"]},
            {"account_id": []},
            {"account_id": ["0"]},
            {"account_id": ["-1"]},
            {"account_id": ["٤٢"]},
            {"account_id": ["9" * 16]},
            {"signature": []},
            {"signature": [""]},
            {"signature": [SIGNATURE, SIGNATURE]},
            {"account_id": ["42", "42"]},
        ],
    )
    def test_is_unusable_when_anything_is_missing_or_said_twice(self, changes: dict[str, list[str]]) -> None:
        query = {"client_uuid": ["c"], "account_id": ["42"], "signature": [SIGNATURE], **changes}
        with pytest.raises(Unusable):
            read_disconnect(query)
