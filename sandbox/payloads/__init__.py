"""What a delivery looks like: the older names and formats that webhooks still use.

Source: https://developers.kommo.com/docs/webhooks-general and captured deliveries. Key order is theirs;
a None and an empty list are left out when the body is encoded.
"""
