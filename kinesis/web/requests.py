"""
The request that a route is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import werkzeug

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Request(werkzeug.Request):
    """
    Werkzeug's request, made when somebody looks at it.

    To make one takes as long as to find the route, and many routes only need to
    be called. Until the first attribute is asked for there is only the environ.
    """

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.environ = environ

    def __getattr__(self, name: str) -> Any:
        """Make the request, if that is why there is no such attribute."""
        if "headers" in self.__dict__ or name.startswith("__"):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            )
        werkzeug.Request.__init__(self, self.environ)
        return getattr(self, name)


def request_class(wanted: type | None) -> type[werkzeug.Request]:
    """Return what to make for a parameter that is annotated as *wanted*."""
    if wanted is None or wanted is werkzeug.Request:
        return Request
    return wanted
