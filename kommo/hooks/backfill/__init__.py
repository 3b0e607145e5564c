"""What a webhook would have told, made from what the API knows. Pure: documents of the API in, deliveries out.

A delivery that Kommo never sent, because the webhook was switched off or nobody was there to take it, cannot be had
again. What it was about can: from the journal of the account (`journal`) and from its entities (`cards`). `known`
tells what has come all the same.

https://developers.kommo.com/docs/webhooks-general · https://developers.kommo.com/reference (events)
"""

from kommo.hooks.backfill.found import DELIVERY, FORM, Found
from kommo.hooks.backfill.known import Known

__all__ = ["DELIVERY", "FORM", "Found", "Known"]
