"""The settings: what each variable may be, and every mistake at once."""

import dataclasses
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import SettingsError
from kommo.settings import Settings
from kommo.variables import ALL_WEBHOOK_EVENTS, Secret

SECRETS = {
    "REDIS_URL": "redis://worker:pw-of-redis@cache.example:6379/2",
    "KOMMO_BROKER_URL": "amqp://worker:pw-of-broker@queue.example//",
    "KOMMO_CLIENT_SECRET": "present-secret",
    "KOMMO_CLIENT_SECRET_PREVIOUS": "former-secret",
    "KOMMO_ACCESS_TOKEN": "long-lived-token",
    "KOMMO_TOKEN_KEYS": "bmV3ZXN0LWtleS1uZXdlc3Qta2V5LW5ld2VzdC1rLi4=",
}


def refusal(environ: dict[str, str], *need: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ, need=need)
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environ({}) == Settings()
    assert dict(Settings().rate_limits) == {"integration": 7, "account": 50, "ip": 7}
    assert (Settings().retention, Settings().retention_bytes) == (259_200, 268_435_456)
    assert Settings().webhook_events == ALL_WEBHOOK_EVENTS


def test_every_variable_reaches_its_setting() -> None:
    settings = Settings.from_environ(
        {
            **SECRETS,
            "KOMMO_CLIENT_ID": "c-1",
            "KOMMO_SUBDOMAIN": "acme.amocrm.ru",
            "KOMMO_ACCOUNT_ID": "4711",
            "KOMMO_PUBLIC_URL": "https://hooks.example.org/kommo/",
            "KOMMO_REDIRECT_URI": "https://hooks.example.org/elsewhere",
            "KOMMO_HANDLERS": "shop.leads, shop.tasks",
            "KOMMO_WEBHOOK_EVENTS": "add_lead,update_task",
            "KOMMO_API_BASE": "http://127.0.0.1:7300/",
            "KOMMO_RATE_LIMITS": "ip=3, integration = 15",
            "KOMMO_EGRESS": "gateway",
            "KOMMO_RETENTION": "90m",
            "KOMMO_RETENTION_BYTES": "2gb",
            "KOMMO_SHARDS": "4",
        }
    )
    assert settings == Settings(
        redis_url=Secret(SECRETS["REDIS_URL"]),
        broker_url=Secret(SECRETS["KOMMO_BROKER_URL"]),
        client_id="c-1",
        client_secret=Secret("present-secret"),
        client_secret_previous=Secret("former-secret"),
        subdomain="acme.amocrm.ru",
        account_id=4711,
        access_token=Secret("long-lived-token"),
        public_url="https://hooks.example.org/kommo",
        redirect_uri="https://hooks.example.org/elsewhere",
        token_keys=(Secret(SECRETS["KOMMO_TOKEN_KEYS"]),),
        handlers=("shop.leads", "shop.tasks"),
        webhook_events=("add_lead", "update_task"),
        api_base="http://127.0.0.1:7300",
        rate_limits=MappingProxyType({"integration": 15, "account": 50, "ip": 3}),
        egress="gateway",
        retention=5400,
        retention_bytes=2 * 1024**3,
        shards=4,
    )


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().shards = 2  # type: ignore[misc]  # the point of the test
    with pytest.raises(TypeError):
        Settings().rate_limits["ip"] = 100  # type: ignore[index]  # the point of the test


def test_no_secret_shows_in_a_repr() -> None:
    shown = repr(Settings.from_environ(SECRETS))
    assert shown.count("'***'") == len(SECRETS)
    for value in SECRETS.values():
        assert value not in shown
    assert "pw-of" not in shown
    assert "redis_url=''" in repr(Settings())


def test_a_blank_variable_counts_as_not_set_and_spaces_around_a_value_are_nobodys() -> None:
    assert Settings.from_environ({"KOMMO_ACCOUNT_ID": "  ", "KOMMO_CLIENT_ID": " c-1\n"}).client_id == "c-1"
    assert "REDIS_URL is not set" in refusal({"REDIS_URL": " "}, "REDIS_URL")


def test_all_mistakes_are_reported_at_once_each_with_its_value_and_remedy() -> None:
    text = refusal(
        {"KOMMO_ACCOUNT_ID": "acme", "KOMMO_RETENTION": "soon", "KOMMO_PUBLIC_URL": "hooks.example.org"},
        "REDIS_URL",
        "KOMMO_CLIENT_ID",
        "KOMMO_CLIENT_SECRET",
    )
    lines = text.splitlines()
    assert len(lines) == 6
    for beginning in (
        "REDIS_URL is not set: ",
        "KOMMO_CLIENT_ID is not set: ",
        "KOMMO_CLIENT_SECRET is not set: ",
        "KOMMO_ACCOUNT_ID=acme is not a whole number",
        "KOMMO_PUBLIC_URL=hooks.example.org is not a web address: write ",
        "KOMMO_RETENTION=soon is not a duration: write ",
    ):
        assert any(line.startswith(beginning) for line in lines), beginning


def test_the_error_holds_its_sentences_one_by_one() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"KOMMO_SHARDS": "0"}, need=["REDIS_URL"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("name", ["REDIS_URL", "KOMMO_BROKER_URL"])
def test_a_wrong_address_with_a_password_is_reported_without_it(name: str) -> None:
    text = refusal({name: "worker:hunter2@cache.example"})
    assert text.startswith(f"{name}=*** is not a ")
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://cache.example"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://cache.example:many"),
        ("REDIS_URL", "redis://cache.example:70000"),
        ("REDIS_URL", "redis://[::1"),
        ("KOMMO_PUBLIC_URL", "ftp://hooks.example.org"),
        ("KOMMO_PUBLIC_URL", "https://"),
        ("KOMMO_PUBLIC_URL", "https://[::1"),
        ("KOMMO_PUBLIC_URL", "https://hooks.example.org:port"),
        ("KOMMO_REDIRECT_URI", "hooks.example.org/oauth/callback"),
        ("KOMMO_TOKEN_KEYS", "too-short"),
        ("KOMMO_TOKEN_KEYS", "ключ"),
        ("KOMMO_TOKEN_KEYS", SECRETS["KOMMO_TOKEN_KEYS"] + ",x"),
        ("KOMMO_API_BASE", "localhost:7300"),
        ("KOMMO_ACCOUNT_ID", "0"),
        ("KOMMO_ACCOUNT_ID", "-5"),
        ("KOMMO_ACCOUNT_ID", "1e3"),
        ("KOMMO_ACCOUNT_ID", "٣"),
        ("KOMMO_HANDLERS", "shop/leads"),
        ("KOMMO_HANDLERS", "shop..leads"),
        ("KOMMO_HANDLERS", "shop.leads.py.,"),
        ("KOMMO_WEBHOOK_EVENTS", "lead_added"),
        ("KOMMO_RATE_LIMITS", "7"),
        ("KOMMO_RATE_LIMITS", "integration=0"),
        ("KOMMO_RATE_LIMITS", "integration=7,"),
        ("KOMMO_RATE_LIMITS", "user=7"),
        ("KOMMO_RETENTION", "3"),
        ("KOMMO_RETENTION", "3 days"),
        ("KOMMO_RETENTION", "-1d"),
        ("KOMMO_RETENTION_BYTES", "256 megabytes"),
        ("KOMMO_RETENTION_BYTES", "MB"),
        ("KOMMO_SHARDS", "0"),
        ("KOMMO_SHARDS", "1025"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    text = refusal({name: value})
    assert text.startswith(f"{name}=")
    assert " is not " in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("3d", 259_200), ("0s", 0)])
def test_durations_have_units(text: str, seconds: int) -> None:
    assert Settings.from_environ({"KOMMO_RETENTION": text}).retention == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("100", 100), ("8KB", 8192), ("8 kb", 8192), ("1MB", 1_048_576), ("1gb", 1024**3)]
)
def test_sizes_have_units_or_are_bytes(text: str, size: int) -> None:
    assert Settings.from_environ({"KOMMO_RETENTION_BYTES": text}).retention_bytes == size


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379/0", "rediss://cache.example", "unix:///run/redis.sock", "redis://[::1]:6379"]
)
def test_every_way_to_reach_a_redis_is_taken_and_serves_as_broker_unless_one_is_named(url: str) -> None:
    settings = Settings.from_environ({"REDIS_URL": url})
    assert settings.redis_url == settings.broker == url
    other = Settings.from_environ({"REDIS_URL": url, "KOMMO_BROKER_URL": "redis://other/1"})
    assert (other.redis_url, other.broker) == (url, "redis://other/1")


def test_both_secrets_of_a_rotation_prove_the_newest_first() -> None:
    assert Settings().client_secrets == ()
    assert Settings(client_secret=Secret("new")).client_secrets == ("new",)
    both = Settings(client_secret=Secret("new"), client_secret_previous=Secret("old"))
    assert both.client_secrets == ("new", "old")


def test_keys_come_newest_first_and_a_wrong_one_is_not_shown() -> None:
    first, second = SECRETS["KOMMO_TOKEN_KEYS"], "b2xkZXIta2V5LW9sZGVyLWtleS1vbGRlci1rZXktby4="
    assert Settings.from_environ({"KOMMO_TOKEN_KEYS": f"{first}, {second}"}).token_keys == (first, second)
    text = refusal({"KOMMO_TOKEN_KEYS": f"{first}x"})
    assert text.startswith("KOMMO_TOKEN_KEYS=*** is not a list of keys")
    assert first not in text


def test_the_redirect_is_below_the_public_address_unless_told_otherwise() -> None:
    assert Settings().redirect == ""
    assert Settings(public_url="https://h.example/k").redirect == "https://h.example/k/oauth/callback"
    assert Settings(public_url="https://h.example", redirect_uri="https://r.example").redirect == "https://r.example"


def test_a_slip_of_the_pen_is_named_with_what_was_probably_meant() -> None:
    settings = Settings.from_environ({"KOMMO_CLINT_ID": "c-1", "KOMMO_COLOUR": "red"})
    assert settings.unknown == (
        "KOMMO_CLINT_ID is not a setting and is ignored; did you mean KOMMO_CLIENT_ID?",
        "KOMMO_COLOUR is not a setting and is ignored",
    )


def test_variables_of_others_and_of_later_releases_are_nobodys_mistake() -> None:
    others = {"PATH": "/bin", "REDIS_URL_OLD": "x", "KOMMO_ADMIN_TOKEN": "k", "KOMMO_SPOOL_DIR": "/var/spool"}
    assert Settings.from_environ(others).unknown == ()


def test_a_misspelt_event_is_answered_with_the_nearest_that_kommo_offers() -> None:
    assert "did you mean status_lead?" in refusal({"KOMMO_WEBHOOK_EVENTS": "add_lead,statu_lead"})


def test_there_is_an_event_for_every_entity_and_none_twice() -> None:
    assert len(set(ALL_WEBHOOK_EVENTS)) == len(ALL_WEBHOOK_EVENTS) == 31
    assert {name.split("_")[1] for name in ALL_WEBHOOK_EVENTS} == {
        "lead",
        "contact",
        "company",
        "customer",
        "task",
        "talk",
        "message",
    }


OTHERS = (
    "ACCOUNT_ID",
    "PUBLIC_URL",
    "REDIRECT_URI",
    "HANDLERS",
    "WEBHOOK_EVENTS",
    "API_BASE",
    "RATE_LIMITS",
    "RETENTION",
    "SHARDS",
)
NAMES = [*SECRETS, *(f"KOMMO_{name}" for name in OTHERS), "KOMMO_RETENTION_BYTES"]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40)))
def test_whatever_stands_in_the_environment_the_answer_is_settings_or_sentences(environ: dict[str, str]) -> None:
    try:
        settings = Settings.from_environ(environ)
    except SettingsError as error:
        assert error.problems
    else:
        assert settings.shards >= 1


@pytest.mark.parametrize("name", ["KOMMO_HANDLERS", "KOMMO_WEBHOOK_EVENTS"])
def test_a_list_without_a_name_is_refused_instead_of_meaning_nothing(name):
    with pytest.raises(SettingsError, match=f"{name}=, names nothing"):
        Settings.from_environ({name: ","})
