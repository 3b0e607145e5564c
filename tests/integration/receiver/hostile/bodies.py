"""Bodies that are proven and made to hurt whoever decodes them."""

import json
from collections.abc import Iterator
from typing import Any, Final

from tests.integration.receiver.wire import ACCOUNT

_MEGABYTE: Final = 2**20
_SAMPLE: Final = {"id": "1", "name": "Anna", "price": "5", "updated_at": "1795000000", "account_id": str(ACCOUNT)}
_SHAPES: Final[dict[str, Any]] = {
    "a list": ["1"],
    "an object": {"a": "1"},
    "an empty text": "",
    "10^30": "1" + "0" * 30,
    "negative": "-1",
    "a boolean": "true",
    "a NUL": "\0",
    "an escape sequence": "\x1b[2J\r\n",
}


def _forms() -> Iterator[tuple[str, bytes]]:
    yield "brackets, 10^5 deep", b"a" + b"[b]" * 100_000 + b"=1"
    yield "brackets that are not closed", b"a" + b"[" * 500_000 + b"=1"
    yield "10^5 keys", b"&".join(b"k%d=1" % number for number in range(100_000))
    yield "49,000 keys", b"&".join(b"k%d=1" % number for number in range(49_000))
    yield "10^6 separators", b"&" * 1_000_000
    yield "10^6 equals signs", b"=" * 1_000_000
    yield "keys that collide where hashing has no seed", b"&".join(b"%d=1" % (k * (2**61 - 1)) for k in range(20_000))
    yield "sparse indexes", b"leads[add][4000000000][id]=1&leads[add][99999999999999999999][id]=2"
    yield "negative indexes", b"leads[add][-1][id]=1&leads[add][-9223372036854775808][id]=2"
    yield "appends to a full list", b"leads[add][9223372036854775807][id]=1&leads[add][][id]=2"
    yield "20,000 appends", b"&".join([b"leads[add][][id]=1"] * 20_000)
    yield "appends within appends", b"&".join([b"a" + b"[]" * 30 + b"=1"] * 5_000)
    yield "a value over a list and back", b"&".join([b"a[b][c]=1&a[b]=2"] * 10_000)
    yield "a key of 1 MB", b"a" * _MEGABYTE + b"=1"
    yield "a key of 1 MB in brackets", b"a[" + b"b" * _MEGABYTE + b"]=1"
    yield "a value of 4 MB", b"leads[add][0][name]=" + b"x" * (4 * _MEGABYTE)
    yield "escapes of 3 MB", b"leads[add][0][name]=" + b"%41" * _MEGABYTE
    yield "invalid UTF-8", b"leads[add][0][name]=%ff%fe%80&leads[add][0][id]=1"
    yield "overlong UTF-8", b"leads[add][0][name]=%c0%af%e0%80%af&leads[add][0][id]=1"
    yield "a lone surrogate", b"leads[add][0][name]=%ed%a0%80&leads[add][0][id]=1"
    yield "a BOM", b"\xef\xbb\xbfleads[add][0][id]=1"
    yield "NULs", b"leads%00[add][0][id]=1&leads[add][0][na%00me]=x%00y"
    yield "bytes of all kinds", bytes(range(256)) * 40
    yield "half escapes", b"a=%&b=%4&%=1&%zz=2"
    yield "names of the language", b"__class__[__init__]=1&__proto__[x]=1&constructor[prototype][x]=1"
    yield "PHP's own names", b"GLOBALS[x]=1&_POST[x]=1&__Host-a[b]=1"
    yield "another account", b"account[id]=%d&leads[add][0][id]=1" % (ACCOUNT + 1)
    yield "an account that is a list", b"account[id][]=1&account[]=2&leads[add][0][id]=1"
    yield "an entity that is a text", b"leads=1&contacts=&task[]=1"
    yield "an action that is a text", b"leads[add]=1&leads[delete]=x&leads[note]="
    yield "an event of our own making", b"account[id]=%d&installation[disconnect][0][id]=%d" % (ACCOUNT, ACCOUNT)
    yield "hosts", b"account[subdomain]=127.0.0.1:1&account[_links][self]=http://169.254.169.254/&leads[add][0][id]=1"
    yield "a note that is a bomb", b"leads[note][0][note][metadata]=" + b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    yield "a call that is a bomb", b"leads[note][0][note][note_type]=10&leads[note][0][note][text]={" + b"[" * 9_000


def _documents() -> Iterator[tuple[str, bytes]]:
    yield "objects, 10^5 deep", b'{"a":' * 100_000
    yield "objects, 500 deep and closed", b'{"a":' * 500 + b"1" + b"}" * 500
    yield "lists, 10^5 deep", b"[" * 100_000
    yield "10^5 members", json.dumps({f"k{number}": number for number in range(100_000)}).encode()
    yield "3 * 10^5 members", b'{"a":[' + b"0," * 300_000 + b"0]}"
    yield "a number of 10^5 digits", b'{"leads":{"add":[{"id":' + b"9" * 100_000 + b"}]}}"
    yield "a number beyond all", b'{"leads":{"add":[{"id":1e99999,"price":-1e99999,"updated_at":1e308}]}}'
    yield "numbers that are none", b'{"leads":{"add":[{"id":NaN,"price":Infinity,"updated_at":-Infinity}]}}'
    yield "a fraction of 10^6 digits", b'{"leads":{"add":[{"price":0.' + b"1" * 1_000_000 + b"}]}}"
    yield "keys twice", b'{"leads":{},"leads":{"add":[{"id":1,"id":2}]}}'
    yield "lone surrogates", b'{"leads":{"add":[{"id":1,"name":"\\ud800","\\udfff":"\\udc00"}]}}'
    yield "NULs", b'{"le\\u0000ads":{"add":[{"id":1,"\\u0000":"\\u0000"}]}}'
    yield "half of it", b'{"leads":{"add":[{"id":1'
    yield "something behind it", b'{"leads":{"add":[{"id":1}]}}{"leads":{}}'
    yield "a list", b'[{"leads":{"add":[{"id":1}]}}]'
    yield "null", b"null"
    yield "a text", b'"leads"'
    yield "spaces", b" " * 1_000_000
    yield "a BOM", b'\xef\xbb\xbf{"leads":{"add":[{"id":1}]}}'
    yield "UTF-16", '{"leads":{"add":[{"id":1}]}}'.encode("utf-16")
    yield "comments", b'{/* x */"leads":{}}'
    yield "events for all types", b'{"event":{"type":15,"data":[]},"account_id":[]}'


def _shapes() -> Iterator[tuple[str, bytes]]:
    for field in _SAMPLE:
        for name, shape in _SHAPES.items():
            yield f"{field} as {name}", json.dumps({"leads": {"update": [{**_SAMPLE, field: shape}]}}).encode()


FORMS: Final = tuple(_forms())
DOCUMENTS: Final = (*_documents(), *_shapes())
