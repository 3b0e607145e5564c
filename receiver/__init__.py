"""The doors: what Kommo and people knock at."""

from receiver.app import create_app

__all__ = ["create_app"]
