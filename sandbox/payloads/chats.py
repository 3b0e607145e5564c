"""Messages and talks as deliveries show them."""

from sandbox.state import Json


def message(written: Json) -> Json:
    """Return a chat message; `text` is missing when only a file was sent."""
    return {
        "id": written["id"],
        "chat_id": written["chat_id"],
        "talk_id": written["talk_id"],
        "contact_id": written["contact_id"],
        "text": written["text"],
        "attachment": written["attachment"],
        "created_at": written["created_at"],
        "element_type": 2,
        "entity_type": "lead",
        "element_id": written["entity_id"],
        "entity_id": written["entity_id"],
        "type": written["type"],
        "author": written["author"],
        "origin": written["origin"],
    }


def talk(held: Json) -> Json:
    """Return a talk; its id is called `talk_id`, and `is_in_work` 0 means closed."""
    return {
        "talk_id": held["talk_id"],
        "created_at": held["created_at"],
        "updated_at": held["updated_at"],
        "rate": held["rate"],
        "contact_id": held["contact_id"],
        "chat_id": held["chat_id"],
        "entity_id": held["entity_id"],
        "entity_type": "lead",
        "is_in_work": held["is_in_work"],
        "is_read": held["is_read"],
        "origin": held["origin"],
    }
