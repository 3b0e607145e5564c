"""Recognise the webhooks that our own writes cause. Does no I/O.

`expectations` reads from a request what its webhooks will show; a ledger keeps that for some minutes; `judge` marks the
events that are echoes, and says which of the ledger it used.
"""

from kommo.hooks.echoes.cases import Case, case_of, kind_of
from kommo.hooks.echoes.expectations import Expectation, expectations
from kommo.hooks.echoes.judging import Ledger, judge
from kommo.hooks.echoes.ledger import Entry, Pending

__all__ = ["Case", "Entry", "Expectation", "Ledger", "Pending", "case_of", "expectations", "judge", "kind_of"]
