"""noVNC in a real browser."""

import shutil

import pytest

pytestmark = [pytest.mark.cloud, pytest.mark.browser]

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-dev-shm-usage", "--no-proxy-server")  # fmt: skip


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = (
        shutil.which("chromium") or "chromium is missing: apt install chromium"
    )
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def test_the_console_page_shows_a_screen(api, server, browser):
    """The page behind ``console url show`` connects and draws the guest's screen."""
    from selenium.webdriver.support.ui import WebDriverWait

    url = api.cli("console", "url", "show", "--novnc", server["id"], parse=True)["url"]
    browser.get(url)
    wait = WebDriverWait(browser, 40)
    wait.until(lambda page: page.execute_script(
        "let c = document.querySelector('canvas'); return c && c.width > 300"))  # fmt: skip
    status = browser.execute_script("return document.getElementById('status').textContent")
    assert "Connected" in status
    # A screen with text has more than one colour.
    colours = wait.until(
        lambda page: page.execute_script("""
        let c = document.querySelector('canvas');
        let pixels = new Uint32Array(
            c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
        return new Set(pixels).size > 1;
    """)
    )
    assert colours
