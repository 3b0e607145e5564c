"""What cannot be read is kept, every one of it."""

from kommo.store.chains import Lease
from workers.letters import unreadable


def test_two_items_at_the_same_place_of_a_chain_leave_two_letters():
    leases = [Lease(7, "lead:1:h", token, 1, 0, 0, 0, b"\xffbytes") for token in ("first", "second")]
    letters = [unreadable("step", lease, ValueError("not JSON")) for lease in leases]
    assert len({letter.id for letter in letters}) == 2
    assert {letter.body for letter in letters} == {b"\xffbytes"}
    assert {(letter.reason, letter.error) for letter in letters} == {("unreadable", "ValueError: not JSON")}


def test_so_do_those_of_several_chains_under_one_token():
    leases = [Lease(7, chain, "same", 1, 0, 0, 0, b"\xffbytes") for chain in ("lead:1", "lead:2")]
    assert len({unreadable("write", lease, ValueError("not JSON")).id for lease in leases}) == 2
