"""The command line: what it prints, and that a mistake is a sentence."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from kommo import __version__, cli
from kommo.hooks.signature import url_signature
from kommo.store.server import PrivateServer
from sandbox import Sandbox
from tests.integration.workers.logs import logging_restored

CLIENT, SECRET, ACCOUNT = "integration-of-the-cli", "secret-of-the-cli", 31_415_926
PUBLIC = "https://hooks.example.org/kommo"
OWN = f"{PUBLIC}/webhooks/{ACCOUNT}/{url_signature(SECRET, CLIENT, ACCOUNT)}/"

ROOT = Path(__file__).parents[2]

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT) as box:
        yield box


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `kommo` with arguments in this process; give its exit status and all that it printed."""
    # As the installed command has it: its parts are those of the installed project, not of a build left in its folder.
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT])

    def kommo(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["kommo", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        said = ended.value.code
        if isinstance(said, str):
            # What Python prints for such an exit.
            return 1, printed.out + printed.err + said
        return int(said or 0), printed.out + printed.err

    with logging_restored():
        yield kommo


@pytest.fixture
def environ(
    redis_server: PrivateServer,
    redis: Redis,
    box: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> pytest.MonkeyPatch:
    """The environment of a receiver whose account is the sandbox's."""
    for name, value in {
        "REDIS_URL": redis_server.url,
        "KOMMO_CLIENT_ID": CLIENT,
        "KOMMO_CLIENT_SECRET": SECRET,
        "KOMMO_ACCOUNT_ID": str(ACCOUNT),
        "KOMMO_ACCESS_TOKEN": box.token,
        "KOMMO_API_BASE": box.url,
        "KOMMO_PUBLIC_URL": PUBLIC + "/",
        "COLUMNS": "300",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def hooks(box: Sandbox) -> dict[str, tuple[str, ...]]:
    return {hook.destination: tuple(hook.settings) for hook in box.world.webhooks.all()}


def test_the_version_is_told(run: Run) -> None:
    assert run("--version") == (0, f"kommo, version {__version__}\n")


def test_there_is_a_group_of_commands_for_every_entry_point(run: Run) -> None:
    status, text = run("webhooks", "--help")
    assert status == 0
    for command in ("url", "register", "list", "remove"):
        assert f"\n  {command} " in text


def test_an_unknown_command_is_told(run: Run) -> None:
    status, text = run("webhoks")
    assert (status, "No such command 'webhoks'" in text) == (2, True)


@pytest.mark.usefixtures("environ")
class TestWebhooks:
    def test_url_prints_the_signed_address(self, run: Run) -> None:
        assert run("webhooks", "url") == (0, f"{OWN}\n")

    def test_register_subscribes_to_every_event_unless_told_otherwise(
        self, run: Run, box: Sandbox, environ: pytest.MonkeyPatch
    ) -> None:
        status, text = run("webhooks", "register")
        assert (status, "31 events" in text) == (0, True)
        assert len(hooks(box)[OWN]) == 31
        run("webhooks", "remove")
        environ.setenv("KOMMO_WEBHOOK_EVENTS", "add_lead,update_task")
        run("webhooks", "register")
        assert sorted(hooks(box)[OWN]) == ["add_lead", "update_task"]

    def test_list_shows_what_there_is_and_no_signature(self, run: Run, box: Sandbox) -> None:
        run("webhooks", "register")
        box.register("https://old.example.org/webhooks/5/" + "ab" * 32 + "/", "add_lead")
        status, text = run("webhooks", "list")
        assert status == 0
        assert "this receiver" in text
        assert "https://old.example.org/webhooks/***" in text
        assert url_signature(SECRET, CLIENT, ACCOUNT) not in text
        assert "ab" * 32 not in text

    def test_remove_takes_this_receiver_away_and_no_other(self, run: Run, box: Sandbox) -> None:
        box.register("https://other.example.org/", "add_lead")
        run("webhooks", "register")
        assert run("webhooks", "remove") == (0, "Removed.\n")
        assert list(hooks(box)) == ["https://other.example.org/"]


class TestMistakes:
    """Each is one sentence after the command's name, without a traceback and without a secret."""

    def sentence(self, run: Run, *arguments: str) -> str:
        status, text = run(*arguments)
        assert status == 1
        assert text.count("kommo: ") == 1
        assert "Traceback" not in text
        assert SECRET not in text
        return text

    @pytest.mark.parametrize("variable", ["REDIS_URL", "KOMMO_CLIENT_SECRET", "KOMMO_PUBLIC_URL", "KOMMO_ACCOUNT_ID"])
    def test_a_missing_variable(self, run: Run, environ: pytest.MonkeyPatch, variable: str) -> None:
        environ.delenv(variable)
        assert f"{variable} is not set" in self.sentence(run, "webhooks", "url")

    def test_two_missing_variables_are_told_together(self, run: Run, environ: pytest.MonkeyPatch) -> None:
        environ.delenv("KOMMO_PUBLIC_URL")
        environ.delenv("KOMMO_ACCOUNT_ID")
        text = self.sentence(run, "webhooks", "url")
        assert "KOMMO_PUBLIC_URL" in text
        assert "KOMMO_ACCOUNT_ID" in text

    def test_no_token(self, run: Run, environ: pytest.MonkeyPatch) -> None:
        environ.delenv("KOMMO_ACCESS_TOKEN")
        assert "KOMMO_ACCESS_TOKEN" in self.sentence(run, "webhooks", "list")

    def test_a_token_that_kommo_does_not_know(self, run: Run, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("KOMMO_ACCESS_TOKEN", "revoked-token")
        text = self.sentence(run, "webhooks", "list")
        assert "answered 401" in text
        assert "revoked-token" not in text

    @pytest.mark.parametrize("command", ["register", "list", "remove"])
    def test_no_account_to_call(self, run: Run, environ: pytest.MonkeyPatch, command: str) -> None:
        environ.delenv("KOMMO_API_BASE")
        assert "KOMMO_SUBDOMAIN is not set" in self.sentence(run, "webhooks", command)

    def test_a_redis_that_is_away(self, run: Run, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("REDIS_URL", "unix:///nowhere/redis.sock")
        assert "Redis cannot do it now" in self.sentence(run, "webhooks", "list")

    def test_a_kommo_that_does_not_answer(self, run: Run, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("KOMMO_API_BASE", "http://127.0.0.1:1")
        assert "nothing was sent" in self.sentence(run, "webhooks", "list")
