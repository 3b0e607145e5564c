"""Where people agree to an installation."""

from urllib.parse import parse_qs, urlsplit

import pytest

from kommo.settings import Settings
from receiver.installs.consent import consent_url


def url(**settings: str) -> str:
    return consent_url(Settings(**settings), client_id="c&1", state="s=2", mode="popup")  # type: ignore[arg-type]  # texts only


@pytest.mark.parametrize(
    ("settings", "page"),
    [
        ({}, "https://www.kommo.com/oauth"),
        ({"subdomain": "acme"}, "https://www.kommo.com/oauth"),
        ({"subdomain": "acme.kommo.com"}, "https://www.kommo.com/oauth"),
        ({"subdomain": "acme.amocrm.com"}, "https://www.kommo.com/oauth"),
        ({"subdomain": "acme.amocrm.ru"}, "https://www.amocrm.ru/oauth"),
        ({"api_base": "https://{subdomain}.amocrm.ru"}, "https://www.amocrm.ru/oauth"),
        ({"api_base": "https://proxy.example.org"}, "https://www.kommo.com/oauth"),
        ({"api_base": "http://127.0.0.1:7300", "subdomain": "acme.amocrm.ru"}, "http://127.0.0.1:7300/oauth"),
        ({"api_base": "http://localhost:7300"}, "http://localhost:7300/oauth"),
        ({"subdomain": "no account at all"}, "https://www.kommo.com/oauth"),
    ],
)
def test_it_is_the_platforms_page_or_that_of_a_sandbox_on_this_computer(settings: dict[str, str], page: str) -> None:
    parts = urlsplit(url(**settings))
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == page


def test_it_carries_integration_state_and_mode_escaped() -> None:
    assert parse_qs(urlsplit(url()).query) == {"client_id": ["c&1"], "state": ["s=2"], "mode": ["popup"]}
