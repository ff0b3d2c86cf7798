"""A real browser without a window: Debian's Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cloud.support.devcloud import CloudError

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-dev-shm-usage", "--no-proxy-server", "--window-size=1400,1200")  # fmt: skip
# A screen with text has more than one colour.
COLOURS = """
    let c = document.querySelector('canvas');
    let pixels = new Uint32Array(
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
    return new Set(pixels).size > 1;
"""


@contextmanager
def headless(directory: Path) -> Iterator[Any]:
    """A Chromium driven by selenium.

    :param directory: for its profile
    :raises CloudError: there is no Chromium
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        raise CloudError("no Chromium: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={directory}/profile"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def wait_for_screen(browser: Any, seconds: float = 40) -> None:
    """Wait until the noVNC page in sight has drawn a guest's screen."""
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, seconds)
    wait.until(lambda page: page.execute_script(
        "let c = document.querySelector('canvas'); return c && c.width > 300"))  # fmt: skip
    status = browser.execute_script("return document.getElementById('status').textContent")
    assert "Connected" in status
    wait.until(lambda page: page.execute_script(COLOURS))
