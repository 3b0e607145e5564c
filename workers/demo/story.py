"""The story: a day at a small bicycle shop, told while it is played in the sandbox."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kommo.errors import KommoError
from workers.demo.account import LOST, WON, Account, Person
from workers.demo.watching import Watch

#: Seconds in which a handler's task has to be there for the story to go on.
_PATIENCE: Final = 15.0
_VISITORS: Final = ("Folding bike", "Tandem", "Mountain bike, used")
_READERS: Final = (
    *("City bike", "City bike with basket", "Racing bike", "Child trailer", "E-bike", "E-bike, two batteries"),
    *("Gravel bike", "Winter tyres", "Wheel building", "Leather saddle", "Dynamo light", "Spring service"),
)
#: How many of the newsletter's readers are called back on the same day.
_CALLED_BACK: Final = 7


class StoryStuck(KommoError):
    """Something that the story waits for did not happen."""


@dataclass(frozen=True, slots=True)
class Customers:
    """What the first customers bring: the ids of two leads, a contact and a company."""

    bike: int
    fleet: int
    contact: int
    company: int


class Story:
    """One day. `speed` divides the pauses: 2 tells it in half the time."""

    def __init__(self, account: Account, watch: Watch, people: Sequence[Person], *, speed: float = 1.0) -> None:
        self._account = account
        self._watch = watch
        self._speed = speed
        self._owner, self._seller = people[1:3]

    def play(self) -> None:
        """Play the day from opening to closing."""
        self._watch.heading("Morning")
        customers = self._first_customers()
        talk_id = self._website_and_chat(customers.bike)
        self._watch.heading("Noon")
        self._call_back(customers)
        self._changes(customers)
        self._watch.heading("Afternoon")
        visitors = self._fair()
        readers = self._newsletter()
        self._second_delivery()
        self._many_calls(readers)
        self._watch.heading("Evening")
        for sentence, changes in self._evening(customers, talk_id, visitors, readers):
            self._tell(sentence)
            for command, arguments in changes:
                self._account.do(command, **arguments)
            self._pause(0.9)

    def _first_customers(self) -> Customers:
        self._tell(f"Ida Moreau walks in. {self._owner.first_name} writes down a lead: a blue touring bike, 1,450.")
        ida = self._account.create("contact", name="Ida Moreau")
        bike = self._lead("Blue touring bike", 1450, contacts=[{"id": ida}])
        self._pause(1.6)
        self._tell(f"A courier company wants six cargo bikes, 14,800 in all. {self._seller.first_name} takes the lead.")
        company = self._account.create("company", name="Harbour Couriers")
        fleet = self._lead("Six cargo bikes", 14800, responsible=self._seller, companies=[{"id": company}])
        self._pause(1.2)
        return Customers(bike, fleet, ida, company)

    def _website_and_chat(self, bike: int) -> int:
        self._tell("Somebody fills in the form on the website: a child's bike, 20 inch.")
        form = self._account.do("unsorted.add", name="Child's bike, 20 inch")
        self._pause(0.8)
        self._tell("Ida asks in the chat whether hers comes in green. It does.")
        talk = self._account.do("message.receive", lead_id=bike, author="Ida Moreau", text="Is there a green one?")
        self._account.do("message.send", lead_id=bike, text="There is, from Thursday.")
        self._pause(0.8)
        self._tell(f"{self._owner.first_name} takes the form's lead into the first stage.")
        self._account.do("unsorted.accept", uid=form["uid"])
        self._pause(0.8)
        return int(talk["talk_id"])

    def _call_back(self, customers: Customers) -> None:
        self._tell(f"{self._owner.first_name} has called Ida back, and ticks off the task that our handler made.")
        self._account.do("task.complete", id=self._task_on(customers.bike), text="Green, with mudguards")
        self._pause(1.4)
        self._tell(f"{self._seller.first_name} writes an offer for the cargo bikes: a task of his own, done at once.")
        offer = self._account.create(
            "task", entity_id=customers.fleet, text="Write the offer", responsible_user_id=self._seller.id
        )
        self._account.do("task.complete", id=offer)
        self._pause(1.4)

    def _changes(self, customers: Customers) -> None:
        self._tell(f"The touring bike changes hands, from {self._owner.first_name} to {self._seller.first_name}.")
        self._account.do("lead.update", id=customers.bike, responsible_user_id=self._seller.id)
        self._pause(1.2)
        self._tell("Ida has married; the couriers have a new name.")
        self._account.do("contact.update", id=customers.contact, name="Ida Moreau-Lund")
        self._account.do("company.update", id=customers.company, name="Harbour & City Couriers")
        self._pause(1.0)

    def _fair(self) -> list[int]:
        self._tell("Three visitors of the bike fair leave their cards. Kommo tells of all three in one delivery.")
        rows = [{"name": name, "price": 600 + 150 * place} for place, name in enumerate(_VISITORS)]
        visitors = self._account.create_together("lead", rows)
        self._pause(1.4)
        return visitors

    def _newsletter(self) -> list[int]:
        self._tell(
            f"The newsletter is out: {len(_READERS)} answers at once, a follow-up call for each. "
            "More than Kommo takes in a second, so the limiter spreads them."
        )
        readers = [self._lead(name, 90 * place) for place, name in enumerate(_READERS, start=1)]
        self._pause(2.2)
        return readers

    def _second_delivery(self) -> None:
        first = next(sent for sent in self._watch.ledger.sent if sent.kind == "leads.add")
        self._tell(f"Kommo sends delivery #{first.number} a second time, as it does when an answer was lost.")
        self._account.do("redeliver", id=first.number)
        self._pause(1.0)

    def _many_calls(self, readers: Sequence[int]) -> None:
        called = readers[:_CALLED_BACK]
        self._tell(
            f"An afternoon on the phone: {len(called)} of the readers are called back, {len(called)} tasks done."
        )
        for task_id in [self._task_on(lead_id) for lead_id in called]:
            self._account.do("task.complete", id=task_id)
        self._pause(2.8)

    def _evening(
        self, customers: Customers, talk_id: int, visitors: Sequence[int], readers: Sequence[int]
    ) -> Iterator[tuple[str, Sequence[tuple[str, Mapping[str, Any]]]]]:
        yield (
            "Ida pays: the touring bike is won. A note for the books, and the talk is closed.",
            [
                ("lead.move", {"id": customers.bike, "status_id": WON}),
                ("note.add", {"entity_id": customers.bike, "text": "Paid in cash"}),
                ("talk.close", {"id": talk_id}),
            ],
        )
        yield ("The couriers sign: six cargo bikes, won.", [("lead.move", {"id": customers.fleet, "status_id": WON})])
        yield (
            "A visitor of the fair has bought elsewhere: lost. Another one was a wrong number: deleted.",
            [
                ("lead.move", {"id": visitors[0], "status_id": LOST}),
                ("lead.delete", {"id": visitors[1]}),
            ],
        )
        yield (
            f"{self._owner.first_name} goes home early and leaves two readers to {self._seller.first_name}.",
            [("lead.update", {"id": lead_id, "responsible_user_id": self._seller.id}) for lead_id in readers[-2:]],
        )

    def _lead(self, name: str, price: int, *, responsible: Person | None = None, **links: Any) -> int:
        person = responsible or self._owner
        return self._account.create("lead", name=name, price=price, responsible_user_id=person.id, **links)

    def _task_on(self, lead_id: int) -> int:
        """Wait until the task that a handler made on a lead has been told of; raises StoryStuck when it is not."""
        ledger = self._watch.ledger
        self._watch.until(lambda: ledger.task_on(lead_id) is not None, seconds=_PATIENCE)
        task_id = ledger.task_on(lead_id)
        if task_id is None:
            raise StoryStuck(f"no handler made a task on lead {lead_id} within {_PATIENCE:g} s")
        return task_id

    def _tell(self, sentence: str) -> None:
        self._watch.tell(sentence)

    def _pause(self, seconds: float) -> None:
        self._watch.pause(seconds / self._speed)
