"""A stand-in for Kommo to develop and test against: its API, its limits, its webhooks, all in memory.

`python -m sandbox --help` tells how to start it; `with Sandbox(port=0) as box:` runs one inside a test.
"""

from sandbox.box import Sandbox
from sandbox.options import Options

__all__ = ["Options", "Sandbox"]
