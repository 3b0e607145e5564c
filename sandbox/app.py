"""The web application: the API below `/api/v4`, the control page and its commands."""

from flask import Flask

from sandbox.api import blueprint as api
from sandbox.control import routes as control
from sandbox.world import World


def create_app(world: World) -> Flask:
    """Return the application of one world."""
    app = Flask("sandbox")
    app.extensions["sandbox"] = world
    app.url_map.strict_slashes = False
    app.register_blueprint(api.api)
    app.register_blueprint(control.control)
    api.catch_errors(app)
    return app
