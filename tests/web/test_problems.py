"""Problem documents."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.web.problems import document, problem, title_of


def test_a_problem_says_what_where_and_what_kind():
    """
    The members of RFC 9457 are there, and a media type of its own.
    """
    response = problem(404, "no 'dbb' here.", instance="/app/dbb", choices=["db"])

    expected = {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no 'dbb' here.",
        "instance": "/app/dbb",
        "choices": ["db"],
    }
    assert expected == json.loads(response.get_data())
    assert (
        response.status_code,
        response.mimetype,
    ) == (404, "application/problem+json")


def test_a_problem_may_have_a_title_and_a_page_of_its_own():
    """
    ``title`` and ``type`` replace what the status says.
    """
    content = json.loads(document(409, "no.", title="Taken", type="/problems/taken"))

    assert (content["title"], content["type"]) == ("Taken", "/problems/taken")


def test_without_an_instance_there_is_no_such_member():
    """
    What is not known is left out, not null.
    """
    assert "instance" not in json.loads(document(400, "garbage."))


def test_a_status_that_nobody_has_named_still_has_a_title():
    """
    Clients may rely on the member.
    """
    assert title_of(499) == "Unknown"


def test_a_member_that_json_cannot_hold_is_refused():
    """
    A mistake of the caller's is not sent to the client.
    """
    with pytest.raises(TypeError):
        document(400, "no.", culprit=object())


@given(st.sampled_from(list(HTTPStatus)), st.text(), st.text())
def test_whatever_is_said_can_be_read_back(status: HTTPStatus, detail: str, path: str):
    """
    Quotes, control characters and other alphabets survive.
    """
    content = json.loads(document(status, detail, instance=path))

    assert (status, detail, path) == (
        content["status"],
        content["detail"],
        content["instance"],
    )
