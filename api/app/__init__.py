"""The web application: routes, errors, limits of a request, spelling of paths."""

from api.app.application import TITLE, create_app

__all__ = ["TITLE", "create_app"]
