"""What Kommo's refusal to renew a token means: for the account, or only for the keys that it was asked with."""

from kommo.errors import ApiError, BadRequest, ClientRefused, NotFound, Unauthorized


def fault_of(error: ApiError) -> str:
    """Say in a sentence what is wrong, for a refusal that is not about the token."""
    if isinstance(error, Unauthorized):
        sentence = "Kommo does not accept client id and secret"
    elif isinstance(error, BadRequest):
        sentence = "Kommo does not accept client id, secret or redirect"
    elif isinstance(error, NotFound):
        sentence = "the account is no longer at its address"
    else:
        sentence = "Kommo refused to renew the token"
    return f"{sentence}: {error.status} {error.detail}"


def client_refused(fault: str, account_id: int, *, after: float | None = None) -> ClientRefused:
    """Make the error of a call that was not made for such a fault; `after` is seconds until somebody asks again."""
    return ClientRefused(fault, method="any call to", path=f"account {account_id}", after=after)
