"""Addresses that something is sent to and that have no page: what those are told who look at one.

A browser comes there by itself when somebody pressed a button, had to log in again, and is led on
to where they were going."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect

NOTHING_DONE = "Nothing was done: press it again."


def looked_at(request: HttpRequest, page: str) -> HttpResponse:
    """The answer to whatever is no POST: to the page that has the button."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["POST"])
    messages.warning(request, NOTHING_DONE)
    return redirect(page)
