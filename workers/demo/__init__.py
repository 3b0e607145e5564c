"""The command `kommo demo`: the whole program at work, on a stand-in for Kommo."""

from workers.demo.command import demo

__all__ = ["demo"]
