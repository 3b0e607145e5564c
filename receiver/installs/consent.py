"""Where a person agrees to an installation. Does no I/O.

https://developers.kommo.com/docs/oauth-20; amoCRM is a platform of its own with the same page.
"""

from typing import Final
from urllib.parse import urlencode, urlsplit

from kommo.api.address import api_base, is_loopback
from kommo.errors import RequestError
from kommo.settings import Settings

_KOMMO: Final = "https://www.kommo.com"
_AMOCRM: Final = "https://www.amocrm.ru"
#: `popup` goes on in the window of the consent, `post_message` in the one that opened it.
MODES: Final = ("popup", "post_message")


def consent_url(settings: Settings, *, client_id: str, state: str, mode: str) -> str:
    """Return the address of the consent: Kommo's, amoCRM's, or that of a sandbox on this computer."""
    return f"{_platform(settings)}/oauth?{urlencode({'client_id': client_id, 'state': state, 'mode': mode})}"


def _platform(settings: Settings) -> str:
    try:
        base = api_base(settings.subdomain or "any", settings.api_base or None)
    except RequestError:
        return _KOMMO
    host = urlsplit(base).hostname or ""
    if is_loopback(host):
        return base
    return _AMOCRM if host.endswith(".amocrm.ru") else _KOMMO
