"""Benchmarks of the whole program: real Redis, real Celery workers, and a server that counts what reaches it.

`make bench` runs all; `python -m bench NAME ...` runs some; `python -m bench --help` names them.
"""
