"""Decode the body of a delivery: a form, or JSON as a widget's Digital Pipeline step sends it.

https://developers.kommo.com/docs/webhooks-general · https://developers.kommo.com/docs/webhooks-dp
"""

import codecs
import json
from typing import Any

from kommo.errors import BodyTooLarge, DecodeError, TooDeep, TooManyFields
from kommo.hooks import form, scalars


def decode_body(body: bytes, content_type: str | None) -> dict[str, Any]:
    """Decode a body as JSON if its type or its first character says so, else as a form; an empty one is {}.

    Raises DecodeError, or one of its kinds where a limit is passed.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if len(body) > form.MAX_BYTES:
        raise BodyTooLarge(f"The body has {len(body)} bytes; {form.MAX_BYTES} are allowed")
    start = body[:64].removeprefix(codecs.BOM_UTF8).lstrip()
    if media_type == "text/json" or media_type.endswith(("/json", "+json")):
        return _json(body) if body.strip() else {}
    # A form never begins like this: http_build_query escapes the brace.
    if start.startswith(b"{"):
        try:
            return _json(body)
        except (TooDeep, TooManyFields):
            raise
        except DecodeError:
            return form.decode(body)
    return form.decode(body)


def _json(body: bytes) -> dict[str, Any]:
    if (members := body.count(b",") + body.count(b"[") + body.count(b"{")) > form.MAX_CONTAINERS:
        raise TooManyFields(f"The body has up to {members} members; {form.MAX_CONTAINERS} are allowed")
    document = body.decode("utf-8-sig", "replace")
    try:
        decoded = scalars.load_json(document)
    except RecursionError:
        raise TooDeep(f"The body is nested more than {form.MAX_DEPTH} deep, which is all that is allowed") from None
    except ValueError as error:
        raise DecodeError(f"The body is not JSON: {type(error).__name__}") from None
    if not isinstance(decoded, dict):
        raise DecodeError(f"The body is JSON, but a {type(decoded).__name__} instead of an object")
    if scalars.is_deeper(decoded, form.MAX_DEPTH):
        raise TooDeep(f"The body is nested more than {form.MAX_DEPTH} deep, which is all that is allowed")
    return _without_lone_surrogates(decoded) if "\\ud" in document.lower() else decoded


def _without_lone_surrogates(decoded: dict[str, Any]) -> dict[str, Any]:
    """Replace what JSON may escape but nothing can encode, as invalid bytes are replaced."""
    text = json.dumps(decoded, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    clean: dict[str, Any] = scalars.load_json(text)
    return clean
