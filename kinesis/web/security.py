"""
Who may ask for what.

On loopback everybody on the machine may ask, but not every page in a browser on
it: a page of somebody else can send forms to ``127.0.0.1``, and after DNS
rebinding even read the answers. So whatever is asked must be for a host that is
this machine, and what changes something must come from no page at all, or from one
of ours.

On any other address, what is no GET, HEAD or OPTIONS needs a token.

Source: OWASP, "Cross-Site Request Forgery Prevention", "Fetch Metadata".
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from typing import TYPE_CHECKING

import attrs

from kinesis.errors import TokenMissingError
from kinesis.web.answers import Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

VARIABLE = "KINESIS_HTTP_TOKEN"

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

PROBES = frozenset({"/-/live", "/-/ready", "/-/metrics"})  # asked for by any name

MOST_PASSED = 64  # values of Host that are known to be right

OWN_SITE = frozenset({"same-origin", "none"})  # of Sec-Fetch-Site


def is_loopback(host: str) -> bool:
    """Whether *host*, an address or a name, is only reached from this machine."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """Return the name in a ``Host`` header, without its port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


@attrs.frozen
class Guard:
    """
    Lets requests pass, or raises the problem that says why not.

    Args:
        loopback: Whether the server is only reached from this machine.
        token: What a request must carry to change something; None for none.
        hosts: More names of this server, such as those of a proxy before it.
    """

    loopback: bool = True
    token: bytes | None = attrs.field(default=None, repr=False)
    hosts: frozenset[str] = frozenset()
    _passed: set[str] = attrs.field(factory=set, init=False, eq=False, repr=False)

    @classmethod
    def of(cls, host: str, token: str | None, hosts: Collection[str] = ()) -> Guard:
        """
        Return the guard of a server that listens on *host*.

        Args:
            hosts: More names of it; a text is one name.

        Raises:
            TokenMissingError: Others can reach it, and there is no token.
        """
        if isinstance(hosts, str):
            hosts = (hosts,)
        loopback = is_loopback(host)
        if not loopback and not token:
            raise TokenMissingError(
                f"will not serve HTTP on {host!r} without a token: everybody who "
                f"reaches that address could change and stop the program. Set "
                f"{VARIABLE} to a long random text, or listen on 127.0.0.1.",
                host=host,
            )
        return cls(
            loopback,
            token.encode() if token else None,
            frozenset(name.lower() for name in hosts),
        )

    def check_host(self, environ: WSGIEnvironment) -> None:
        """
        Let a request be for a name of this server, or raise 403.

        After DNS rebinding a browser takes our answers for those of another site,
        whose pages may then read them.
        """
        if environ.get("HTTP_HOST") not in self._passed:
            self._check_host(environ)

    def check_change(self, environ: WSGIEnvironment) -> None:
        """Let a request change something, or raise 401 or 403."""
        self.check_host(environ)
        self._check_origin(environ)
        self._check_token(environ)

    def check_sensitive(self, environ: WSGIEnvironment) -> None:
        """Let a request see what tells much about the program, or raise."""
        self.check_route(environ)
        self._check_token(environ)

    def check_route(self, environ: WSGIEnvironment) -> None:
        """
        Let a request call a method that may do anything, even if it is a GET.

        No token, on any address: a GET should only look, and a method that does
        more says so by its methods. But no page of somebody else: an image or a
        frame of theirs may have the address of a route. Who follows a link sees
        where it leads, so that may.
        """
        self.check_host(environ)
        site = environ.get("HTTP_SEC_FETCH_SITE")
        if site is None or site in OWN_SITE:
            return
        is_link = (
            environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
            and environ.get("HTTP_SEC_FETCH_DEST") == "document"  # not in a frame
        )
        if not is_link:
            raise foreign(f"Sec-Fetch-Site: {site}")

    def _check_host(self, environ: WSGIEnvironment) -> None:
        """Refuse a request that a browser sends to another name than ours."""
        if not self.loopback and not self.hosts:
            return
        host = environ.get("HTTP_HOST", "")
        if host in self._passed:
            return
        name = host_name(host)
        if name and not is_loopback(name) and name not in self.hosts:
            raise Problem(
                403,
                f"this server is not {name!r}. If a proxy calls it so, name that "
                f"among its 'hosts'.",
            )
        if len(self._passed) < MOST_PASSED:  # kept: to read an address takes its time
            self._passed.add(host)

    def _check_origin(self, environ: WSGIEnvironment) -> None:
        """Refuse what a page of another origin sends."""
        site = environ.get("HTTP_SEC_FETCH_SITE")
        if site is not None and site not in OWN_SITE:
            raise foreign(f"Sec-Fetch-Site: {site}")
        origin = environ.get("HTTP_ORIGIN")
        if origin is None:
            return
        authority = origin.partition("://")[2].lower()
        if not authority or (
            authority != environ.get("HTTP_HOST", "").lower()
            and host_name(authority) not in self.hosts
        ):
            raise foreign(f"Origin: {origin}")

    def _check_token(self, environ: WSGIEnvironment) -> None:
        """Refuse who does not know the token."""
        if self.token is None:
            return
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("latin-1"), self.token)
        if scheme.lower() != "bearer" or not known:
            raise Problem(
                401,
                "this needs the token of the server: Authorization: Bearer …",
                [("WWW-Authenticate", 'Bearer realm="kinesis"')],
            )


def foreign(what: str) -> Problem:
    """Return how to say that a page of somebody else has sent the request."""
    return Problem(403, f"only pages of this server may ask for that ({what}).")
