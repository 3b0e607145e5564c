"""The webhook doors: who gets in, what is stored, and what never happens."""

import json
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from redis import Redis
from werkzeug.datastructures import Headers

from kommo.hooks.signature import body_signature, url_signature
from kommo.store.inbox import Entry
from kommo.store.keys import Keys
from receiver.bodies import PROVEN_BYTES, UNPROVEN_BYTES
from tests.integration.receiver.wire import (
    ACCOUNT,
    CLIENT,
    DOOR,
    FORMER,
    FORMER_SIGNATURE,
    SECRET,
    SIGNATURE,
    body_proof,
    lead,
)
from tests.integration.workers.logs import Lines, logged
from tests.waiting import wait_for

Stored = Callable[[], list[Entry]]
Counters = Callable[[], dict[str, int]]
FORM = "application/x-www-form-urlencoded"

WAYS = {
    "path": (f"/webhooks/{ACCOUNT}/{SIGNATURE}", {}),
    "query": (f"/webhooks/{ACCOUNT}", {"query_string": {"signature": SIGNATURE}}),
    "header": (f"/webhooks/{ACCOUNT}", {"headers": {"X-Signature": SIGNATURE}}),
    "header over the body": (f"/webhooks/{ACCOUNT}", {"headers": body_proof(lead())}),
    "bare door, query": ("/webhooks", {"query_string": {"signature": SIGNATURE}}),
    "bare door, header": ("/webhooks", {"headers": {"X-Signature": SIGNATURE}}),
    "bare door, header over the body": ("/webhooks", {"headers": body_proof(lead())}),
}


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
@pytest.mark.parametrize("way", WAYS)
def test_a_proven_delivery_is_stored_as_it_came_and_answered_with_nothing(
    client: FlaskClient, stored: Stored, way: str, slash: str
) -> None:
    path, options = WAYS[way]
    answer = client.post(path + slash, data=lead(), content_type=FORM, **options)
    assert (answer.status_code, answer.data, answer.headers.get("Location")) == (200, b"", None)
    (entry,) = stored()
    assert (entry.delivery.body, entry.delivery.content_type, entry.delivery.account_id) == (lead(), FORM, ACCOUNT)


def test_a_delivery_gets_an_id_that_sorts_by_its_time(client: FlaskClient, stored: Stored) -> None:
    for number in range(5):
        client.post(DOOR, data=lead(number))
    ids = [entry.delivery.id for entry in stored()]
    assert len(set(ids)) == 5
    assert ids == sorted(ids, key=lambda id_: id_[:12])
    assert int(ids[0][:12], 16) == pytest.approx(stored()[0].delivery.received_ms, abs=1000)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (f"/webhooks/{ACCOUNT}/{FORMER_SIGNATURE}/", {}),
        (f"/webhooks/{ACCOUNT}/", {"query_string": {"signature": FORMER_SIGNATURE}}),
        (f"/webhooks/{ACCOUNT}/", {"headers": body_proof(lead(), FORMER)}),
        ("/webhooks/", {"headers": {"X-Signature": FORMER_SIGNATURE}}),
    ],
)
def test_the_previous_secret_still_proves(client: FlaskClient, path: str, options: dict[str, object]) -> None:
    assert client.post(path, data=lead(), **options).status_code == 200


WRONG = {
    "empty": "",
    "short": SIGNATURE[:-1],
    "long": SIGNATURE + "0",
    "of another account": url_signature(SECRET, CLIENT, ACCOUNT + 1),
    "of another integration": url_signature(SECRET, "other", ACCOUNT),
    "of another secret": url_signature("guessed", CLIENT, ACCOUNT),
    "upper case": SIGNATURE.upper(),
    "not hexadecimal": "z" * 64,
    "not ascii": "é" * 64,
    "full-width digits": "０" * 64,
    "zeros": "0" * 64,
    "nul": "\0" * 64,
    "the secret itself": SECRET,
}


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
@pytest.mark.parametrize("wrong", [case for case in WRONG if case != "empty"])
def test_a_wrong_signature_in_the_path_is_refused(client: FlaskClient, wrong: str, slash: str) -> None:
    path = f"/webhooks/{ACCOUNT}/{quote(WRONG[wrong])}{slash}"
    assert client.post(path, data=lead()).status_code == 401


@pytest.mark.parametrize("door", [f"/webhooks/{ACCOUNT}/", "/webhooks/"], ids=["account", "bare"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_signature_in_the_query_is_refused(client: FlaskClient, stored: Stored, wrong: str, door: str) -> None:
    answer = client.post(f"{door}?signature={quote(WRONG[wrong])}", data=lead())
    assert (answer.status_code, answer.data, stored()) == (401, b"", [])


@pytest.mark.parametrize("door", [f"/webhooks/{ACCOUNT}/", "/webhooks/"], ids=["account", "bare"])
@pytest.mark.parametrize("wrong", [case for case in WRONG if case not in {"full-width digits", "nul"}])
def test_a_wrong_signature_in_the_header_is_refused(client: FlaskClient, wrong: str, door: str) -> None:
    assert client.post(door, data=lead(), headers={"X-Signature": WRONG[wrong]}).status_code == 401


@pytest.mark.parametrize("door", [f"/webhooks/{ACCOUNT}/", "/webhooks/"], ids=["account", "bare"])
class TestNoOrTwoProofs:
    def test_no_proof_is_refused(self, client: FlaskClient, door: str) -> None:
        assert client.post(door, data=lead()).status_code == 401

    def test_two_in_the_query_are_refused_even_when_both_are_right(self, client: FlaskClient, door: str) -> None:
        path = f"{door}?signature={SIGNATURE}&signature={SIGNATURE}"
        assert client.post(path, data=lead()).status_code == 401

    def test_two_headers_are_refused_even_when_both_are_right(self, client: FlaskClient, door: str) -> None:
        headers = Headers([("X-Signature", SIGNATURE), ("X-Signature", SIGNATURE)])
        assert client.post(door, data=lead(), headers=headers).status_code == 401

    def test_a_right_query_does_not_make_good_a_wrong_header(self, client: FlaskClient, door: str) -> None:
        answer = client.post(f"{door}?signature={SIGNATURE}", data=lead(), headers={"X-Signature": "0" * 64})
        assert answer.status_code == 401

    def test_a_right_header_does_not_make_good_a_wrong_query(self, client: FlaskClient, door: str) -> None:
        answer = client.post(f"{door}?signature={'0' * 64}", data=lead(), headers={"X-Signature": SIGNATURE})
        assert answer.status_code == 401

    def test_a_proof_over_another_body_is_refused(self, client: FlaskClient, door: str) -> None:
        assert client.post(door, data=lead(2), headers=body_proof(lead(1))).status_code == 401


@pytest.mark.parametrize("account", ["acme", "0", "-1", "1e9", "٣", "031555001", "9" * 16, "1.5", "%00"])
@pytest.mark.parametrize("rest", ["", f"{SIGNATURE}/"])
def test_an_account_in_the_path_that_is_no_number_is_refused(client: FlaskClient, account: str, rest: str) -> None:
    answer = client.post(f"/webhooks/{account}/{rest}", data=lead(), headers={"X-Signature": SIGNATURE})
    assert answer.status_code == 401


class TestTheBareDoor:
    def prove(self, client: FlaskClient, body: bytes, account: int = ACCOUNT) -> int:
        proof = {"X-Signature": url_signature(SECRET, CLIENT, account)}
        return client.post("/webhooks/", data=body, headers=proof).status_code

    def test_the_account_is_found_in_the_body(self, client: FlaskClient, stored: Stored) -> None:
        assert self.prove(client, lead()) == 200
        assert stored()[0].delivery.account_id == ACCOUNT

    def test_the_account_is_found_in_json_too(self, client: FlaskClient, stored: Stored) -> None:
        assert self.prove(client, json.dumps({"account_id": ACCOUNT}).encode()) == 200
        assert len(stored()) == 1

    def test_a_body_that_names_no_account_is_refused(self, client: FlaskClient) -> None:
        assert self.prove(client, b"leads[add][0][id]=1") == 401
        assert self.prove(client, b"") == 401

    def test_a_body_that_names_two_accounts_is_refused_whoever_signed(self, client: FlaskClient) -> None:
        body = b"account[id]=%d&leads[add][0][account_id]=%d" % (ACCOUNT, ACCOUNT + 1)
        assert self.prove(client, body) == 401
        assert self.prove(client, body, ACCOUNT + 1) == 401

    def test_another_accounts_proof_is_refused(self, client: FlaskClient) -> None:
        assert self.prove(client, lead(), ACCOUNT + 1) == 401


NOT_WAYS = [
    "//",
    "//webhooks",
    "/webhooks//",
    f"/webhooks//{SIGNATURE}/",
    f"//webhooks/{ACCOUNT}/{SIGNATURE}/",
    f"/webhooks/{ACCOUNT}//{SIGNATURE}/",
    f"/webhooks/{ACCOUNT}/{SIGNATURE}//",
    f"/webhooks/{ACCOUNT}/{SIGNATURE}/more/",
    f"/Webhooks/{ACCOUNT}/{SIGNATURE}/",
    f"/webhooks/./{ACCOUNT}/{SIGNATURE}/",
    "/nowhere",
    "/webhook",
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", NOT_WAYS)
def test_no_path_leads_to_a_redirect(client: FlaskClient, stored: Stored, method: str, path: str) -> None:
    # Sent as it stands: the test client would take `//webhooks` for a host.
    answer = client.open(method=method, environ_overrides={"PATH_INFO": path}, data=lead())
    assert answer.status_code in {200, 401, 404, 405}
    assert "Location" not in answer.headers
    assert len(stored()) == (method == "POST" and answer.status_code == 200)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/", f"/webhooks/{ACCOUNT}", DOOR, DOOR[:-1]])
def test_another_method_is_refused_and_told_the_right_one(client: FlaskClient, path: str, method: str) -> None:
    answer = client.open(path, method=method, data=lead())
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/nowhere", "/webhooks/1/2/3"])
def test_refusals_carry_no_page_that_repeats_what_was_asked(client: FlaskClient, path: str) -> None:
    for answer in (client.post(path), client.get(DOOR)):
        assert answer.data == b""


class TestProofComesFirst:
    """A stranger's body is not read beyond what the proof takes, let alone decoded."""

    def test_a_body_that_nothing_can_decode_is_refused_for_its_proof_alone(self, client: FlaskClient) -> None:
        assert client.post(f"/webhooks/{ACCOUNT}/{'0' * 64}/", data=b"a[[[[=" + b"%" * 999).status_code == 401

    def test_a_wrong_path_is_refused_before_the_length_is_looked_at(self, client: FlaskClient) -> None:
        answer = client.post(f"/webhooks/{ACCOUNT}/{'0' * 64}/", headers={"Content-Length": str(10**9)})
        assert answer.status_code == 401

    def test_a_wrong_query_is_refused_before_the_length_is_looked_at(self, client: FlaskClient) -> None:
        answer = client.post(f"/webhooks/{ACCOUNT}/?signature=0", headers={"Content-Length": str(10**9)})
        assert answer.status_code == 401


class TestLengths:
    def test_a_proven_url_may_send_up_to_8_mib(self, client: FlaskClient, stored: Stored) -> None:
        # So much may take a busy machine longer than the receiver waits; then Kommo sends it again.
        wait_for(lambda: client.post(DOOR, data=b"a" * PROVEN_BYTES).status_code == 200, what="8 MiB are stored")
        assert len(stored()[0].delivery.body) == PROVEN_BYTES
        assert client.post(DOOR, data=b"a" * (PROVEN_BYTES + 1)).status_code == 413

    def test_so_may_a_proven_query(self, client: FlaskClient) -> None:
        door = f"/webhooks/{ACCOUNT}/?signature={SIGNATURE}"
        assert client.post(door, data=b"a" * (UNPROVEN_BYTES + 1)).status_code == 200

    def test_a_header_proves_only_up_to_1_mib(self, client: FlaskClient) -> None:
        door, proof = f"/webhooks/{ACCOUNT}/", {"X-Signature": SIGNATURE}
        assert client.post(door, data=b"a" * UNPROVEN_BYTES, headers=proof).status_code == 200
        assert client.post(door, data=b"a" * (UNPROVEN_BYTES + 1), headers=proof).status_code == 413

    def test_the_bare_door_takes_1_mib(self, client: FlaskClient) -> None:
        padding = lead() + b"&x="
        full = padding + b"a" * (UNPROVEN_BYTES - len(padding))
        assert client.post("/webhooks/", data=full, headers={"X-Signature": SIGNATURE}).status_code == 200
        assert client.post("/webhooks/", data=full + b"a", headers={"X-Signature": SIGNATURE}).status_code == 413


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (b"\xff\xfe\x00", FORM),
        (b"{", "application/json"),
        (b"[1, 2]", "application/json"),
        (b"a" + b"[b]" * 5000 + b"=1", FORM),
        (b"leads[add][0][id]=1", "text/plain; charset=" + "x" * 500),
        (b"leads[add][0][id]=1", ""),
        (b"account[id]=%d" % (ACCOUNT + 1), FORM),
    ],
    ids=["empty", "binary", "broken json", "a list", "too deep", "long type", "no type", "another account"],
)
def test_whatever_is_proven_is_stored_and_answered_200(
    client: FlaskClient, stored: Stored, body: bytes, content_type: str
) -> None:
    assert client.post(DOOR, data=body, content_type=content_type).status_code == 200
    (entry,) = stored()
    assert entry.delivery.body == body
    assert len(entry.delivery.content_type) <= 200


class TestTheDuplicateRule:
    def send(self, client: FlaskClient, body: bytes, times: int = 1) -> None:
        for _ in range(times):
            assert client.post(DOOR, data=body).status_code == 200

    def test_a_body_with_times_is_stored_once_and_its_repetitions_are_counted(
        self, client: FlaskClient, stored: Stored, counters: Counters
    ) -> None:
        self.send(client, lead(), times=3)
        assert len(stored()) == 1
        assert (counters()["deliveries"], counters()["duplicates"]) == (1, 2)

    def test_a_body_with_an_item_without_a_time_is_never_dropped(self, client: FlaskClient, stored: Stored) -> None:
        self.send(client, lead(at=None), times=3)
        assert len(stored()) == 3
        assert len({entry.delivery.id for entry in stored()}) == 3

    def test_one_item_without_a_time_among_others_is_enough(self, client: FlaskClient, stored: Stored) -> None:
        self.send(client, lead() + b"&leads[delete][0][id]=9", times=2)
        assert len(stored()) == 2

    def test_a_body_that_cannot_be_decoded_is_never_dropped(self, client: FlaskClient, stored: Stored) -> None:
        answers = [client.post(DOOR, data=b"{", content_type="application/json") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert len(stored()) == 2

    def test_the_door_makes_no_difference(self, client: FlaskClient, stored: Stored) -> None:
        self.send(client, lead())
        assert client.post("/webhooks/", data=lead(), headers=body_proof(lead())).status_code == 200
        assert len(stored()) == 1

    def test_another_change_of_the_same_lead_is_another_body(self, client: FlaskClient, stored: Stored) -> None:
        self.send(client, lead(at=1_795_000_000))
        self.send(client, lead(at=1_795_000_001))
        assert len(stored()) == 2

    def test_the_same_body_in_another_account_is_not_seen_yet(self, client: FlaskClient, redis: Redis) -> None:
        body = b"leads[add][0][id]=1&leads[add][0][last_modified]=1795000000"
        for account in (ACCOUNT, ACCOUNT + 1):
            signature = url_signature(SECRET, CLIENT, account)
            assert client.post(f"/webhooks/{account}/{signature}/", data=body).status_code == 200
        assert [redis.xlen(Keys().of_account(account, "inbox", "stream")) for account in (ACCOUNT, ACCOUNT + 1)] == [
            1,
            1,
        ]


def test_a_line_is_logged_for_a_delivery_that_goes_no_further(client: FlaskClient, lines: Lines) -> None:
    client.post(DOOR, data=lead())
    client.post(DOOR, data=lead())
    (duplicate,) = lines.saying("delivery")
    assert (duplicate["account"], duplicate["bytes"], duplicate["outcome"]) == (ACCOUNT, len(lead()), "duplicate")


def test_of_a_new_delivery_a_line_is_logged_for_who_wants_all_of_them(client: FlaskClient, stored: Stored) -> None:
    with logged("DEBUG") as lines:
        client.post(DOOR, data=lead())
    (new,) = lines.saying("delivery")
    assert (new["delivery"], new["account"], new["outcome"]) == (stored()[0].delivery.id, ACCOUNT, "new")


def test_no_line_holds_a_proof_a_secret_or_a_body(client: FlaskClient, lines: Lines) -> None:
    secret_text = "whispered-by-a-customer"
    body = lead(text=secret_text)
    client.post(DOOR, data=body)
    client.post(DOOR, data=body)
    client.post(f"/webhooks/{ACCOUNT}/", data=body, headers=body_proof(body))
    client.post(f"/webhooks/{ACCOUNT}/?signature={SIGNATURE}", data=body, headers={"X-Signature": "0" * 64})
    client.post(f"/webhooks/{ACCOUNT + 1}/{SIGNATURE}/", data=body)
    client.post(DOOR, data=b"a" * (PROVEN_BYTES + 1))
    client.get(DOOR)
    client.post(DOOR + "more/")
    assert len(lines.all) >= 7
    forbidden = (SIGNATURE, SECRET, FORMER, secret_text, body_signature(SECRET, body), "0" * 64, "leads[add]")
    assert [word for word in forbidden if word in lines.text] == []


def test_even_a_fault_of_ours_is_logged_without_them(client: FlaskClient, lines: Lines, redis: Redis) -> None:
    redis.set(Keys().of_account(ACCOUNT, "inbox", "stream"), "what no stream can be")
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    answer = client.post(DOOR, data=lead(text="whispered"))
    assert (answer.status_code, answer.data) == (HTTPStatus.INTERNAL_SERVER_ERROR, b"")
    assert "WRONGTYPE" in lines.text
    assert [word for word in (SIGNATURE, SECRET, "whispered") if word in lines.text] == []
