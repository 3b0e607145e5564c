"""The tasks: each only says where the work is done."""

from workers import chores
from workers.app import app, runtime
from workers.drain import drain as drain_accounts
from workers.flush import flush as flush_accounts
from workers.run import run as run_steps
from workers.watching import Watching


@app.task(name="workers.drain")
def drain() -> None:
    """Serve the inboxes."""
    drain_accounts(runtime())


@app.task(name="workers.run")
def run() -> None:
    """Serve the lanes."""
    run_steps(runtime())


@app.task(name="workers.flush")
def flush() -> None:
    """Serve the outboxes."""
    flush_accounts(runtime())


@app.task(name="workers.chores")
def trim() -> None:
    """Keep the inboxes within their bounds."""
    chores.trim_inboxes(runtime())


@app.task(name="workers.chores.renew")
def renew() -> None:
    """Keep the tokens of idle accounts alive, and warn of those that nothing renews."""
    chores.renew_tokens(runtime())
    chores.warn_of_ends(runtime())


@app.task(name="workers.chores.webhooks")
def watch_webhooks() -> None:
    """See that the accounts' webhooks are on, and look for what they have not told."""
    watching = Watching.of(runtime())
    watching.look_at_all()
    watching.fill_all()
