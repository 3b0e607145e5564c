"""The command `kommo demo`: compose the processes, play the story, reckon, clean up."""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

import workers
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from kommo.store.connection import connect
from kommo.store.limiter import Scope
from kommo.store.server import PrivateServer
from workers.demo import closing
from workers.demo.processes import Children, Interruptions
from workers.demo.program import Program
from workers.demo.reckoning import reckon
from workers.demo.screen import Screen
from workers.demo.stores import Stores, borrowed
from workers.demo.story import Story, StoryStuck
from workers.demo.surroundings import Surroundings, find_checkout, free_ports
from workers.demo.watching import Watch

#: Seconds before the story: the calls of the set-up count in the limit's second, too.
_FIRST_SECONDS: Final = 1.1
#: Seconds after the story in which all has to be done.
_SETTLE_SECONDS: Final = 25.0


@click.command()
@click.option("--once", is_flag=True, help="Play the story and exit: 0 only if all was handled and followed up.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 20), help="Tell it faster.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port of the receiver; 0: a free one.")
@click.option("--sandbox-port", default=0, type=click.IntRange(0, 65535), help="Port of the sandbox; 0: a free one.")
def demo(*, once: bool, speed: float, port: int, sandbox_port: int) -> None:
    """Play a day at a small company, all local: Redis, a stand-in for Kommo, receiver, two workers, beat.

    Shows each delivery on its way to the handlers of examples/ and on to the API, and accounts for every one at the
    end. Works in the Redis database that REDIS_URL names if it is empty, or without REDIS_URL in a Redis of its own.
    """
    checkout = find_checkout(Path(workers.__file__).parent)
    interruptions = Interruptions()
    interruptions.listen()
    screen = Screen()
    with ExitStack() as cleanup:
        try:
            around = _surroundings(cleanup, interruptions, screen, free_ports(port, sandbox_port))
            children = Children(folder=checkout, environ=around.environ(os.environ), interruptions=interruptions)
            cleanup.enter_context(children)
            with children.blamed():
                complete = _perform(around, children, screen, speed=speed, once=once)
        except SystemExit:
            screen.goodbye()
            raise
        finally:
            interruptions.ignore()
    if once and not complete:
        sys.exit(1)


def _surroundings(
    cleanup: ExitStack, interruptions: Interruptions, screen: Screen, ports: Sequence[int]
) -> Surroundings:
    """Make the folder and choose the Redis; both are cleaned up after the children."""
    screen.title("A day at a small bicycle shop: from Kommo's webhooks to the calls that follow")
    with interruptions.held():
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="kommo-demo-")))
        redis_url = _redis(cleanup, folder, screen)
    return Surroundings(folder=folder, redis_url=redis_url, receiver_port=ports[0], sandbox_port=ports[1])


def _redis(cleanup: ExitStack, folder: Path, screen: Screen) -> str:
    """Choose where the work lies: the empty database that the caller names, or a Redis of our own."""
    given = os.environ.get("REDIS_URL", "").strip()
    if given:
        cleanup.enter_context(borrowed(given))
        screen.started("Redis", "the database that REDIS_URL names: it is empty, and will be again")
        return given
    own = folder / "redis"
    own.mkdir()
    server = cleanup.enter_context(PrivateServer(folder=own))
    screen.started("Redis", "a private one on a socket file; what it says is stored is on disk")
    return server.url


def _perform(around: Surroundings, children: Children, screen: Screen, *, speed: float, once: bool) -> bool:
    """Do all that is to be seen; say whether the story's deliveries were handled and followed up."""
    watch, program = _started(around, children, screen)
    complete = _play(program, watch, screen, speed)
    if once:
        closing.suggest(screen.console, around.sandbox_url, stays=False)
    else:
        _stay(watch, screen, around.sandbox_url)
    return complete


def _started(around: Surroundings, children: Children, screen: Screen) -> tuple[Watch, Program]:
    """Start everything and begin to watch."""
    program = Program(around, children, screen)
    settings = Settings.from_environ(program.start_sandbox())
    account_id = settings.account_id or 0
    stores = Stores(connect(around.redis_url), account_id)
    program.start_own(stores)
    program.register()
    program.account.begin()
    screen.legend()
    watch = Watch(
        children=children,
        account=program.account,
        stores=stores,
        screen=screen,
        scope=_narrowest(settings, account_id),
        integration_user=program.people[0].id,
    )
    return watch, program


def _narrowest(settings: Settings, account_id: int) -> Scope:
    """Name the limit whose slots are shown: the one with the fewest."""
    accounts = Accounts(settings)
    credentials = accounts.credentials(account_id)
    scopes = accounts.scopes(credentials) if credentials else ()
    return min(scopes, key=lambda scope: scope.per_second)


def _play(program: Program, watch: Watch, screen: Screen, speed: float) -> bool:
    """Play the story and print the reckoning; say whether all was handled and followed up."""
    story = Story(program.account, watch, program.people, speed=speed)
    watch.pause(_FIRST_SECONDS)
    try:
        story.play()
    except StoryStuck as error:
        screen.failed(str(error))
    watch.tell("The shop closes. What is still under way is waited for.")
    watch.settle(seconds=_SETTLE_SECONDS)
    reckoning = reckon(watch.books())
    closing.show(screen.console, reckoning)
    return not reckoning.missing


def _stay(watch: Watch, screen: Screen, sandbox_url: str) -> None:
    """Go on watching until a signal comes: the usual end, not a failure, from the moment that this is said."""
    try:
        closing.suggest(screen.console, sandbox_url, stays=True)
        watch.forever()
    except SystemExit:
        screen.goodbye()
