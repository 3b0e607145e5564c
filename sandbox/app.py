"""The web application: the API below `/api/v4`, the control page and its commands."""

from flask import Flask

from sandbox.api import blueprint, gatekeeper, oauth
from sandbox.control import oauth as oauth_control
from sandbox.control import routes, service
from sandbox.world import World


def create_app(world: World) -> Flask:
    """Return the application of one world."""
    app = Flask("sandbox")
    app.extensions["sandbox"] = world
    app.url_map.strict_slashes = False
    app.register_blueprint(blueprint.api)
    app.register_blueprint(oauth.routes)
    app.register_blueprint(oauth_control.oauth)
    app.register_blueprint(service.service)
    app.register_blueprint(routes.control)
    gatekeeper.guard(app)
    return app
