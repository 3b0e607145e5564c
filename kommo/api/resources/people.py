"""Users and roles, for administrators: https://developers.kommo.com/reference (users)"""

from kommo.api.bounds import USERS_BATCH
from kommo.api.pages import Send
from kommo.api.resources.records import Creates, Deletes, Reads, Updates
from kommo.api.writes import API


class Users(Reads, Creates):
    """The users of the account; ten are created in a request at most. The API neither changes nor deletes them."""

    _batch = USERS_BATCH

    def __init__(self, send: Send) -> None:
        super().__init__(send, f"{API}/users", "users", "user")


class Roles(Reads, Creates, Updates, Deletes):
    """The roles that users may have, with their rights."""

    def __init__(self, send: Send) -> None:
        super().__init__(send, f"{API}/roles", "roles", "role")
