"""Waiting for what comes a moment later: on a machine that is busy with other things, two moments later."""

import time

from playwright.sync_api import expect


def wait_until(page, holds, seconds=30.0):
    """Wait until something holds that the page does not show; the browser's events are heard meanwhile."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(20)


def has_been_asked(page):
    """Wait until what the page asked of the server is there: it asks for something else, and has its answer.

    For what a page must not ask: at once, it would not be there yet.
    """
    page.evaluate("() => fetch('/live/counts').then(answer => answer.text())")


def live(page):
    """Wait until the page hears the server."""
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
