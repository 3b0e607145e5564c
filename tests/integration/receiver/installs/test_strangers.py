"""Installation doors and those who have proven nothing: their failures count, a proof in the address always passes."""

from ipaddress import ip_network

from kommo.hooks.signature import url_signature
from receiver.strangers import TRIES
from tests.integration.receiver.installs.surroundings import ACCOUNT, CLIENT, SECRET, Visit, Visitor
from tests.integration.workers.logs import Lines, logged


def fail(visitor: Visitor, times: int = TRIES) -> list[int]:
    """Call with a signature that is none."""
    given = {"account_id": str(ACCOUNT), "client_uuid": CLIENT}
    return [visitor.get("/oauth/disconnect", signature="0" * 64, **given).status_code for _ in range(times)]


def test_a_widgets_call_from_where_others_have_guessed_is_not_even_judged(visitor: Visitor) -> None:
    assert set(fail(visitor)) == {401}
    answers = [visitor.widget(), visitor.widget(code="nobodys", client_id="unknown")]
    assert [answer.status_code for answer in answers] == [429, 429]
    assert {answer.data for answer in answers} == {b""}
    assert visitor.errands() == 0


def test_a_person_with_a_good_state_passes_from_the_same_address(visitor: Visitor) -> None:
    fail(visitor, 3 * TRIES)
    answer = visitor.arrive()
    assert answer.status_code == 200
    assert visitor.stored() is not None


def test_a_disconnect_call_that_proves_itself_passes_from_the_same_address(visitor: Visitor) -> None:
    fail(visitor, 3 * TRIES)
    proof = url_signature(SECRET, CLIENT, ACCOUNT)
    given = {"account_id": str(ACCOUNT), "client_uuid": CLIENT}
    assert visitor.get("/oauth/disconnect", signature=proof, **given).status_code == 200


def test_visits_with_a_state_that_is_none_count_and_are_told_the_same(visitor: Visitor) -> None:
    answers = [visitor.arrive(state="x", code="nobodys") for _ in range(3 * TRIES)]
    assert len({(answer.status_code, answer.data) for answer in answers}) == 1
    assert visitor.widget().status_code == 429


def test_what_is_brought_to_no_purpose_counts_too(visitor: Visitor) -> None:
    for _ in range(TRIES):
        assert visitor.widget(referer="evil.example").status_code == 400
    assert visitor.widget().status_code == 429


def test_a_probe_of_kommos_costs_nothing(visitor: Visitor) -> None:
    for _ in range(3 * TRIES):
        assert visitor.get("/oauth/callback").status_code == 200
    assert visitor.widget().status_code == 202


def test_behind_a_proxy_only_the_address_that_has_failed_pays(visit: Visit) -> None:
    visitor = visit(trusted_proxies=(ip_network("127.0.0.0/8"),))
    path = f"/oauth/disconnect?account_id={ACCOUNT}&client_uuid={CLIENT}&signature=0"
    for _ in range(TRIES):
        visitor.browser.get(path, headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.7"})
    widget = f"/oauth/callback?code={visitor.box.code()}&client_id={CLIENT}&referer=acme.kommo.com&from_widget=1"
    assert visitor.browser.get(widget, headers={"X-Forwarded-For": "198.51.100.8, 198.51.100.7"}).status_code == 429
    assert visitor.browser.get(widget, headers={"X-Forwarded-For": "198.51.100.7, 198.51.100.8"}).status_code == 202


def test_refused_visits_write_a_few_lines_and_a_count(visitor: Visitor) -> None:
    with logged() as lines:
        fail(visitor, 200)
        written = _refused(lines)
    assert len(written) < 60
    assert {line["remote"] for line in written} == {"127.0.0.1"}


def _refused(lines: Lines) -> list[dict[str, object]]:
    return lines.saying("visit refused")
