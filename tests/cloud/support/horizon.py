"""Horizon's pages, as far as a user needs them to look after one server."""

from __future__ import annotations

from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.ui import WebDriverWait

URL = "http://127.0.0.1:8088"
SECONDS = 60  # patience for a page


class Horizon:
    """One user's session in a browser."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._wait = WebDriverWait(browser, SECONDS)
        self._panel = "project"

    def log_in(self, user: str, password: str) -> None:
        self._browser.get(f"{URL}/auth/login/")
        self._browser.find_element(By.NAME, "username").send_keys(user)
        self._browser.find_element(By.NAME, "password").send_keys(password)
        self._browser.find_element(By.ID, "loginBtn").click()
        self._wait.until(expect.url_contains("/project"))

    def use(self, project: str) -> None:
        """Go on as a member of another project, by its id."""
        self._browser.get(f"{URL}/auth/switch/{project}/?next=/project/instances/")

    # --- the table of servers ------------------------------------------------------------------
    def watch(self, panel: str) -> None:
        """Look at the servers of the user's ``project``, or as an ``admin`` at all of them."""
        self._panel = panel

    def list_servers(self) -> None:
        self._browser.get(f"{URL}/{self._panel}/instances/")

    def launch(self, name: str, image: str, flavor: str, network: str) -> str:
        """Launch a server and return its id; image, flavor and network are ids."""
        self.list_servers()
        self._click(By.ID, "instances__action_launch-ng")
        self._visible(By.CSS_SELECTOR, ".modal-content #name").send_keys(name)
        for step, choice in (("Source", image), ("Flavor", flavor), ("Networks", network)):
            self._click(By.XPATH, f"//*[contains(@class, 'modal-content')]//li//a[{_says(step)}]")
            self._allocate(choice)
        self._click(By.CSS_SELECTOR, ".modal-content button.finish")
        row = self._visible(By.CSS_SELECTOR, f"#instances tr[data-display='{name}']")
        return str(row.get_attribute("data-object-id"))

    def _allocate(self, choice: str) -> None:
        """Press the arrow of a row; one that points down says that the row is chosen already."""
        row = f"//tr[.//input[@id='{choice}']]"
        button = self._visible(By.XPATH, f"{row}//button[contains(@class, 'fa-arrow-')]")
        if "fa-arrow-up" in button.get_attribute("class"):
            button.click()
            self._visible(By.XPATH, f"{row}//button[contains(@class, 'fa-arrow-down')]")

    def act(self, server_id: str, action: str, confirm: bool = False) -> None:
        """Choose an action of a server's row, such as ``pause``."""
        self.list_servers()
        button = self._wait.until(expect.presence_of_element_located(
            (By.ID, f"instances__row_{server_id}__action_{action}")))  # fmt: skip
        # It may be inside a menu; that it opens is not what we look at.
        self._browser.execute_script("arguments[0].click()", button)
        if confirm:
            self._click(By.CSS_SELECTOR, ".modal-dialog .btn-danger")

    def resize(self, server_id: str, flavor: str) -> None:
        """Ask for another flavor, by its id, on the page that the row's action shows."""
        self._browser.get(f"{URL}/project/instances/{server_id}/resize")
        # The page shows a list of its own making in the place of this one.
        choice = self._wait.until(expect.presence_of_element_located((By.ID, "id_flavor")))
        self._browser.execute_script("arguments[0].value = arguments[1]", choice, flavor)
        self._click(By.CSS_SELECTOR, "form input[value=Resize]")

    def live_migrate(self, server_id: str) -> None:
        """Ask, as an administrator, for a live migration with its disks to whichever host."""
        self._browser.get(f"{URL}/admin/instances/{server_id}/live_migrate")
        for name, change in (("host", "value = 'AUTO_SCHEDULE'"),
                             ("block_migration", "checked = true")):  # fmt: skip
            field = self._wait.until(expect.presence_of_element_located((By.ID, f"id_{name}")))
            self._browser.execute_script(f"arguments[0].{change}", field)
        self._click(By.CSS_SELECTOR, "#live_migrate_form input[type=submit]")

    def migrate_host(self, host: str) -> None:
        """Ask, as an administrator, for live migrations of all servers of a disabled host."""
        self._browser.get(f"{URL}/admin/hypervisors/{host}/migrate_host")
        field = self._wait.until(
            expect.presence_of_element_located((By.ID, "id_block_migration"))
        )
        self._browser.execute_script("arguments[0].checked = true", field)
        self._click(By.CSS_SELECTOR, "form[action$=migrate_host] input[type=submit]")

    def wait_row(self, server_id: str, text: str) -> None:
        """Wait until the row, which the page itself renews, says this."""
        row = (By.ID, f"instances__row__{server_id}")
        self._wait.until(expect.text_to_be_present_in_element(row, text))

    def wait_no_row(self, server_id: str) -> None:
        row = (By.ID, f"instances__row__{server_id}")
        self._wait.until(expect.invisibility_of_element_located(row))

    # --- the page of a server ------------------------------------------------------------------
    def log_tab(self, server_id: str) -> str:
        """What the tab shows of the guest's console."""
        self._browser.get(f"{URL}/project/instances/{server_id}/?tab=instance_details__log")
        return str(self._visible(By.CSS_SELECTOR, "pre.logs").text)

    def console_tab(self, server_id: str) -> None:
        """Open the tab and go into its frame, which is a noVNC page."""
        self._browser.get(f"{URL}/project/instances/{server_id}/?tab=instance_details__console")
        frame = (By.ID, "console_embed")
        self._wait.until(expect.frame_to_be_available_and_switch_to_it(frame))

    def _visible(self, by: str, what: str) -> Any:
        return self._wait.until(expect.visibility_of_element_located((by, what)))

    def _click(self, by: str, what: str) -> None:
        self._wait.until(expect.element_to_be_clickable((by, what))).click()


def _says(text: str) -> str:
    return f"contains(normalize-space(.), '{text}')"
