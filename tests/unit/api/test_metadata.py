"""What an account is made of is read once, kept for minutes, and read anew when a name is missing."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from kommo.api.resources.metadata import LIFETIME_SECONDS, Field, Metadata, Pipeline, Stage, User
from kommo.errors import Forbidden, RequestError

PIPELINES = "/api/v4/leads/pipelines"


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def metadata(account, time):
    return Metadata(account, clock=time)


def test_pipelines_come_with_their_stages(metadata):
    sales, service, old = metadata.pipelines()
    assert (sales.id, sales.name, sales.is_archive, old.is_archive) == (11, "Sales", False, True)
    assert sales.stages[0] == Stage(101, "Talks", 11)
    assert [stage.id for stage in service.stages] == [201, 202, 142, 143]


def test_fields_are_those_of_one_entity(metadata, account):
    assert metadata.fields("leads")[1] == Field(502, "Colour", "FINISH", "select")
    assert metadata.fields("contacts") == (Field(601, "Телефон", "PHONE"),)
    assert account.reads == ["/api/v4/leads/custom_fields", "/api/v4/contacts/custom_fields"]
    with pytest.raises(RequestError, match="did you mean leads"):
        metadata.fields("leds")


def test_users_say_whether_they_are_active(metadata):
    assert metadata.users()[0] == User(31, "Ada Stone", "ada@shop.example")
    assert [user.is_active for user in metadata.users()] == [True, True, True, False]


def test_pages_are_as_large_as_they_may_be(metadata, account):
    metadata.pipelines()
    metadata.fields("leads")
    metadata.users()
    assert [call[2] for call in account.calls] == [[], [("limit", "50")], [("limit", "250")]]


def test_what_was_read_is_kept_for_its_lifetime(metadata, account, time):
    metadata.pipelines()
    time.now += LIFETIME_SECONDS - 0.1
    metadata.pipelines()
    assert account.reads == [PIPELINES]
    time.now += 0.1
    metadata.pipelines()
    assert account.reads == [PIPELINES] * 2


def test_who_wants_it_fresher_gets_it_fresher(metadata, account, time):
    metadata.pipelines()
    metadata.pipelines(max_age=5)
    time.now += 5
    metadata.pipelines(max_age=6)
    assert len(account.reads) == 1
    metadata.pipelines(max_age=5)
    assert len(account.reads) == 2


def test_refresh_forgets_everything(metadata, account):
    metadata.pipelines()
    metadata.users()
    metadata.refresh()
    assert metadata.known_pipelines() is None
    metadata.pipelines()
    metadata.users()
    assert len(account.reads) == 4


def test_what_was_under_way_before_a_refresh_is_not_kept(time):
    answers = []

    def send(method, path, params, json):
        if not answers:
            answers.append("old")
            metadata.refresh()
            return {"_embedded": {"pipelines": [{"id": 1, "name": "Old"}]}}
        return {"_embedded": {"pipelines": [{"id": 1, "name": "New"}]}}

    metadata = Metadata(send, clock=time)
    assert metadata.pipelines() == (Pipeline(1, "Old", ()),)
    assert metadata.pipelines() == (Pipeline(1, "New", ()),)


def test_known_pipelines_cost_no_request(metadata, account):
    assert metadata.known_pipelines() is None
    assert account.calls == []
    assert metadata.pipelines() == metadata.known_pipelines()
    assert len(account.calls) == 1


def test_an_error_is_not_kept(metadata, account):
    account.error = Forbidden("administrators only", method="GET", path="/api/v4/users")
    with pytest.raises(Forbidden):
        metadata.users()
    account.error = None
    assert len(metadata.users()) == 4


def test_many_threads_cause_one_request(metadata, account):
    barrier = Barrier(8)

    def ask(_):
        barrier.wait(10)
        return metadata.pipelines()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))
    assert len(found) == 1
    assert account.reads == [PIPELINES]


def test_all_pages_are_read(time):
    pages = [
        {"_links": {"next": {"href": "/api/v4/users?page=2"}}, "_embedded": {"users": [{"id": 1, "name": "A"}]}},
        {"_embedded": {"users": [{"id": 2, "name": "B"}]}},
    ]
    metadata = Metadata(lambda *_: pages.pop(0), clock=time)
    assert [user.name for user in metadata.users()] == ["A", "B"]


@pytest.mark.parametrize(
    ("item", "read"),
    [
        ({"id": 1}, (Pipeline(1, "", ()),)),
        ({"id": 1, "name": None, "_embedded": None}, (Pipeline(1, "", ()),)),
        ({"id": 1, "name": "P", "_embedded": {"statuses": [{"name": "no id"}, None]}}, (Pipeline(1, "P", ()),)),
        ({"name": "no id"}, ()),
        ("no object", ()),
    ],
)
def test_what_is_incomplete_is_read_as_far_as_it_goes(time, item, read):
    assert Metadata(lambda *_: {"_embedded": {"pipelines": [item]}}, clock=time).pipelines() == read
