"""Every page there is, in light and dark, wide and on a phone: usable by anybody, without a
complaint of the browser or a request to somebody else."""

import pytest

from botadmin.tests import estate

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_is_without_barriers(browser, dark):
    found = []

    for address in estate.addresses(estate.build()):
        if not browser.is_page(address.path):
            continue  # a button posts there, it is a piece of a page, or there is none for this row
        browser.look(dark=dark)
        browser.visit(address.path)
        for phone in (False, True):
            browser.look(dark=dark, phone=phone)
            seen = f"{address.path} {'on a phone' if phone else 'in a wide window'}"
            # Each theme and each width once: what keeps people out hardly needs both. Stories about
            # a page look at it the other way round.
            if phone == dark:
                found += [f"{seen}: {barrier}" for barrier in browser.barriers()]
            if browser.overflow() > 0:
                found.append(f"{seen}: wider than the window by {browser.overflow()} pixels")

    assert not found, "\n".join(found)
