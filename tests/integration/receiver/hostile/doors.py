"""Requests that are well framed and lie about who sends them, or about where they go."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from kommo.hooks.signature import body_signature, chat_signature, url_signature
from tests.integration.receiver.hostile.case import REFUSED, STORED, UNPROVEN, Case
from tests.integration.receiver.wire import ACCOUNT, CLIENT, DOOR, SECRET, SIGNATURE, lead, post, request

_PADDED: Final = f"account[id]={ACCOUNT}"

_WRONG: Final = {
    "in upper case": SIGNATURE.upper(),
    "in mixed case": SIGNATURE[:32] + SIGNATURE[32:].upper(),
    "cut": SIGNATURE[:-1],
    "cut to one digit": SIGNATURE[:1],
    "longer": SIGNATURE + "0",
    "twice": SIGNATURE * 2,
    "with 0x": "0x" + SIGNATURE[2:],
    "in quotes": f'"{SIGNATURE}"',
    "with sha256=": f"sha256={SIGNATURE}",
    "with a space": f"{SIGNATURE} ",
    "with a line feed": f"{SIGNATURE}\n",
    "with a NUL": f"{SIGNATURE}\0",
    "with a dot": f"{SIGNATURE}.",
    "of another account": url_signature(SECRET, CLIENT, ACCOUNT + 1),
    "of another integration": url_signature(SECRET, "somebody", ACCOUNT),
    "of an empty secret": url_signature("", CLIENT, ACCOUNT),
    "of a guessed secret": url_signature("secret", CLIENT, ACCOUNT),
    "over the parts the other way round": url_signature(SECRET, str(ACCOUNT), CLIENT),
    "as SHA-1": chat_signature(SECRET, f"{CLIENT}|{ACCOUNT}".encode()),
    "over nothing": body_signature(SECRET, b""),
    "of zeros": "0" * 64,
    "null": "null",
    "true": "true",
    "a template": "{{7*7}}",
    "a statement": "' OR 1=1 --",
    "a path": "../../console",
    "full-width": "０" * 64,
    "Cyrillic letters that look alike": SIGNATURE.replace("a", "а").replace("c", "с").replace("e", "е"),
    "an array": "Array",
    "8 digits of it and an asterisk": SIGNATURE[:8] + "*",
}  # fmt: skip


def _signatures() -> Iterator[Case]:
    for name, wrong in _WRONG.items():
        yield Case(f"signature in the path: {name}", post(f"/webhooks/{ACCOUNT}/{quote(wrong, safe='')}/", lead()))
        yield Case(
            f"signature in the query: {name}",
            post(f"/webhooks/{ACCOUNT}/?signature={quote(wrong, safe='')}", lead()),
            UNPROVEN,
        )
        if wrong.isprintable() and wrong.strip() == wrong and wrong.isascii():
            yield Case(
                f"signature in the header: {name}",
                post(f"/webhooks/{ACCOUNT}/", lead(), f"X-Signature: {wrong}"),
                UNPROVEN,
            )
    for name, query in {
        "empty": "signature=",
        "an array": f"signature[]={SIGNATURE}",
        "a member": f"signature[0]={SIGNATURE}",
        "twice": f"signature={SIGNATURE}&signature={SIGNATURE}",
        "wrong, then right": f"signature=0&signature={SIGNATURE}",
        "in another case": f"Signature={SIGNATURE}",
        "after a semicolon": f"x=1;signature={SIGNATURE}",
        "escaped twice": f"%2573ignature={SIGNATURE}",
    }.items():
        for door in (f"/webhooks/{ACCOUNT}/", "/webhooks/"):
            yield Case(f"query at {door[:10]}{len(door)}: {name}", post(f"{door}?{query}", lead()), UNPROVEN)
    yield Case("signature: in the body", post(f"/webhooks/{ACCOUNT}/", b"signature=" + SIGNATURE.encode()), UNPROVEN)
    yield Case(
        "signature: in a cookie", post(f"/webhooks/{ACCOUNT}/", lead(), f"Cookie: signature={SIGNATURE}"), UNPROVEN
    )
    yield Case(
        "signature: as a bearer", post(f"/webhooks/{ACCOUNT}/", lead(), f"Authorization: Bearer {SIGNATURE}"), UNPROVEN
    )
    other = lead(2)
    captured = f"X-Signature: {body_signature(SECRET, lead(1))}"
    yield Case("signature: of a captured body over another", post(f"/webhooks/{ACCOUNT}/", other, captured), UNPROVEN)


def _accounts() -> Iterator[Case]:
    for name, account in {
        "a leading zero": f"0{ACCOUNT}",
        "zero": "0",
        "negative": f"-{ACCOUNT}",
        "with a plus": f"%2B{ACCOUNT}",
        "with a space": f"%20{ACCOUNT}",
        "with a line feed": f"{ACCOUNT}%0A",
        "with a NUL": f"{ACCOUNT}%00",
        "a NUL alone": "%00",
        "Arabic digits": quote("٣١٥٥٥٠٠١"),
        "full-width digits": quote("３１５５５００１"),
        "10^20": "1" + "0" * 20,
        "2^64": str(2**64),
        "four thousand digits": "9" * 3900,
        "hexadecimal": hex(ACCOUNT),
        "an exponent": "3e7",
        "a fraction": f"{ACCOUNT}.0",
        "a list": f"{ACCOUNT},{ACCOUNT + 1}",
        "a pattern": "*",
        "a key of Redis": quote("kommo:{0}:account:1", safe=""),
        "a hash tag": "%7B0%7D",
        "overlong UTF-8": "%c0%b1",
        "invalid UTF-8": "%ff%fe",
        "a lone surrogate": "%ed%a0%80",
        "half an escape": "%3",
        "an escape of nothing": "%zz",
        "a slash that is escaped twice": f"{ACCOUNT}%252F{SIGNATURE}",
        "line feeds for the log": "1%0d%0a%7B%22message%22:%22owned%22%7D",
        "an escape sequence for the terminal": "%1b%5b31mred",
    }.items():
        yield Case(f"account: {name}", post(f"/webhooks/{account}/{SIGNATURE}/", lead()))
        yield Case(f"account by header: {name}", post(f"/webhooks/{account}/", lead(), f"X-Signature: {SIGNATURE}"))
    for name, body in {
        "none": b"leads[add][0][id]=1",
        "two": f"{_PADDED}&leads[add][0][account_id]={ACCOUNT + 1}".encode(),
        "of Arabic digits": "account[id]=٣١٥٥٥٠٠١".encode(),
        "with a leading zero of 19 digits": b"account[id]=" + f"{ACCOUNT:019d}9".encode(),
        "negative": f"account[id]=-{ACCOUNT}".encode(),
        "in a list": f"account[id][]={ACCOUNT}".encode(),
        "in the value": f"x=account[id]={ACCOUNT}".encode(),
        "10^30": b"account[id]=1" + b"0" * 30,
        "a thousand": b"&".join(b"account[id]=%d" % number for number in range(1, 1000)),
        "in JSON, two": b'{"account_id":%d,"account":{"id":%d}}' % (ACCOUNT, ACCOUNT + 1),
        "in JSON, a fraction": b'{"account_id":%d.5}' % ACCOUNT,
        "in JSON, a bomb of blocks": b"{" + b'"account":{' * 90_000,
        "in JSON, a bomb of spaces": b'{"account"' + b" " * 1_000_000 + b":{}}",
        "a bomb of brackets": b"a" + b"[b]" * 300_000 + b"=1",
        "a bomb of names": b"account[id]" * 90_000,
    }.items():
        yield Case(f"account in the body: {name}", post("/webhooks/", body, f"X-Signature: {SIGNATURE}"), UNPROVEN)


def _places() -> Iterator[Case]:
    """Paths that are another reading of a door."""
    for path in (
        "//webhooks/", "//webhooks", "/webhooks//", f"//webhooks/{ACCOUNT}/{SIGNATURE}/",
        f"/webhooks//{ACCOUNT}/{SIGNATURE}/", f"/webhooks/{ACCOUNT}//{SIGNATURE}/",
        f"/webhooks/{ACCOUNT}/{SIGNATURE}//", f"/webhooks/{ACCOUNT}/{SIGNATURE}/more/",
        f"/webhooks/./{ACCOUNT}/{SIGNATURE}/", f"/x/../webhooks/{ACCOUNT}/{SIGNATURE}/",
        f"/webhooks/{ACCOUNT}/x/../{SIGNATURE}/", f"/webhooks%2F{ACCOUNT}%2F{SIGNATURE}/",
        f"/%2fwebhooks/{ACCOUNT}/{SIGNATURE}/", f"/WEBHOOKS/{ACCOUNT}/{SIGNATURE}/",
        f"/webhooks;x=1/{ACCOUNT}/{SIGNATURE}/", f"/webhooks/{ACCOUNT};x/{SIGNATURE}/",
        f"/webhooks/{ACCOUNT}/{SIGNATURE}/%2e%2e/", f"/webhooks/{ACCOUNT}%2F{SIGNATURE}/",
        f"/webhooks%00/{ACCOUNT}/{SIGNATURE}/",
        f"/webhooks/{ACCOUNT}/{SIGNATURE}/?signature=0/..", "/.git/config", "/wp-login.php",
        "/console/", "/metrics", "/chats/1/", "/static/../kommo/settings.py", "/%ff", "/" + "a/" * 1500,
        "/oauth/../webhooks/", "/health/ready/../../console/",
    ):  # fmt: skip
        # Another spelling of a path that proves itself may be taken, or not; it proves itself.
        proven = SIGNATURE in path
        yield Case(
            f"place: {path[:90]}",
            post(path, lead(7400), f"X-Signature: {'0' * 64}"),
            REFUSED | STORED if proven else REFUSED,
            stored=None if proven else False,
        )


def _installations() -> Iterator[Case]:
    for name, referer in {
        "this computer": "127.0.0.1:1",
        "localhost": "localhost",
        "the cloud's metadata": "169.254.169.254",
        "a number": "2130706433",
        "IPv6": "[::1]",
        "a user before the host": "acme.kommo.com@127.0.0.1",
        "a user with a colon": "acme.kommo.com:443@evil.example",
        "a suffix": "acme.kommo.com.evil.example",
        "a prefix": "evilkommo.com",
        "a fragment": "evil.example#.kommo.com",
        "a query": "evil.example?.kommo.com",
        "a backslash": "evil.example\\.kommo.com",
        "a scheme": "gopher://127.0.0.1:6379/_FLUSHALL.kommo.com",
        "a line feed": "acme.kommo.com\r\nHost: evil.example",
        "a NUL": "evil.example\0.kommo.com",
        "full stops beyond ASCII": "evil。example。kommo。com",
        "letters that fold": "evil.K\u212aommo.com",
        "a port": "acme.kommo.com:8080",
        "a path": "acme.kommo.com/../evil.example",
        "three labels": "a.b.kommo.com",
        "a service of Kommo's": "api-c.kommo.com",
        "nothing": "",
        "8 kB": "a" * 2000 + ".kommo.com",
    }.items():
        query = f"code=def502&referer={quote(referer, safe='')}&from_widget=1&client_id={CLIENT}"
        yield Case(f"referer: {name}", request(f"GET /oauth/callback?{query} HTTP/1.1"))
    for name, target in {
        "a state that is none": f"/oauth/callback?code=def502&referer=acme.kommo.com&state=x&client_id={CLIENT}",
        "a code of 5 kB": "/oauth/callback?code=" + "a" * 3000,
        "a code with a line feed": "/oauth/callback?code=a%0d%0ab&referer=acme.kommo.com",
        "parameters twice": "/oauth/callback?code=a&code=b&referer=acme.kommo.com",
        "an array": "/oauth/callback?code[]=a&referer[]=acme.kommo.com",
        "markup": "/oauth/callback?error=%3Cscript%3Ealert(1)%3C/script%3E",
        "a disconnect without a proof": f"/oauth/disconnect?account_id={ACCOUNT}&client_uuid={CLIENT}",
        "a disconnect with a wrong one": f"/oauth/disconnect?account_id={ACCOUNT}&client_uuid={CLIENT}&signature=0",
        "a disconnect of nobody": f"/oauth/disconnect?account_id=0&client_uuid={CLIENT}&signature={SIGNATURE}",
        "a disconnect of two": f"/oauth/disconnect?account_id=1&account_id=2&client_id=x&signature={SIGNATURE}",
        "a mode that is none": "/oauth/start?mode=javascript:alert(1)",
        "another place": "/oauth/../../etc/passwd",
    }.items():
        # 503: this receiver has no public address, so that nothing can be installed at it.
        yield Case(f"installation: {name}", request(f"GET {target} HTTP/1.1"), REFUSED | {503})
    yield Case("installation: by POST", post("/oauth/callback", b"code=a"))


def _deliveries() -> Iterator[Case]:
    """Deliveries that are proven, and whose content is an attempt on the log, on a parser or on another host."""
    for number, (name, content_type) in enumerate(
        {
            "JSON for a form": "application/json",
            "a form in parts": "multipart/form-data; boundary=x",
            "a charset that is none": "application/x-www-form-urlencoded; charset=utf-7",
            "XML": "text/xml",
            "nothing": "",
        }.items(),
        7500,
    ):
        yield Case(f"type: {name}", post(DOOR, lead(number), f"Content-Type: {content_type}"), STORED, stored=True)


CASES: Final = tuple(
    case for family in (_signatures, _accounts, _places, _installations, _deliveries) for case in family()
)
