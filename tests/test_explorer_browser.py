"""The pages of the explorer in Chromium, from `file://`: no error, no foreign request, and every control works."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason='selenium drives the browser: pip install ".[browser]"')
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="Chromium and its chromedriver are not installed"),
]
WIDTHS = (1300, 420)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    import test_explorer_site as pages

    import deconv

    folder = tmp_path_factory.mktemp("browser") / "a site with spaces #1"
    images = pages.images_of(30), np.arange(30) % 3
    names = ("<b>zero</b>", "one's", '"two"')
    deconv.explore(pages.classifier(), images, folder, k=9, label_names=names, class_names=names, image_count=4)
    return folder


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1300,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield started
    started.quit()


class Pages:
    """A browser at a width, on the pages of a site."""

    def __init__(self, driver, site, width):
        self.driver, self.site, self.width = driver, site, width
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get("about:blank")
        for kind in ("browser", "performance"):
            driver.get_log(kind)

    def open(self, page, fragment=""):
        self.driver.get("about:blank")
        self.driver.get(self.site.joinpath(page).as_uri() + fragment)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)

    def choose(self, control, value):
        self.run(
            "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
            "one.dispatchEvent(new Event(one.type === 'range' ? 'input' : 'change', {bubbles: true}))",
            control,
            value,
        )

    def press(self, key):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def check(self):
        """No message on the console, no request outside of the folder, nothing wider than the window, alt texts."""
        assert self.driver.get_log("browser") == []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                assert url.startswith((self.site.as_uri(), "about:", "data:")), url
        assert self.run("return document.documentElement.scrollWidth") <= self.width
        assert self.run("return [...document.images].filter((one) => !one.alt).length") == 0
        assert self.run("return document.querySelectorAll('[role=img]:not([aria-label])').length") == 0
        assert self.run("return document.querySelectorAll('main b b, option b, h1 b').length") == 0

    def picture(self, name):
        """A picture of the whole page, where `DECONV_SCREENSHOTS` names a folder."""
        if folder := os.environ.get("DECONV_SCREENSHOTS"):
            import base64

            options = {"captureBeyondViewport": True, "format": "png"}
            taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
            Path(folder, f"{name}-{self.width}.png").write_bytes(base64.b64decode(taken["data"]))


@pytest.fixture(params=WIDTHS)
def pages(request, driver, site):
    return Pages(driver, site, request.param)


def wait_for(condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(None, 10, poll_frequency=0.05).until(lambda _: condition())


def test_the_overview_links_to_every_layer(pages):
    pages.open("index.html")
    assert pages.texts(".step.explored .name") == ["one", "two"]
    assert len(pages.texts(".strip .sprite")) == 9
    pages.picture("overview")
    pages.check()


def test_a_unit_and_a_class_are_found_by_search(pages):
    from selenium.webdriver.common.keys import Keys

    pages.open("index.html")
    pages.press("/")
    for key in "two 3":
        pages.press(key)
    assert pages.texts("#results a")[0] == "two 3"
    pages.press(Keys.ENTER)
    wait_for(lambda: pages.texts("#unit-title") == ["two, channel 3"])
    pages.run("document.getElementById('search').value = '<b>'; document.getElementById('search').focus()")
    wait_for(lambda: pages.texts("#results li"))
    assert all(text.startswith(("<b>zero</b>: ", "No unit")) for text in pages.texts("#results li"))
    pages.check()


def test_a_unit_is_opened_by_its_address_and_arrow_keys_go_to_its_neighbours(pages):
    from selenium.webdriver.common.keys import Keys

    pages.open("two.html", "#1")
    assert pages.texts("#unit-title") == ["two, channel 1"]
    pages.press(Keys.ARROW_RIGHT)
    wait_for(lambda: pages.texts("#unit-title") == ["two, channel 2"])
    pages.press(Keys.ARROW_LEFT)
    wait_for(lambda: pages.texts("#unit-title") == ["two, channel 1"])
    pages.picture("unit")
    pages.press(Keys.ESCAPE)
    wait_for(lambda: pages.run("return document.getElementById('unit-view').hidden"))
    pages.check()


def test_all_pictures_of_a_unit_are_loaded(pages):
    pages.open("two.html", "#0")
    count = pages.run(
        "window.scrollTo(0, 0); for (const one of document.images) one.loading = 'eager'; return document.images.length"
    )
    assert count > 9
    wait_for(lambda: pages.run("return [...document.images].every((one) => one.complete && one.naturalWidth > 0)"))
    pages.check()


def test_a_layer_is_sorted_and_filtered(pages):
    pages.open("one.html")
    data = pages.run("return explorerData.one")

    def order():
        return [int(text) for text in pages.texts("#grid .number")]

    assert order() == [0, 1, 2, 3, 4]
    for by in ("maximum", "mean", "sparsity", "selectivity", "inactive"):
        pages.choose("sort", by)
        assert order() == np.argsort(-np.array(data[by]), kind="stable").tolist()
    pages.choose("sort", "similar")
    assert order() == data["order"]
    wanted = max(data["preferred"])
    pages.choose("filter", str(wanted))
    assert order() == [channel for channel in data["order"] if data["preferred"][channel] == wanted]
    pages.picture("layer")
    pages.check()


def test_the_threshold_counts_the_images_that_exceed_it(pages):
    pages.open("one.html", "#2")
    bins = pages.run("return explorerData.one.units[2].bins")
    for number in (0, len(bins) // 2, len(bins) - 1):
        pages.choose("threshold", number)
        over = sum(count for _, count in bins[number:])
        assert f": {over} of 30 images" in pages.texts("#exceed")[0]
    pages.check()


def test_an_image_has_a_page_with_its_classes_and_channels(pages):
    pages.open("images.html")
    number = pages.run("return explorerData.images[0].id")
    assert len(pages.texts("#list .cell")) == 4
    pages.open("images.html", f"#{number}")
    assert pages.texts("h3") == ["one", "two"]
    pages.picture("image")
    pages.check()
