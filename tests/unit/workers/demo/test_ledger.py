"""The ledger: which stored delivery is which sent one, and what our own handlers made."""

from tests.unit.workers.demo.books import event, sent, stored
from workers.demo.ledger import Ledger, is_echo, tasks_made_in
from workers.demo.lines import LogLine

NOBODY, ROBOT = 500, 900


def test_a_stored_delivery_is_the_sent_one_with_the_same_bytes():
    ledger = Ledger()
    ledger.add_sent([sent(1, "ann"), sent(2, "bob")])
    ledger.add_stored([stored("d-bob", "bob")])
    assert ledger.sent_as("d-bob") == sent(2, "bob")
    assert ledger.stored_as("d-bob") == stored("d-bob", "bob")


def test_it_does_not_matter_which_side_is_known_first():
    ledger = Ledger()
    ledger.add_stored([stored("d-ann", "ann")])
    assert ledger.sent_as("d-ann") is None
    ledger.add_sent([sent(7, "ann")])
    assert ledger.sent_as("d-ann") == sent(7, "ann")


def test_equal_bytes_that_are_stored_once_are_a_repeat():
    ledger = Ledger()
    ledger.add_sent([sent(1, "ann"), sent(2, "ann"), sent(3, "bob")])
    ledger.add_stored([stored("d-ann", "ann")])
    assert [one.number for one in ledger.repeats()] == [2]


def test_equal_bytes_that_are_stored_twice_are_two_deliveries():
    ledger = Ledger()
    ledger.add_sent([sent(1, "gone"), sent(2, "gone")])
    ledger.add_stored([stored("d-1", "gone")])
    ledger.add_stored([stored("d-2", "gone")])
    assert [one.number if (one := ledger.sent_as(id_)) else None for id_ in ("d-1", "d-2")] == [1, 2]
    assert ledger.repeats() == []


def test_a_newer_state_of_a_delivery_replaces_the_older():
    ledger = Ledger()
    ledger.add_sent([sent(1, "ann", state="pending")])
    ledger.add_sent([sent(1, "ann")])
    assert [one.state for one in ledger.sent] == ["delivered"]
    assert ledger.repeats() == []


def test_looking_again_begins_before_the_first_delivery_that_is_on_its_way():
    ledger = Ledger()
    assert ledger.unsettled_from == 0
    ledger.add_sent([sent(1, "a"), sent(2, "b", state="pending"), sent(3, "c")])
    assert ledger.unsettled_from == 1
    ledger.add_sent([sent(2, "b")])
    assert ledger.unsettled_from == 3


def test_lines_that_count_are_written_down_and_others_are_not():
    ledger = Ledger()
    for message in ("handled", "api call", "drained", "delivery"):
        ledger.add_line(LogLine("w", 1.0, "info", message, {"delivery": "d1", "steps": 2}))
    assert (len(ledger.runs), len(ledger.calls), ledger.steps) == (1, 1, {"d1": 2})


def test_a_task_that_a_handler_made_is_found_by_its_lead_and_a_persons_task_is_not():
    ledger = Ledger()
    made = event("e1", "task.added", id="71", element_type="2", element_id="31")
    by_hand = event("e2", "task.added", id="72", element_type="2", element_id="32")
    ledger.add_stored([stored("d1", "made", made, is_echo=True), stored("d2", "by hand", by_hand)])
    assert (ledger.task_on(31), ledger.task_on(32)) == (71, None)


def test_a_task_on_a_contact_is_on_no_lead():
    assert tasks_made_in([event("e1", "task.added", id="71", element_type="1", element_id="31")]) == {}


def test_a_new_task_is_an_echo_when_our_user_made_it():
    assert is_echo(event("e", "task.added", id="1", created_user_id=str(ROBOT)), ROBOT)
    assert not is_echo(event("e", "task.added", id="1", created_user_id=str(NOBODY)), ROBOT)


def test_a_changed_task_is_no_echo_of_its_creation():
    assert not is_echo(event("e", "task.completed", id="1", created_user_id=str(ROBOT)), ROBOT)


def test_a_changed_lead_is_an_echo_when_our_user_changed_it():
    assert is_echo(event("e", "lead.updated", id="1", modified_user_id=str(ROBOT)), ROBOT)
    assert not is_echo(event("e", "lead.updated", id="1", modified_user_id=str(NOBODY)), ROBOT)


def test_an_event_that_names_nobody_is_no_echo():
    assert not is_echo(event("e", "lead.deleted", id="1"), ROBOT)
    assert not is_echo(event("e", "unknown.moon_add", id="1"), ROBOT)
