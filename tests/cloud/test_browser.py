"""noVNC in a real browser."""

import pytest

from tests.cloud.support.browser import wait_for_screen

pytestmark = [pytest.mark.cloud, pytest.mark.browser]


def test_the_console_page_shows_a_screen(api, server, browser):
    """The page behind ``console url show`` connects and draws the guest's screen."""
    url = api.cli("console", "url", "show", "--novnc", server["id"], parse=True)["url"]
    browser.get(url)
    wait_for_screen(browser)
