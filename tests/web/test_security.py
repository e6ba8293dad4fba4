"""Who may ask for what: on loopback, and where others can reach the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client

from kinesis import Runtime
from kinesis.errors import TokenMissingError
from kinesis.web.security import Guard, host_name, is_loopback
from tests.web.shop import Stock, World, world

STOCK = "/app/shop/stock"
TOKEN = "correct horse battery staple"

CHANGES = [
    ("PATCH", STOCK),
    ("PUT", STOCK),
    ("DELETE", STOCK),
    ("POST", f"{STOCK}/-/stop"),
    ("POST", f"{STOCK}/-/restart"),
    ("POST", f"{STOCK}/-/messages/Deposit"),
    ("POST", f"{STOCK}/bump"),
    ("DELETE", f"{STOCK}/items/5"),
]


@pytest.fixture
def shop() -> Iterator[World]:
    """The shop, as on loopback."""
    with world() as made:
        yield made


@pytest.fixture
def public() -> Iterator[World]:
    """The shop, as on an address that others reach."""
    with world(guard=Guard.of("0.0.0.0", TOKEN)) as made:
        yield made


def change(shop: World, method: str, path: str, **headers: str):
    """Ask for a change that would work but for who asks."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers.setdefault("If-Match", "*")
    return shop.ask(path, method, json={"amount": 1}, headers=headers)


class TestAddresses:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
        ],
    )
    def test_these_are_reached_from_this_machine_alone(self, host):
        """
        No token is needed there.
        """
        assert is_loopback(host)
        assert Guard.of(host, None).token is None

    @pytest.mark.parametrize(
        "host",
        ["", "0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"],
    )
    def test_on_all_others_a_program_without_a_token_does_not_start(self, host):
        """
        It says what to do.
        """
        with pytest.raises(TokenMissingError, match="KINESIS_HTTP_TOKEN") as caught:
            Guard.of(host, "")

        assert caught.value.host == host
        assert isinstance(caught.value, PermissionError)

    def test_a_runtime_is_refused_before_anything_starts(self, monkeypatch):
        """
        With the environment's token it is not.
        """
        monkeypatch.delenv("KINESIS_HTTP_TOKEN", raising=False)
        with pytest.raises(TokenMissingError):
            Runtime("app", http={"host": "0.0.0.0", "port": 0})

        monkeypatch.setenv("KINESIS_HTTP_TOKEN", TOKEN)
        runtime = Runtime("app", http={"host": "0.0.0.0", "port": 0})

        assert runtime.http.app.guard.token == TOKEN.encode()
        assert TOKEN not in repr(runtime.http.app.guard)
        runtime.stop()

    def test_the_command_says_so_without_a_traceback(self, monkeypatch, tmp_path):
        """
        Exit code 1: it could not start.
        """
        from click.testing import CliRunner

        from kinesis.cli import cli

        monkeypatch.delenv("KINESIS_HTTP_TOKEN", raising=False)
        file = tmp_path / "app.yaml"
        file.write_text("name: app\ncomponents: []\nhttp: {host: 0.0.0.0, port: 0}\n")
        result = CliRunner().invoke(cli, ["run", str(file)])

        assert result.exit_code == 1
        assert "KINESIS_HTTP_TOKEN" in result.output
        assert "Traceback" not in result.output


class TestTokens:
    @pytest.mark.parametrize(("method", "path"), CHANGES)
    @pytest.mark.parametrize(
        "given",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer \xff",
        ],
    )
    def test_changes_need_it(self, public, method, path, given):
        """
        401 with how to give it; nothing has changed.
        """
        headers = {} if given is None else {"Authorization": given}
        response = change(public, method, path, **headers)

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.mimetype == "application/problem+json"
        assert public.stock.count == 0

    def test_who_has_it_may_change(self, public):
        """
        The scheme in any case.
        """
        for scheme in ("Bearer", "bearer"):
            response = change(
                public,
                "POST",
                f"{STOCK}/-/messages/Deposit",
                Authorization=f"{scheme} {TOKEN}",
            )

            assert response.status_code == 200

    def test_looking_is_free_but_for_stacks(self, public):
        """
        Stacks may show anything. A method that answers GET should only look.
        """
        for path in (STOCK, "/-/tree", "/-/ready", f"{STOCK}/report", "/-/metrics"):
            assert public.ask(path).status_code == 200
        assert public.ask("/-/threads").status_code == 401

        headers = {"Authorization": f"Bearer {TOKEN}"}

        assert public.ask("/-/threads", headers=headers).status_code == 200

    def test_a_public_route_is_for_all(self, public):
        """
        It checks by itself.
        """
        assert public.ask(f"{STOCK}/hook", "POST", data="x").text == "x"

    def test_a_token_on_loopback_counts_too(self):
        """
        Who sets one wants it asked for: a proxy may stand before.
        """
        with world(guard=Guard.of("127.0.0.1", TOKEN)) as shop:
            assert change(shop, "PATCH", STOCK).status_code == 401

    def test_another_token_takes_as_long_as_a_near_one(self, monkeypatch):
        """
        They are compared in constant time.
        """
        import hmac

        compared = []
        real = hmac.compare_digest
        monkeypatch.setattr(
            "hmac.compare_digest", lambda a, b: compared.append((a, b)) or real(a, b)
        )
        with world(guard=Guard.of("10.0.0.1", TOKEN)) as shop:
            change(shop, "PATCH", STOCK, Authorization="Bearer near")

        assert compared == [(b"near", TOKEN.encode())]


class TestPages:
    @pytest.mark.parametrize(("method", "path"), CHANGES)
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "http://localhost.evil.example"},
            {"Origin": "http://localhost:9999"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Host": "evil.example"},
            {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"},
            {"Host": "127.0.0.1.evil.example"},
        ],
    )
    def test_those_of_others_change_nothing(self, shop, method, path, headers):
        """
        403, for forms across sites as for rebound names.
        """
        response = change(shop, method, path, **headers)

        assert response.status_code == 403
        assert response.mimetype == "application/problem+json"
        assert shop.stock.count == 0
        assert STOCK in shop.runtime

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "http://localhost"},
            {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"},
            {"Host": "[::1]:8080", "Origin": "http://[::1]:8080"},
            {"Sec_Fetch_Site": "same-origin"},
            {"Sec_Fetch_Site": "none"},
        ],
    )
    def test_those_of_ours_may_and_programs_too(self, shop, headers):
        """
        No browser, or our own page.
        """
        response = change(shop, "PATCH", STOCK, **headers)

        assert response.status_code == 422  # "amount" is no field

    def test_methods_of_components_are_kept_from_foreign_pages_even_by_get(self, shop):
        """
        An image or a frame may have any address; but a link may lead to a report.
        """
        foreign = {"Sec-Fetch-Site": "cross-site"}
        link = {**foreign, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        for headers in (
            {**foreign, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
            {**foreign, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "document"},
            {**foreign, "Sec-Fetch-Mode": "navigate"},
            {**link, "Sec-Fetch-Dest": "iframe"},
            {**link, "Sec-Fetch-Dest": "object"},
            {**link, "Sec-Fetch-Dest": "embed"},
            {"Host": "evil.example"},
        ):
            assert shop.ask(f"{STOCK}/bump", headers=headers).status_code == 403

        assert shop.ask(f"{STOCK}/report", headers=link).status_code == 200
        assert shop.stock.count == 0

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/-/tree",
            "/-/routes",
            "/-/threads",
            "/-/openapi.json",
            "/-/events",
            STOCK,
            f"{STOCK}/-/messages",
            f"{STOCK}/report",
            "/app/shop/stok",
        ],
    )
    def test_rebound_names_see_nothing(self, shop, method, path):
        """
        A page of theirs may read what its own host answers.
        """
        response = shop.ask(path, method, headers={"Host": "evil.example:8080"})

        assert response.status_code == 403

    def test_probes_and_hooks_are_asked_by_any_name(self, shop):
        """
        That of a container, say, or of a tunnel.
        """
        odd = {"Host": "pod-17"}
        for path in ("/-/live", "/-/ready", "/-/metrics"):
            assert shop.ask(path, headers=odd).status_code == 200

        assert shop.ask(f"{STOCK}/hook", "POST", data="x", headers=odd).text == "x"
        assert shop.ask(f"{STOCK}/hook", "OPTIONS", headers=odd).status_code == 204

    def test_a_proxy_is_named(self):
        """
        Its name is ours then, as the host and as the origin.
        """
        guard = Guard.of("127.0.0.1", None, ["Shop.Example"])
        with world(guard=guard) as shop:
            for headers in (
                {"Host": "shop.example"},
                {"Host": "shop.example:443", "Origin": "https://shop.example"},
                {"Host": "localhost"},
            ):
                assert change(shop, "PATCH", STOCK, **headers).status_code == 422
            assert change(shop, "PATCH", STOCK, Host="other.example").status_code == 403

    def test_a_proxy_may_be_named_by_a_text(self):
        """
        One name, not one for each of its letters.
        """
        assert Guard.of("127.0.0.1", None, "Shop.Example").hosts == {"shop.example"}

    def test_no_answer_allows_other_origins(self, shop):
        """
        Nothing speaks of CORS: a browser keeps answers from foreign pages.
        """
        response = shop.ask(STOCK, headers={"Origin": "http://evil.example"})

        assert not [name for name, _ in response.headers if "Access-Control" in name]

    @given(st.text(max_size=20))
    def test_any_host_has_a_name(self, host):
        """
        Whatever a client sends.
        """
        assert ":" not in host_name(host) or host_name(host).startswith("[")


class TestPathsThatHide:
    @pytest.mark.parametrize(
        "path",
        [
            "/app/../app",
            "/app//shop",
            "/app/shop/stock/.",
            "/app%2fshop",
            "/app/%2e%2e/app",
            "/app/shop%00",
            "/app/shop%5cstock",
            "/app/%zz",
            "/-/%74hreads/",
            "/" + "x" * 5_000,
            "/-//threads",
        ],
    )
    def test_they_lead_nowhere(self, shop, path):
        """
        400, 404 or 414, never a surprise.
        """
        response = shop.client.open(path, environ_overrides={"REQUEST_URI": path})

        assert response.status_code in {400, 404, 414}

    def test_a_path_is_decoded_once(self, shop):
        """
        A percent sign that was encoded is one.
        """
        shop.app.add_route("/say/<text>", lambda request, text: text)

        assert shop.ask("/say/%2525").text == "%25"
        assert shop.ask("/say/%C3%A9").text == "é"


def test_secrets_are_nowhere_to_be_read(shop):
    """
    Not in the resource, the tree, the document, the numbers or the stacks.
    """
    shop.stock.pin = "correct-horse"
    paths = [
        STOCK,
        "/app/shop",
        "/-/tree",
        "/-/openapi.json",
        "/-/metrics",
        "/-/threads",
    ]

    for path in paths:
        response = shop.ask(path)

        assert response.status_code == 200
        assert b"correct-horse" not in response.data


def test_the_token_is_read_by_many_threads_at_once():
    """
    A guard has no state.
    """
    with world(guard=Guard.of("10.0.0.1", TOKEN)) as shop:
        statuses: list[int] = []

        def ask(token: str) -> None:
            for _ in range(50):
                client = Client(shop.app)
                response = client.post(
                    f"{STOCK}/-/messages/Deposit",
                    json={"amount": 1},
                    headers={"Authorization": f"Bearer {token}"},
                )
                statuses.append(response.status_code)

        threads = [
            threading.Thread(target=ask, args=(token,)) for token in (TOKEN, "no")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sorted(statuses) == [200] * 50 + [401] * 50
        assert shop.stock.count == 50


def test_a_state_with_a_type_of_another_shop_is_not_confused():
    """
    Two applications over two runtimes know nothing of one another.
    """
    with world() as one, Runtime("other", [Stock(name="stock")]):
        assert one.ask("/other/stock").status_code == 404
