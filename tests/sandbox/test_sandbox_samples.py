"""What the sandbox sends, key by key beside what the vendor's samples have."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_surroundings import Client, Received, Receiver

from sandbox.payloads.form import encode

SAMPLES = Path(__file__).parent.parent / "fixtures" / "samples"

LEAD_FIELDS = [
    {"field_code": "REFERRER", "values": [{"value": "https://shop.example/?a=1&b=2"}]},
    {"field_id": 771_102, "values": [{"value": "leave at № 5, «blue» door"}]},
    {"field_id": 771_104, "values": [{"value": True}]},
    {"field_id": 771_105, "values": [{"value": 1_790_000_000}]},
    {"field_id": 771_106, "values": [{"enum_id": 908_202}]},
    {"field_id": 771_107, "values": [{"value": "Card"}]},
]
CONTACT_FIELDS = [
    {"field_code": "PHONE", "values": [{"value": "+351 900 000 001", "enum_code": "MOB"}]},
    {"field_id": 771_204, "values": [{"value": 511_747_200}]},
    {"field_id": 771_206, "values": [{"value": "Yes"}]},
]
COMPANY_FIELDS = [{"field_code": "EMAIL", "values": [{"value": "desk@firm.example"}]}]
ELEMENT_FIELDS = [
    {"field_code": "SKU", "values": [{"value": "BELL-7"}]},
    {"field_code": "UNIT", "values": [{"value": "kg"}]},
]
TAGS = {"tags_to_add": [{"name": "spring"}]}


class Sample(NamedTuple):
    """The keys of a sample in order, and those that are always there."""

    keys: list[str]
    required: set[str]


def sample(name: str) -> Sample:
    lines = [line for line in (SAMPLES / f"{name}.txt").read_text("utf-8").splitlines() if line[:1] not in "#"]
    keys = [line.removesuffix(" ?") for line in lines]
    return Sample(keys, {line for line in lines if not line.endswith(" ?")})


def normalised(pairs: list[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(re.sub(r"\[\d+]", "[#]", key) for key, _ in pairs))


def coarse(keys: list[str]) -> list[str]:
    """Take the custom fields as one key: within them the order is that of one field after another."""
    return list(dict.fromkeys(re.sub(r"(\[custom_fields]).*", r"\1", key) for key in keys))


class Account:
    """An account in which everything has everything, or nothing more than it must."""

    def __init__(self, client: Client, *, full: bool) -> None:
        self.client, self.full = client, full
        company = {"name": "Firm", **(TAGS | {"custom_fields_values": COMPANY_FIELDS} if full else {})}
        self.company = client.add("companies", **company)
        links = {"companies": [{"id": self.company}]} if full else {}
        contact = {"name": "Ana Reis", **(TAGS | {"custom_fields_values": CONTACT_FIELDS} if full else {})}
        self.contact = client.add("contacts", **contact, _embedded=links)
        links = {"contacts": [{"id": self.contact}], **links} if full else {}
        lead = {"name": "Blue bicycle", "price": 450} if full else {"name": "", "price": None}
        more = TAGS | {"custom_fields_values": LEAD_FIELDS} if full else {}
        self.lead = client.add("leads", **lead, **more, _embedded=links)

    def do(self, what: str) -> Any:
        return getattr(self, what)()

    def lead_add(self) -> None:
        more = {"price": 10, **TAGS, "custom_fields_values": LEAD_FIELDS} if self.full else {"price": None}
        self.client.add("leads", name="Red bicycle", **more)

    def lead_update(self) -> None:
        move = {"status_id": 61_000_003} if self.full else {}
        self.client.patch(f"/leads/{self.lead}", {"name": "Green bicycle", **move})

    def lead_status(self) -> None:
        self.client.run("lead.move", id=self.lead, status_id=142)

    def lead_responsible(self) -> None:
        move = {"status_id": 61_000_004} if self.full else {}
        self.client.patch(f"/leads/{self.lead}", {"responsible_user_id": 9_000_102, **move})

    def lead_delete(self) -> None:
        self.client.run("lead.delete", id=self.lead)

    def lead_restore(self) -> None:
        self.lead_delete()
        self.client.run("lead.restore", id=self.lead)

    def contact_add(self) -> None:
        links = {"companies": [{"id": self.company}]} if self.full else {}
        more = {**TAGS, "custom_fields_values": CONTACT_FIELDS, "_embedded": links} if self.full else {}
        self.client.add("contacts", name="Rui", **more)

    def contact_update(self) -> None:
        self.client.patch(f"/contacts/{self.contact}", {"name": "Ana Maria Reis"})

    def contact_responsible(self) -> None:
        self.client.patch("/contacts", [{"id": self.contact, "responsible_user_id": 9_000_101}])

    def contact_delete(self) -> None:
        self.client.run("contact.delete", id=self.contact)

    def contact_restore(self) -> None:
        self.contact_delete()
        self.client.run("contact.restore", id=self.contact)

    def company_add(self) -> None:
        more = {**TAGS, "custom_fields_values": COMPANY_FIELDS} if self.full else {}
        self.client.add("companies", name="Another firm", **more)

    def company_responsible(self) -> None:
        self.client.patch(f"/companies/{self.company}", {"responsible_user_id": 9_000_102})

    def company_delete(self) -> None:
        self.client.run("company.delete", id=self.company)

    def note_lead(self) -> None:
        self.client.post(f"/leads/{self.lead}/notes", [{"note_type": "common", "params": {"text": "Called"}}])

    def note_file(self) -> None:
        self.client.run("note.add", entity_id=self.lead, attachment="invoice.pdf")

    def note_contact(self) -> None:
        self.client.run("note.add", entity_type="contacts", entity_id=self.contact, text="Called")

    def note_company(self) -> None:
        self.client.run("note.add", entity_type="companies", entity_id=self.company, text="Called")

    def task(self) -> int:
        target = {"entity_id": self.lead, "entity_type": "leads"} if self.full else {}
        return self.client.add("tasks", text="Call", complete_till=1_790_000_000, **target)

    def task_add(self) -> None:
        self.task()

    def task_completed(self) -> None:
        self.client.run("task.complete", id=self.task())

    def task_result(self) -> None:
        task = self.task()
        self.client.patch(f"/tasks/{task}", {"is_completed": True})
        self.client.patch(f"/tasks/{task}", {"result": {"text": "Reached"}})

    def task_text(self) -> None:
        self.client.patch(f"/tasks/{self.task()}", {"text": "Write"})

    def task_responsible(self) -> None:
        self.client.patch(f"/tasks/{self.task()}", {"responsible_user_id": 9_000_102})

    def task_delete(self) -> None:
        self.client.run("task.delete", id=self.task())

    def message_add(self) -> None:
        self.client.run("message.receive", lead_id=self.lead, file="photo.jpg", **({"text": "Hi"} if self.full else {}))

    def talk_add(self) -> int:
        return int(self.client.run("talk.open", lead_id=self.lead)["id"])

    def talk_update(self) -> None:
        self.client.run("talk.close", id=self.talk_add())

    def unsorted_add(self) -> str:
        return str(self.client.run("unsorted.add", name="From the site")["uid"])

    def unsorted_update(self) -> None:
        self.client.run("unsorted.update", uid=self.unsorted_add(), name="Renamed")

    def unsorted_accept(self) -> None:
        self.client.run("unsorted.accept", uid=self.unsorted_add())

    def unsorted_decline(self) -> None:
        self.client.run("unsorted.decline", uid=self.unsorted_add())

    def catalog_add(self) -> int:
        more = {"custom_fields_values": ELEMENT_FIELDS} if self.full else {}
        return int(self.client.run("catalog_element.create", name="Bell", **more)["id"])

    def catalog_delete(self) -> None:
        self.client.run("catalog_element.delete", id=self.catalog_add())


#: The kind of the delivery in which each sample comes.
KINDS = {
    **{
        f"lead_{action}": f"leads.{action}"
        for action in ("add", "update", "status", "responsible", "delete", "restore")
    },
    **{f"contact_{action}": f"contacts.{action}" for action in ("add", "update", "delete", "restore")},
    **{f"company_{action}": f"contacts.{action}" for action in ("add", "delete")},
    **{f"{name}_responsible": "contacts.update" for name in ("contact", "company")},
    **{f"note_{name}": "leads.note" for name in ("lead", "file")},
    **{f"note_{name}": "contacts.note" for name in ("contact", "company")},
    **{f"task_{name}": f"task.{name}" for name in ("add", "delete")},
    **{f"task_{name}": "task.update" for name in ("completed", "result", "text", "responsible")},
    **{name: name.replace("_", ".") for name in ("message_add", "talk_add", "talk_update")},
    **{name: name.replace("_", ".") for name in ("unsorted_add", "unsorted_update")},
    **{f"unsorted_{name}": "unsorted.delete" for name in ("accept", "decline")},
    **{f"catalog_{name}": f"catalogs.{name}" for name in ("add", "delete")},
}
#: What is added over the API has no leads yet; in the pages of the service it can be added from a lead.
LINKED_LATER = {"contact_add", "company_add"}


@pytest.fixture
def caught(client: Client, receiver: Receiver, everything: tuple[str, ...]) -> Callable[[str, bool], Received]:
    """Do something in an account and return the last delivery of its kind."""

    def catch(name: str, full: bool) -> Received:
        account = Account(client, full=full)
        client.box.register(receiver.url(), *everything)
        account.do(name)
        assert client.box.settled()
        wanted = [number for number, sent in enumerate(client.box.deliveries()) if sent["kind"] == KINDS[name]]
        return receiver.received[wanted[-1]]

    return catch


def test_every_sample_has_something_that_brings_it_about() -> None:
    files = {path.stem for path in SAMPLES.glob("*.txt")}
    assert files == {*KINDS, "pipeline_status", "pipeline_widget"}


@pytest.mark.parametrize("name", KINDS)
def test_with_everything_set_a_delivery_has_every_key_of_the_sample_in_its_order(
    name: str, caught: Callable[[str, bool], Received]
) -> None:
    keys = normalised(caught(name, True).pairs)
    possible = [key for key in sample(name).keys if not (name in LINKED_LATER and "linked_leads_id" in key)]
    assert set(keys) == set(possible)
    assert coarse(keys) == coarse(possible)


@pytest.mark.parametrize("name", KINDS)
def test_with_nothing_set_a_delivery_has_the_keys_that_are_always_there_in_their_order(
    name: str, caught: Callable[[str, bool], Received]
) -> None:
    keys = normalised(caught(name, False).pairs)
    known = sample(name)
    assert set(keys) - set(known.keys) == set()
    assert known.required - set(keys) == set()
    assert coarse(keys) == [key for key in coarse(known.keys) if key in coarse(keys)]


def test_a_custom_field_shows_id_and_name_then_its_values_then_its_code(
    caught: Callable[[str, bool], Received],
) -> None:
    shown = [(key, value) for key, value in caught("lead_add", True).pairs if "[custom_fields]" in key]
    inner = [(key.removeprefix("leads[add][0][custom_fields]"), value) for key, value in shown]
    assert inner[:4] == [
        ("[0][id]", "771101"),
        ("[0][name]", "Referrer"),
        ("[0][values][0][value]", "https://shop.example/?a=1&b=2"),
        ("[0][code]", "REFERRER"),
    ]
    assert ("[2][values][0][value]", "1") in inner, "a checkbox is 1"
    assert ("[3][values][0]", "1790000000") in inner, "a date is a bare time"
    assert inner[-2:] == [("[5][values][value]", "Card"), ("[5][values][enum]", "908211")]


def test_times_of_tasks_are_text_in_utc_and_the_deadline_is_given_in_seconds_too(
    caught: Callable[[str, bool], Received],
) -> None:
    values = caught("task_add", True).values
    assert values["task[add][0][complete_till]"] == "2026-09-21 14:13:20"
    assert values["task[add][0][complete_before]"] == "1790000000"
    assert values["task[add][0][status]"] == "0"
    assert values["task[add][0][element_type]"] == "2"


def test_leads_of_a_contact_are_keyed_by_the_id_of_the_lead(caught: Callable[[str, bool], Received]) -> None:
    linked = [(key, value) for key, value in caught("contact_update", True).pairs if "linked_leads_id" in key]
    assert linked == [(f"contacts[update][0][linked_leads_id][{linked[0][1]}][ID]", linked[0][1])]


def test_a_completed_task_is_an_update_that_closes(caught: Callable[[str, bool], Received]) -> None:
    values = caught("task_completed", True).values
    assert (values["task[update][0][status]"], values["task[update][0][action_close]"]) == ("1", "1")


def test_a_result_on_a_closed_task_does_not_close_it_again(caught: Callable[[str, bool], Received]) -> None:
    values = caught("task_result", True).values
    assert values["task[update][0][action_close]"] == "0"
    assert values["task[update][0][result][text]"] == "Reached"


def test_a_delivery_goes_out_as_the_service_sends_it(caught: Callable[[str, bool], Received]) -> None:
    sent = caught("lead_add", True)
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert sent.headers["User-Agent"] == "amoCRM-WebHook-client/2.0"
    assert sent.headers["Connection"] == "close"
    assert b"leads%5Badd%5D%5B0%5D%5Bname%5D=Red+bicycle&" in sent.body


def test_a_note_with_a_file_is_told_twice(client: Client, receiver: Receiver) -> None:
    lead = client.add("leads", name="a")
    client.box.register(receiver.url(), "note_lead")
    client.run("note.add", entity_id=lead, attachment="plan.pdf")
    assert client.box.settled()
    assert [sent.values["leads[note][0][note][note_type]"] for sent in receiver.received] == ["5", "5"]


def test_the_text_of_a_call_is_a_json_document(client: Client, receiver: Receiver) -> None:
    lead = client.add("leads", name="a")
    client.box.register(receiver.url(), "note_lead")
    params = {"uniq": "u1", "duration": 60, "source": "pbx", "link": "https://pbx.example/1.mp3", "phone": "1"}
    client.post(f"/leads/{lead}/notes", [{"note_type": "call_in", "params": params}])
    values = receiver.wait_for(1)[0].values
    assert values["leads[note][0][note][note_type]"] == "10"
    assert json.loads(values["leads[note][0][note][text]"])["LINK"] == "https://pbx.example/1.mp3"


def test_a_pipeline_hook_has_the_account_last_and_only_ids(client: Client, receiver: Receiver) -> None:
    lead = client.add("leads", name="a")
    client.run("lead.move", id=lead, status_id=142)
    client.run("pipeline.hook", id=lead, url=receiver.url("/pipeline/"))
    sent = receiver.wait_for(1)[0]
    assert normalised(sent.pairs) == sample("pipeline_status").keys
    assert sent.values["leads[status][0][old_status_id]"] == "61000002"


@pytest.mark.parametrize("action", ["mail_in", "call_in", "chat", "site_visit"])
def test_other_pipeline_hooks_have_no_former_stage(client: Client, receiver: Receiver, action: str) -> None:
    lead = client.add("leads", name="a")
    client.run("pipeline.hook", id=lead, url=receiver.url("/pipeline/"), action=action)
    keys = [key for key, _ in receiver.wait_for(1)[0].pairs]
    start = f"leads[{action}][0]"
    assert keys[:3] == [f"{start}[id]", f"{start}[status_id]", f"{start}[pipeline_id]"]
    assert keys[3:] == ["account[id]", "account[subdomain]"]


def test_a_widget_is_sent_json_with_its_own_types(client: Client, receiver: Receiver) -> None:
    lead = client.add("leads", name="a")
    client.run("pipeline.hook", id=lead, url=receiver.url("/widget/"), format="widget")
    sent = receiver.wait_for(1)[0]
    document = json.loads(sent.body)
    assert sent.headers["Content-Type"] == "application/json"
    assert list(paths("", document)) == sample("pipeline_widget").keys
    assert document["event"]["data"]["id"] == lead


def paths(path: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield path
        return
    for key, inner in value.items():
        yield from paths(f"{path}[{key}]" if path else key, inner)


def test_nulls_and_empty_containers_leave_no_trace() -> None:
    assert (
        encode({"a": None, "b": [], "c": {}, "d": "", "e": False, "f": [True, None, 3]})
        == b"d=&e=0&f%5B0%5D=1&f%5B2%5D=3"
    )


TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters(exclude_categories=["Cs"]))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab~é "), inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["leads", "ключ", "~"]), TREES, max_size=3))
def test_a_body_is_one_line_of_ascii_whatever_it_holds(body: dict[str, Any]) -> None:
    assert re.fullmatch(rb"[A-Za-z0-9_.%+=&-]*", encode(body))


@pytest.mark.skipif(shutil.which("php") is None, reason="compares with PHP's own encoder, which is not installed")
def test_a_body_is_what_php_would_write() -> None:
    body = {"k~y": ["a b", None, {"x": True, "y": "é&=~«»+%"}], "z": {"5": "-_.*'()!", "6": []}, "n": 0, "e": ""}
    code = "echo http_build_query(json_decode(stream_get_contents(STDIN), true));"
    php = subprocess.run(["php", "-r", code], input=json.dumps(body).encode(), capture_output=True, check=True)
    assert encode(body) == php.stdout
