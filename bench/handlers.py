"""The handlers of the benchmarks' workers: none, the writes lie in the outbox already."""

from kommo import Router

router = Router()
