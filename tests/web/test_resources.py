"""Components as resources: what a client sees, and may change."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import attrs
import pytest
from werkzeug import Request
from werkzeug.test import Client

from kinesis import Backoff, Component, Restart, Runtime, Stage, field
from kinesis.web.answers import Problem
from kinesis.web.application import Application
from kinesis.web.events import data_of
from kinesis.web.resources import Resource, is_removed
from tests.web.shop import PATIENCE, Deposit, Stock, Wait, World, world

STOCK = "/app/shop/stock"
JSON = "application/json"


@pytest.fixture
def shop() -> Iterator[World]:
    """The shop, running."""
    with world() as made:
        yield made


def problem_of(response) -> dict:
    """Return the problem document that a response is."""
    assert response.mimetype == "application/problem+json"
    found = response.json
    assert found["status"] == response.status_code
    return found


class TestLooking:
    def test_a_component_is_shown_with_its_stage_and_fields(self, shop):
        """
        In this order; a secret is masked.
        """
        response = shop.ask(STOCK)

        assert response.status_code == 200
        assert response.mimetype == JSON
        assert list(response.json.items()) == [
            ("name", "stock"),
            ("path", STOCK),
            ("type", "Stock"),
            ("stage", "STARTED"),
            ("state", "ACTIVE"),
            ("etag", response.headers["ETag"].strip('"')),
            ("count", 0),
            ("price", 1.5),
            ("label", None),
            ("parts", {}),
            ("rules", []),
            ("pin", "***"),
        ]

    def test_the_etag_is_that_of_the_state(self, shop):
        """
        It is what `update` takes, and changes with the content alone.
        """

        class Open(Component):
            count: int = field(default=0)

            def report(self, request: Request) -> str:
                return "a route, so it stays"

        ref = shop.runtime.add(Open(name="open"))
        before = shop.etag("/app/open")

        assert before == f'"{ref.snapshot().etag}"'
        assert shop.etag("/app/open") == before

        ref.update({"count": 1}, etag=before.strip('"'))

        assert shop.etag("/app/open") != before

    @pytest.mark.parametrize(
        "form", ["{}", "W/{}", '"x", {}', '"a,b" , W/{}', "*", ' "x",{} ']
    )
    def test_who_has_the_state_is_told_so(self, shop, form):
        """
        304, with the tag and no body.
        """
        etag = shop.etag()
        response = shop.ask(STOCK, headers={"If-None-Match": form.format(etag)})

        assert response.status_code == 304
        assert response.headers["ETag"] == etag
        assert response.data == b""

    def test_who_has_another_state_gets_this_one(self, shop):
        """
        Whatever else the header lists.
        """
        response = shop.ask(STOCK, headers={"If-None-Match": '"x", W/"y"'})

        assert response.status_code == 200

    @pytest.mark.parametrize("header", ["x", '"x" "y"', '"x",', '"'])
    def test_a_list_of_tags_that_is_none_is_refused(self, shop, header):
        """
        Rather than taken for a state that nobody has.
        """
        response = shop.ask(STOCK, headers={"If-None-Match": header})

        assert response.status_code == 400
        assert "entity tags" in problem_of(response)["detail"]

    def test_a_stage_that_changes_is_never_hidden_by_304(self, shop):
        """
        The representation shows the stage, so its tag knows it, both ways.
        """
        started = shop.etag()
        shop.runtime[STOCK].stop()
        seen = shop.ask(STOCK, headers={"If-None-Match": started})

        assert (seen.status_code, seen.json["stage"]) == (200, "STOPPED")

        stopped = seen.headers["ETag"]
        shop.runtime[STOCK].start()
        seen = shop.ask(STOCK, headers={"If-None-Match": stopped})

        assert (seen.status_code, seen.json["stage"]) == (200, "STARTED")
        assert seen.headers["ETag"] == started

    def test_head_is_get_without_the_body(self, shop):
        """
        With the same headers, the length too.
        """
        get, head = shop.ask(STOCK), shop.ask(STOCK, "HEAD")

        assert head.status_code == 200
        assert head.data == b""
        for name in ("ETag", "Content-Type", "Content-Length"):
            assert head.headers[name] == get.headers[name]

    def test_options_tells_the_methods(self, shop):
        """
        The root cannot be deleted.
        """
        response = shop.ask(STOCK, "OPTIONS")

        assert response.status_code == 204
        assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
        assert "DELETE" not in shop.ask("/app", "OPTIONS").headers["Allow"]

    def test_another_method_is_refused_with_those_that_there_are(self, shop):
        """
        405 with Allow.
        """
        response = shop.ask(STOCK, "POST")

        assert response.status_code == 405
        assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
        assert problem_of(response)["instance"] == STOCK

    def test_a_container_lists_what_is_in_it_with_links(self, shop):
        """
        In the order of activation.
        """
        assert shop.ask("/app/shop").json["children"] == [
            {"name": "stock", "href": STOCK, "type": "Stock", "stage": "STARTED"}
        ]
        href = shop.ask("/app").json["children"][0]["href"]
        assert shop.ask(href).json["sign"] == "open"

    def test_a_container_is_another_with_other_children(self, shop):
        """
        Its tag knows them, and yet the tag of its state is enough for a change.
        """
        before = shop.etag("/app/shop")
        shop.runtime["/app/shop"].add(Stock(name="second"))
        response = shop.ask("/app/shop", headers={"If-None-Match": before})

        assert response.status_code == 200
        assert [child["name"] for child in response.json["children"]] == [
            "stock",
            "second",
        ]

    def test_names_are_in_lower_case_in_paths(self, shop):
        """
        And matched so: a proxy that guards a path guards it in one form.
        """
        shop.runtime["/app/shop"].add(Stock(name="MixedCase"))

        assert shop.ask("/app/shop/mixedcase").json["name"] == "MixedCase"
        wrong = shop.ask("/app/shop/MixedCase")
        assert wrong.status_code == 404
        assert "lower case" in problem_of(wrong)["detail"]

        shop.runtime["/app/shop"].remove("MixedCase")

        assert shop.ask("/app/shop/mixedcase").status_code == 404

    def test_of_two_names_that_differ_in_case_the_first_is_reached(self, shop):
        """
        The other once that has gone.
        """
        container = shop.runtime["/app/shop"]
        for name in ("twin", "Twin", "TWIN"):
            container.add(Stock(name=name))

        assert shop.ask("/app/shop/twin").json["name"] == "twin"

        container.remove("Twin")
        container.remove("twin")

        assert shop.ask("/app/shop/twin").json["name"] == "TWIN"

        container.remove("TWIN")

        assert shop.ask("/app/shop/twin").status_code == 404

    def test_what_is_being_removed_is_gone_once_it_has_ended(self, shop):
        """
        Unlike what has finished by itself, it is shown no more.
        """
        cell = shop.runtime[STOCK]._cell
        child = cell.supervised_by.books.child_of(cell)
        shop.ask(STOCK, "DELETE")

        assert is_removed(cell)
        assert child.removing
        with pytest.raises(Problem, match="has been removed"):
            Resource(cell, {}).get()

    def test_what_is_not_there_is_told_with_what_is_near(self, shop):
        """
        404, with the nearest child or route.
        """
        detail = problem_of(shop.ask("/app/shop/stok"))["detail"]
        assert "Did you mean 'stock'?" in detail
        detail = problem_of(shop.ask(f"{STOCK}/reprot"))["detail"]
        assert "Did you mean 'report'?" in detail
        detail = problem_of(shop.ask("/ap"))["detail"]
        assert "Did you mean 'app'?" in detail

    def test_a_slash_too_much_is_led_to_the_right_place(self, shop):
        """
        By a redirect.
        """
        response = shop.ask(f"{STOCK}/")

        assert response.status_code == 308
        assert response.headers["Location"] == STOCK

    def test_the_first_look_while_a_handler_hangs_says_busy(self, shop, monkeypatch):
        """
        503 with Retry-After, in bounded time.
        """
        monkeypatch.setattr("kinesis.web.representation.LOOK_TIMEOUT", 0.05)
        shop.runtime[STOCK].post(Wait())
        assert shop.stock._entered.acquire(timeout=PATIENCE)
        response = shop.ask(STOCK)

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"


class TestTagsOfSecrets:
    def test_they_confirm_no_guess(self, shop):
        """
        Whoever knows all but the secret cannot compute the tag from a guess.
        """
        shown = shop.ask(STOCK)
        true = shop.runtime[STOCK].snapshot()

        assert true.etag not in shown.headers["ETag"]
        assert true.etag not in shown.text
        assert shown.json["etag"] == shown.headers["ETag"].strip('"')

    def test_neither_do_events_replies_and_routes(self, shop):
        """
        Snapshots have a tag wherever they are shown.
        """
        shop.app.add_route("/snap", lambda request: shop.runtime[STOCK].snapshot())
        shop.app.add_route("/in", lambda request: {"s": shop.runtime[STOCK].snapshot()})
        before = shop.runtime[STOCK].snapshot()
        tag = shop.etag().strip('"')

        assert shop.ask("/snap").json["etag"] == tag
        assert shop.ask("/in").json["s"]["etag"] == tag

        with shop.runtime[STOCK].subscribe() as changes:
            shop.runtime[STOCK].send(Deposit(1))
            told = json.loads(data_of(next(iter(changes))))

        assert before.etag != told["previous"]["etag"] == tag
        assert told["current"]["etag"] == shop.etag().strip('"')

    def test_they_are_the_same_for_the_same_state(self, shop):
        """
        And another one for another secret: a change of it is not overwritten.
        """
        first = shop.etag()
        shop.stock.pin = "1"
        shop.runtime[STOCK].send(Deposit(0))
        second = shop.etag()
        shop.stock.pin = "4711"
        shop.runtime[STOCK].send(Deposit(0))

        assert first == shop.etag() != second

    def test_a_process_has_its_own(self):
        """
        Without secrets the tag is the ETag of the state, in every process.
        """
        program = (
            "from kinesis import Component, Runtime, field\n"
            "from kinesis.web.tags import tag_of\n"
            "class Open(Component):\n"
            "    pin: str = field(default='4711')\n"
            "class Closed(Component):\n"
            "    pin: str = field(default='4711', secret=True)\n"
            "with Runtime('app', [Open(name='o'), Closed(name='c')]) as r:\n"
            "    print(tag_of(r['o'].snapshot()), tag_of(r['c'].snapshot()))\n"
        )
        said = [
            subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            ).stdout.split()
            for _ in range(2)
        ]

        assert said[0][0] == said[1][0]
        assert len({said[0][0], said[0][1], said[1][1]}) == 3

    def test_a_mismatch_while_the_change_is_on_its_way_tells_the_tag(
        self, shop, monkeypatch
    ):
        """
        Not the ETag that the state is known by inside.
        """
        deliver = Resource._deliver

        def changed_meanwhile(resource, message):
            with shop.stock.edit():
                shop.stock.count += 1
            return deliver(resource, message)

        etag = shop.etag()
        monkeypatch.setattr(Resource, "_deliver", changed_meanwhile)
        response = shop.ask(
            STOCK, "PATCH", json={"count": 7}, headers={"If-Match": etag}
        )

        assert response.status_code == 412
        assert shop.stock.count == 1
        assert response.headers["ETag"] == shop.etag()


class TestChanging:
    def patch(self, shop, values, etag=None, path=STOCK, **more):
        """Send a merge patch for the state of now, or another."""
        headers = {"If-Match": shop.etag(path) if etag is None else etag}
        return shop.ask(path, "PATCH", json=values, headers=headers, **more)

    def test_a_change_without_having_looked_is_refused(self, shop):
        """
        428, and nothing has changed.
        """
        for method in ("PUT", "PATCH"):
            response = shop.ask(STOCK, method, json={"count": 5})

            assert response.status_code == 428
            assert "If-Match" in problem_of(response)["detail"]
        assert shop.stock.count == 0

    def test_some_fields_are_set(self, shop):
        """
        200 with the new state and its tag.
        """
        response = self.patch(shop, {"count": 5, "label": "x"})

        assert response.status_code == 200
        assert (response.json["count"], response.json["label"]) == (5, "x")
        assert response.json["price"] == 1.5
        assert response.headers["ETag"] == shop.etag()

    @pytest.mark.parametrize("etag", ['"x"', "W/{}", '"x", "y"'])
    def test_who_has_seen_another_state_changes_nothing(self, shop, etag):
        """
        412 with the tag of now. A weak tag is none to change by.
        """
        response = self.patch(shop, {"count": 5}, etag.format(shop.etag()))

        assert response.status_code == 412
        assert response.headers["ETag"] == shop.etag()
        assert shop.stock.count == 0

    def test_any_state_will_do_if_the_client_says_so(self, shop):
        """
        If-Match: * is a change whatever there is.
        """
        assert self.patch(shop, {"count": 5}, "*").status_code == 200

    def test_a_change_in_between_is_noticed(self, shop, monkeypatch):
        """
        Also between the look at the tag and the change.
        """
        etag = shop.etag()
        from kinesis.web import resources

        real = resources.merged_fields

        def while_somebody_else_changes(*arguments):
            shop.runtime[STOCK].update({"count": 1})
            return real(*arguments)

        monkeypatch.setattr(resources, "merged_fields", while_somebody_else_changes)
        response = self.patch(shop, {"count": 5}, etag)

        assert response.status_code == 412
        assert shop.stock.count == 1

    def test_every_fault_is_named(self, shop):
        """
        422: of the type, unknown, private, a setting; nothing has changed.
        """
        response = self.patch(
            shop,
            {"count": "x", "cuont": 1, "_gate": 2, "restart": 3, "label": "y"},
        )

        assert response.status_code == 422
        faults = problem_of(response)["faults"]
        assert len(faults) == 4
        assert "count: expected int, found str 'x'" in faults
        assert any("Did you mean 'count'?" in fault for fault in faults)
        assert any("_gate: is private" in fault for fault in faults)
        assert any("restart: is a setting" in fault for fault in faults)
        assert shop.stock.label is None

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_numbers_that_are_none_are_refused(self, shop, number):
        """
        400 or 422, never kept and never null.
        """
        response = shop.ask(
            STOCK,
            "PATCH",
            data=f'{{"price": {number}}}',
            content_type=JSON,
            headers={"If-Match": shop.etag()},
        )

        assert response.status_code in {400, 422}
        assert shop.stock.price == 1.5

    def test_a_patch_is_merged_below_too(self, shop):
        """
        As RFC 7396 says: null takes a key out of a dict.
        """
        self.patch(shop, {"parts": {"a": 1, "b": 2}})
        response = self.patch(shop, {"parts": {"b": None, "c": 3}})

        assert response.json["parts"] == {"a": 1, "c": 3}

    def test_null_is_a_value_where_the_type_has_it(self, shop):
        """
        Else a fault: a field cannot be removed.
        """
        self.patch(shop, {"label": "x"})

        assert self.patch(shop, {"label": None}).json["label"] is None
        assert self.patch(shop, {"count": None}).status_code == 422

    def test_nested_values_are_checked_key_by_key(self, shop):
        """
        With the path of each fault.
        """
        response = self.patch(
            shop, {"rules": [{"above": 1}, {"above": "x", "txet": ""}]}
        )

        assert problem_of(response)["faults"] == [
            "rules[1].above: expected int, found str 'x'",
            "rules[1].txet: unknown. Did you mean 'text'? Known: above, text",
        ]

    def test_what_was_shown_may_be_sent_back(self, shop):
        """
        A PUT of a GET changes nothing, the masked secret neither.
        """
        shown = shop.ask(STOCK)
        response = shop.ask(
            STOCK, "PUT", json=shown.json, headers={"If-Match": shown.headers["ETag"]}
        )

        assert response.status_code == 200
        assert response.headers["ETag"] == shown.headers["ETag"]
        assert shop.stock.pin == "4711"

    def test_a_put_sets_all_fields(self, shop):
        """
        What is missing is named, with what else is wrong.
        """
        headers = {"If-Match": shop.etag()}
        response = shop.ask(STOCK, "PUT", json={"count": "x"}, headers=headers)
        faults = problem_of(response)["faults"]

        assert response.status_code == 422
        assert "count: expected int, found str 'x'" in faults
        assert any(fault.startswith("price: missing") for fault in faults)

    def test_a_secret_is_written_and_never_read(self, shop):
        """
        Not in the answer, not in a fault.
        """
        response = self.patch(shop, {"pin": "0815"})

        assert shop.stock.pin == "0815"
        assert b"0815" not in response.data
        assert b"4712" not in self.patch(shop, {"pin": [4712]}).data

    def test_a_mask_in_a_patch_leaves_the_secret(self, shop):
        """
        As what a form sends back that had been filled from a GET.
        """
        assert self.patch(shop, {"pin": "***", "count": 2}).status_code == 200
        assert (shop.stock.pin, shop.stock.count) == ("4711", 2)

    def test_a_put_without_the_secret_leaves_it(self, shop):
        """
        It is not demanded of who cannot read it; all else is.
        """
        shown = shop.ask(STOCK)
        values = {key: shown.json[key] for key in shown.json if key != "pin"}
        headers = {"If-Match": shown.headers["ETag"]}
        response = shop.ask(STOCK, "PUT", json=values, headers=headers)

        assert response.status_code == 200
        assert shop.stock.pin == "4711"

        del values["count"]
        faults = problem_of(shop.ask(STOCK, "PUT", json=values, headers=headers))

        assert faults["faults"] == ["count: missing (expected int)"]

    def test_a_masked_secret_stays_what_it_is_by_then(self, shop, monkeypatch):
        """
        Not what it was when the request was looked at: none is set at all.
        """
        deliver = Resource._deliver

        def rotated_meanwhile(resource, message):
            with shop.stock.edit():
                shop.stock.pin = "9999"
            return deliver(resource, message)

        monkeypatch.setattr(Resource, "_deliver", rotated_meanwhile)
        shown = shop.ask(STOCK).json
        response = shop.ask(STOCK, "PUT", json=shown, headers={"If-Match": "*"})

        assert response.status_code == 200
        assert shop.stock.pin == "9999"

    def test_a_put_sets_a_secret(self, shop):
        """
        Who may change a component may; nobody reads it.
        """
        shown = shop.ask(STOCK)
        response = shop.ask(
            STOCK,
            "PUT",
            json={**shown.json, "pin": "0815"},
            headers={"If-Match": shown.headers["ETag"]},
        )

        assert response.status_code == 200
        assert response.json["pin"] == "***"
        assert shop.stock.pin == "0815"

    def test_a_secret_that_is_sent_is_said_nowhere(self, shop, caplog):
        """
        Not in answers or events, nor in the log, whether it is taken or not.
        """
        caplog.set_level(logging.DEBUG)
        bodies = []
        for pin in ("correct-horse", ["correct-horse"], {"correct": "correct-horse"}):
            for method in ("PATCH", "PUT"):
                shown = shop.ask(STOCK)
                headers = {"If-Match": shown.headers["ETag"]}
                values = {**shown.json, "pin": pin}
                answer = shop.ask(STOCK, method, json=values, headers=headers)
                bodies += [answer.data, str(answer.headers).encode()]
        raw = b'{"pin": "correct-horse"'
        headers = {"If-Match": "*", "Content-Type": JSON}
        bodies.append(shop.ask(STOCK, "PATCH", data=raw, headers=headers).data)
        with shop.runtime[STOCK].subscribe() as changes:
            self.patch(shop, {"pin": "correct-horse"})
            self.patch(shop, {"pin": "wrong-horse"})
            bodies.append(data_of(next(iter(changes))).encode())
        self.patch(shop, {"pin": "correct-horse"})

        assert shop.stock.pin == "correct-horse"
        assert not any(b"horse" in body for body in bodies)
        assert "horse" not in caplog.text

    def test_read_only_keys_may_not_be_changed(self, shop):
        """
        The same value is no change.
        """
        assert self.patch(shop, {"name": "stock", "count": 1}).status_code == 200
        response = self.patch(shop, {"stage": "STOPPED"})

        assert response.status_code == 422
        assert any("stage: unknown" in f for f in problem_of(response)["faults"])

    @pytest.mark.parametrize("body", [[], 5, "x", None, True])
    def test_what_is_no_object_is_refused(self, shop, body):
        """
        422 for PUT and PATCH.
        """
        for method in ("PUT", "PATCH"):
            response = shop.ask(
                STOCK,
                method,
                data=json.dumps(body),
                content_type=JSON,
                headers={"If-Match": shop.etag()},
            )

            assert response.status_code == 422

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"{'a': 1}", b"\xff", b"[" * 100_000, b'{"a": 1} x']
    )
    def test_what_is_no_json_is_refused(self, shop, body):
        """
        400, however it is not.
        """
        response = shop.ask(
            STOCK,
            "PATCH",
            data=body,
            content_type=JSON,
            headers={"If-Match": shop.etag()},
        )

        assert response.status_code == 400

    @pytest.mark.parametrize(
        "kind", ["", "text/plain", "application/x-www-form-urlencoded"]
    )
    def test_a_body_must_say_that_it_is_json(self, shop, kind):
        """
        415: no form of a page can say so.
        """
        headers = {"If-Match": shop.etag()}
        response = shop.ask(
            STOCK, "PATCH", data=b'{"count": 5}', content_type=kind, headers=headers
        )

        assert response.status_code == 415
        assert JSON in response.headers["Accept"]
        assert shop.stock.count == 0

    def test_a_merge_patch_may_say_so(self, shop):
        """
        With its own media type, and parameters.
        """
        response = shop.ask(
            STOCK,
            "PATCH",
            data=b'{"count": 5}',
            content_type="application/merge-patch+json; charset=utf-8",
            headers={"If-Match": shop.etag()},
        )

        assert response.status_code == 200

    def test_the_state_of_a_container_is_changed_alike(self, shop):
        """
        With the tag of its representation, which knows its children.
        """
        response = self.patch(shop, {"sign": "closed"}, path="/app/shop")

        assert response.status_code == 200
        assert shop.runtime["/app/shop"].snapshot().sign == "closed"

    def test_one_that_is_stopped_is_not_changed(self, shop):
        """
        503: start it first.
        """
        shop.runtime[STOCK].stop()
        response = self.patch(shop, {"count": 5})

        assert response.status_code == 503
        assert "Start it first" in problem_of(response)["detail"]


class TestMessages:
    def send(self, shop, name, data, **more):
        """Send a message as JSON."""
        return shop.ask(f"{STOCK}/-/messages/{name}", "POST", json=data, **more)

    def test_the_answer_is_the_reply(self, shop):
        """
        As JSON, whatever the handler returned.
        """
        assert self.send(shop, "Deposit", {"amount": 5}).json == 5
        assert self.send(shop, "Deposit", {"amount": 2}).json == 7
        assert self.send(shop, "Ping", {}).json == {"pong": [1, None]}

    def test_every_fault_of_a_message_is_named(self, shop):
        """
        422, and the handler has not run.
        """
        response = self.send(shop, "Deposit", {"amount": "x", "no": 1})

        assert response.status_code == 422
        assert problem_of(response)["faults"] == [
            "amount: expected int, found str 'x'",
            "no: unknown. Did you mean 'note'? Known: amount, note",
        ]
        assert self.send(shop, "Deposit", {}).status_code == 422
        assert self.send(shop, "Deposit", [5]).status_code == 422
        assert self.send(shop, "Ping", {"x": 1}).status_code == 422
        assert shop.stock.count == 0

    def test_a_message_nobody_handles_is_not_found(self, shop):
        """
        404 with those that are.
        """
        response = self.send(shop, "Withdraw", {})

        assert response.status_code == 404
        assert "Deposit, Fail, Wait, Ping" in problem_of(response)["detail"]

    def test_the_messages_are_listed(self, shop):
        """
        Each with its link.
        """
        listed = shop.ask(f"{STOCK}/-/messages").json["messages"]

        assert {"name": "Deposit", "href": f"{STOCK}/-/messages/Deposit"} in listed

    def test_what_the_handler_raises_is_in_the_log_alone(self, shop, caplog):
        """
        500 with an id, by which the log has the reason.
        """
        with caplog.at_level(logging.ERROR, "kinesis"):
            response = self.send(shop, "Fail", {})
        found = problem_of(response)

        assert response.status_code == 500
        assert b"secret reason" not in response.data
        (record,) = [r for r in caplog.records if getattr(r, "error_id", None)]
        assert record.error_id == found["id"]
        assert record.path == STOCK
        assert "the secret reason" in record.exc_text or record.exc_info

    def test_no_answer_in_time_is_told(self, shop, monkeypatch):
        """
        504: it may still be handled.
        """
        monkeypatch.setattr("kinesis.web.resources.SEND_TIMEOUT", 0.05)
        response = self.send(shop, "Wait", {})

        assert response.status_code == 504

    def test_one_that_is_stopped_takes_none(self, shop):
        """
        503 with Retry-After.
        """
        shop.runtime[STOCK].stop()
        response = self.send(shop, "Deposit", {"amount": 1})

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"

    def test_a_get_of_a_message_is_refused(self, shop):
        """
        A message may change everything.
        """
        response = shop.ask(f"{STOCK}/-/messages/Ping")

        assert response.status_code == 405
        assert response.headers["Allow"] == "OPTIONS, POST"

    def test_a_message_whose_class_declares_nothing_needs_nothing(self, shop):
        """
        One that takes arguments says what to do about its class.
        """

        class Takes:
            def __init__(self, amount):
                self.amount = amount

        shop.stock.set_handler(Takes, lambda message: message.amount)
        response = self.send(shop, "Takes", {})

        assert response.status_code == 422
        assert "attrs.frozen" in problem_of(response)["faults"][0]
        assert problem_of(self.send(shop, "Ping", [1]))["faults"] == [
            "expected an object"
        ]

    def test_a_message_that_is_nested_without_end_is_refused(self, shop):
        """
        422, however deep.
        """

        @attrs.frozen
        class Deep:
            content: object

        shop.stock.set_handler(Deep, lambda message: 1)
        data: object = 1
        for _ in range(900):
            data = [data]

        assert self.send(shop, "Deep", {"content": data}).status_code in {200, 422}

    def test_before_it_has_begun_it_takes_none(self):
        """
        503: it comes up.
        """
        runtime = Runtime("app", [Stock(name="stock")])
        client = Client(Application(runtime.root._cell))

        assert client.get("/app/stock/-/messages").json["messages"] == []
        etag = client.get("/app/stock").headers["ETag"]
        changed = client.patch(
            "/app/stock", json={"count": 1}, headers={"If-Match": etag}
        )

        assert changed.status_code == 503
        runtime.stop()

    def test_a_reply_without_a_form_in_json_is_a_failure(self, shop):
        """
        500 with an id: the handler has run.
        """

        class Make:
            pass

        shop.stock.set_handler(Make, lambda _: object())
        response = self.send(shop, "Make", {})

        assert response.status_code == 500
        assert "id" in problem_of(response)


class TestSteering:
    def test_stop_start_and_restart(self, shop):
        """
        200 once it is done, with the stage it has led to.
        """
        ref = shop.runtime[STOCK]

        assert shop.ask(f"{STOCK}/-/stop", "POST").json["stage"] == "STOPPED"
        assert shop.ask(f"{STOCK}/-/start", "POST").json["stage"] == "STARTED"
        assert shop.ask(f"{STOCK}/-/restart", "POST").json["stage"] == "STARTED"
        assert ref.report().run == 3

    def test_a_removed_component_is_gone(self, shop):
        """
        204, then 404 for it and all below.
        """
        assert shop.ask(STOCK, "DELETE").status_code == 204
        for path in (STOCK, f"{STOCK}/report", f"{STOCK}/-/stop"):
            assert shop.ask(path).status_code == 404
        assert "stock" not in shop.runtime["/app/shop"]

    def test_a_removal_may_have_a_condition(self, shop):
        """
        412 leaves the component where it is.
        """
        response = shop.ask(STOCK, "DELETE", headers={"If-Match": '"x"'})

        assert response.status_code == 412
        assert STOCK in shop.runtime

        etag = {"If-Match": shop.etag()}

        assert shop.ask(STOCK, "DELETE", headers=etag).status_code == 204

    def test_the_root_cannot_be_steered(self, shop):
        """
        404 below it, 405 for a DELETE.
        """
        assert shop.ask("/app/-/stop", "POST").status_code == 404
        assert shop.ask("/app", "DELETE").status_code == 405

    def test_a_stop_that_takes_long_goes_on(self, shop, monkeypatch):
        """
        202: what was asked for is under way.
        """
        monkeypatch.setattr("kinesis.web.resources.STEER_TIMEOUT", 0.05)
        shop.runtime[STOCK].post(Wait())
        assert shop.stock._entered.acquire(timeout=PATIENCE)
        response = shop.ask(f"{STOCK}/-/stop", "POST")

        assert response.status_code == 202
        assert response.json["asked"] == "stop"

        shop.stock._gate.set()
        shop.runtime[STOCK].wait_stopped(PATIENCE)

    def test_a_restart_that_fails_says_so(self, shop):
        """
        503: it did not start.
        """

        class Moody(Component):
            restart = Restart(backoff=Backoff(first=0.01, factor=1.0))
            runs: int = field(default=0)

            def start(self) -> None:
                self.runs += 1
                if self.runs > 1:
                    raise ValueError("not again")
                self.stopping.wait()

        shop.runtime.add(Moody(name="moody"))
        response = shop.ask("/app/moody/-/restart", "POST")

        assert response.status_code == 503
        assert "did not start" in problem_of(response)["detail"]

    def test_a_server_does_not_stop_what_carries_it(self):
        """
        409: it would wait for its own end.
        """
        with Runtime("app", [Stock(name="stock")]) as runtime:
            carrier = runtime["stock"]._cell
            client = Client(Application(runtime.root._cell, carrier=carrier))

            assert client.delete("/app/stock").status_code == 409
            assert client.post("/app/stock/-/stop").status_code == 409
            assert runtime["stock"].stage is Stage.STARTED

    @pytest.mark.parametrize("word", ["start", "restart"])
    def test_what_is_in_a_stopped_container_is_not_started(self, shop, word):
        """
        409 at once: it comes up with the container.
        """
        shop.runtime["/app/shop"].stop()
        response = shop.ask(f"{STOCK}/-/{word}", "POST")

        assert response.status_code == 409
        assert "start that first" in problem_of(response)["detail"]


def test_many_clients_change_one_component_and_none_is_lost(shop):
    """
    Each looks, adds one, and tries again after 412: the sum is right.
    """
    clients, times = 4, 10

    def client() -> None:
        done = 0
        while done < times:
            seen = shop.ask(STOCK)
            response = shop.ask(
                STOCK,
                "PATCH",
                json={"count": seen.json["count"] + 1},
                headers={"If-Match": seen.headers["ETag"]},
            )
            assert response.status_code in {200, 412}, response.data
            done += response.status_code == 200

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert shop.stock.count == clients * times


def test_a_component_that_has_finished_is_still_shown(shop):
    """
    With its last state; it has no routes any more.
    """

    class Job(Component):
        result: int = field(default=0)

        def start(self) -> None:
            self.result = 42

    shop.runtime.add(Job(name="job"))
    shop.runtime["job"].wait_stopped(PATIENCE)
    shown = shop.ask("/app/job")

    assert shown.status_code == 200
    assert json.loads(shown.data)["result"] == 42

    headers = {"If-Match": shown.headers["ETag"]}
    changed = shop.ask("/app/job", "PATCH", json={"result": 1}, headers=headers)

    assert changed.status_code == 404
