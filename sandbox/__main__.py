"""The command `python -m sandbox`."""

import signal
from threading import Event

import click

from sandbox.box import Sandbox
from sandbox.options import Options

_DEFAULTS = Options()


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.option("--host", default=_DEFAULTS.host, help="Address to listen on.")
@click.option("--port", default=7300, help="Port to listen on; 0 takes a free one.")
@click.option("--account-id", default=_DEFAULTS.account_id, help="Id of the account.")
@click.option("--subdomain", default=_DEFAULTS.subdomain, help="Subdomain of the account.")
@click.option("--token", "tokens", multiple=True, default=_DEFAULTS.tokens, help="Bearer token to take; repeatable.")
@click.option("--client-id", default=_DEFAULTS.client_id, help="Id of the integration.")
@click.option("--client-secret", default=_DEFAULTS.client_secret, help="Its secret.")
@click.option("--redirect-uri", default=_DEFAULTS.redirect_uri, help="Where its codes are brought.")
@click.option("--disconnect-uri", default="", help="What is called when it is switched off; default beside that.")
@click.option("--access-seconds", default=_DEFAULTS.access_seconds, help="How long access tokens last.")
@click.option("--refresh-seconds", default=_DEFAULTS.refresh_seconds, help="How long refresh tokens last.")
@click.option("--rate", default=_DEFAULTS.rate, help="API requests let through in any second.")
@click.option("--retry-after", default=_DEFAULTS.retry_after, help="Seconds told with a 429.")
@click.option("--block-after", default=_DEFAULTS.block_after, help="How many 429 within a minute lead to 403.")
@click.option("--block-seconds", default=_DEFAULTS.block_seconds, help="How long the 403 lasts.")
@click.option("--timeout-above", type=int, help="Answer 504 to writes of more entities.")
@click.option("--latency-min", default=_DEFAULTS.latency_min, help="Least seconds that an answer is held back.")
@click.option("--latency-max", default=_DEFAULTS.latency_max, help="Most seconds that an answer is held back.")
@click.option("--time-scale", default=_DEFAULTS.time_scale, help="Multiplies the waits of webhook retries.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
def main(*, quiet: bool, **chosen: object) -> None:
    """Stand in for Kommo: its API, its rate limit and its webhooks, in memory.

    Point a client's base address at it instead of https://SUBDOMAIN.kommo.com and use the token that it
    prints. Register a webhook with POST /api/v4/webhooks, then change something, over the API, on the page
    at / or by a command; the delivery goes out as Kommo would send it:

    \b
      curl -X POST http://127.0.0.1:7300/_sandbox/lead.create -H 'Content-Type: application/json' \\
           -d '{"name": "Blue bicycle", "price": 450}'

    \b
    GET  /_sandbox/commands         the names of all commands
    GET  /_sandbox/requests         what the API was asked, and the most requests in any second;
                                    ?method= &path= &status= &since= &bodies=1
    POST /_sandbox/faults           {"path": "/api/v4/leads", "status": 504, "times": 3}: let calls fail
    POST /_sandbox/latency          {"min": 0.05, "max": 0.1}: hold every answer back
    POST /_sandbox/limits           {"rate": 50}; /_sandbox/subscription {"ended": true}
    POST /_sandbox/oauth/install    a code; revoke, rotate_secret, disconnect, long_lived beside it
    GET  /_sandbox/deliveries       what was sent, each attempt with its answer
    POST /_sandbox/redeliver        {"id": 7}: send a delivery once more
    POST /_sandbox/batch            {"changes": [{"command": "lead.create", "args": {}}]}: in one delivery
    POST /_sandbox/webhooks/enable  {"destination": "http://..."}: after it was switched off
    GET  /_sandbox/health

    Failed deliveries are tried again after 5 and 15 minutes, after 5xx and timeouts also 15 minutes and
    1 hour later; --time-scale 0.001 turns these minutes into fractions of a second.
    """
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        box = Sandbox(None, **chosen)
    except OSError as error:
        raise click.ClickException(f"cannot listen there: {error.strerror}") from None
    with box:
        if not quiet:
            click.echo(_greeting(box))
        stop.wait()


def _greeting(box: Sandbox) -> str:
    return (
        f"Sandbox at {box.url} · account {box.account_id} ({box.options.subdomain}) · "
        f"made-up access token {box.token} · control page {box.url}/"
    )


if __name__ == "__main__":
    main(prog_name="python -m sandbox")
