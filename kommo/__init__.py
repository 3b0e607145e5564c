"""Receive Kommo webhooks, run handlers on a fleet, call the Kommo API within its limits."""

from kommo.router import Router
from kommo.verdicts import Reject, Retry

__all__ = ["Reject", "Retry", "Router"]
__version__ = "0.1.0"
