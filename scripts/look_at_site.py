"""Open every page of the built site in headless Chromium, on a desktop and a phone.

It prints what is wrong: a page wider than the screen, an error in the browser's console, a file
that is missing or loaded from another host. With --pictures, it saves a picture of every page.

    mkdocs build && python scripts/look_at_site.py --pictures /tmp/pictures
"""

import argparse
import base64
import contextlib
import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WIDTHS = {"desktop": 1280, "phone": 390}
HEIGHT = 900
FOLDER = Path(__file__).resolve().parents[1] / "site"


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, and yield its address."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Yield a headless Chromium that looks up no other host."""
    os.environ["SE_OFFLINE"] = "true"  # Selenium downloads nothing
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def set_width(driver: webdriver.Chrome, device: str) -> None:
    """Give the window the size of a device's screen."""
    metrics = {"width": WIDTHS[device], "height": HEIGHT, "deviceScaleFactor": 1}
    metrics["mobile"] = device == "phone"
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def problems(driver: webdriver.Chrome, address: str) -> list[str]:
    """Return what is wrong with the page that the browser shows.

    Args:
        driver: the browser.
        address: of the site, with which all that the page loads must begin.

    Returns:
        A line for each problem.
    """
    found = []
    screen, page = driver.execute_script(
        "const e = document.documentElement; return [e.clientWidth, e.scrollWidth]"
    )
    if page > screen:
        found.append(f"{page} pixels wide on a screen of {screen}")
    loaded = driver.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    found += [f"loads {one}" for one in loaded if not one.startswith((address, "data:"))]
    found += [entry["message"] for entry in driver.get_log("browser")]
    return found


def save_picture(driver: webdriver.Chrome, file: Path, height: int = 4000) -> None:
    """Save the shown page as a PNG file, down to a height in pixels."""
    width, whole = driver.execute_script(
        "return [window.innerWidth, document.documentElement.scrollHeight]"
    )
    clip = {"x": 0, "y": 0, "width": width, "height": min(whole, height), "scale": 1}
    picture = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
    )
    file.write_bytes(base64.b64decode(picture["data"]))


def look(
    folder: Path, pages: list[str], pictures: Path | None = None
) -> Iterator[tuple[str, str, str]]:
    """Open pages of the site at both widths.

    Args:
        folder: of the built site.
        pages: their paths in it.
        pictures: folder for a picture of each.

    Yields:
        Path, device and problem.
    """
    for device in WIDTHS:
        with served(folder) as address, browser() as driver:
            set_width(driver, device)
            for page in pages:
                driver.get(address + page)
                for problem in problems(driver, address):
                    yield page, device, problem
                if pictures is not None:
                    name = page.removesuffix("index.html").strip("/").replace("/", "_") or "index"
                    save_picture(driver, pictures / f"{name}-{device}.png")


def all_pages(folder: Path) -> list[str]:
    """Return the paths of all pages of a built site."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*.html"))


def main() -> None:
    """Look at the pages that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=FOLDER, help="folder of the built site")
    parser.add_argument("--pages", nargs="+", help="paths in it; without, all")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the pages")
    arguments = parser.parse_args()
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    pages = arguments.pages or all_pages(arguments.site)
    found = 0
    for page, device, problem in look(arguments.site, pages, arguments.pictures):
        found += 1
        print(f"{page} ({device}): {problem}", flush=True)
    print(f"{len(pages)} pages, {found} problems")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
