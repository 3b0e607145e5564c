"""The least that Flask can do: read the body, answer 200. What an answer costs before anything is done for it."""

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/hook")
def hook() -> Response:
    """Take a delivery and forget it."""
    request.get_data(cache=False)
    return Response(status=200)
