"""Receive Kommo webhooks, run handlers on a fleet, call the Kommo API within its limits."""

from kommo.errors import Reject, Retry
from kommo.router import Router

__all__ = ["Reject", "Retry", "Router"]
__version__ = "0.1.0"
