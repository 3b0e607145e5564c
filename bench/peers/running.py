"""Start ours and the peers, each on the same settings of gunicorn and on the same durable Redis."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.load import Load, requests
from bench.surroundings import ACCOUNT, CLIENT, ROOT, Surroundings, free_port
from kommo.hooks.signature import url_signature

SIGNATURE: Final = url_signature("bench-secret", CLIENT, ACCOUNT)
NODE: Final = ROOT / "bench" / "peers" / "node"


@dataclass(frozen=True)
class Side:
    """One of those that are compared: where its deliveries go, and how its workers are started."""

    name: str
    port: int
    path: str
    process: subprocess.Popen[bytes]


def ours(here: Surroundings) -> Side:
    """Start the receiver as the Procfile does."""
    return _gunicorn(here, "ours", "receiver:create_app()", f"/webhooks/{ACCOUNT}/{SIGNATURE}/")


def hello(here: Surroundings) -> Side:
    """Start Flask alone."""
    return _gunicorn(here, "Flask hello", "bench.peers.hello:app", "/hook")


def plain(here: Surroundings) -> Side:
    """Start the plain receiver."""
    return _gunicorn(here, "Flask + task.delay()", "bench.peers.plain:app", f"/hook/{ACCOUNT}/{SIGNATURE}/")


def node_hello(here: Surroundings) -> Side:
    """Start Express alone."""
    return _node(here, "Express hello", "/hook", HELLO="1")


def node(here: Surroundings) -> Side:
    """Start Express with BullMQ."""
    return _node(here, "Express + BullMQ", f"/hook/{ACCOUNT}/{SIGNATURE}/")


def why_no_node() -> str:
    """Say why the peers in JavaScript cannot run, after having fetched what they need; nothing when they can."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "node is not installed"
    if (NODE / "node_modules" / "bullmq").exists():
        return ""
    # Not `npm ci`: it refuses where a registry does not have the optional binaries of other systems.
    command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
    fetched = subprocess.run(command, cwd=NODE, capture_output=True, check=False)
    return "" if fetched.returncode == 0 else "npm install failed"


def our_workers(here: Surroundings) -> list[subprocess.Popen[bytes]]:
    """Start a worker for each of two cores."""
    command = ("celery", "-A", "workers.app", "worker", "-P", "threads")
    return [here.start(*command, "-n", f"ours{place}") for place in range(2)]


def plain_workers(here: Surroundings) -> list[subprocess.Popen[bytes]]:
    """Start Celery's own default: a process for each core."""
    return [here.start("celery", "-A", "bench.peers.plain:celery", "worker", "-c", "2", "-n", "plain")]


def node_workers(here: Surroundings) -> list[subprocess.Popen[bytes]]:
    """Start a worker for each of two cores."""
    return [here.start(shutil.which("node") or "node", str(NODE / "worker.js")) for _ in range(2)]


def _gunicorn(here: Surroundings, name: str, app: str, path: str) -> Side:
    port = free_port()
    process = here.start("gunicorn", "-c", "deploy/gunicorn.conf.py", app, PORT=str(port))
    return _ready(here, Side(name, port, path, process))


def _node(here: Surroundings, name: str, path: str, **environ: str) -> Side:
    port = free_port()
    process = here.start(shutil.which("node") or "node", str(NODE / "server.js"), PORT=str(port), **environ)
    return _ready(here, Side(name, port, path, process))


def _ready(here: Surroundings, side: Side) -> Side:
    here.wait(_answers(side), seconds=30, what=f"{side.name} answers")
    return side


def _answers(side: Side) -> Callable[[], bool]:
    return lambda: not Load(("127.0.0.1", side.port), requests(side.path, 0), 1).closed(1).bad


def load(side: Side, *, number: int, first: int, rate: float = 0, at_once: int = 16) -> str:
    """Run the load generator against a side in a process of its own; returns its JSON."""
    command = [str(Path(sys.executable)), "-m", "bench.load", "--port", str(side.port), "--path", side.path]
    command += ["--number", str(number), "--first", str(first), "--at-once", str(at_once)]
    command += ["--rate", str(rate)] if rate else []
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
