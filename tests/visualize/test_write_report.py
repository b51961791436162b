"""Reports, read as files and opened in a browser without a window."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from keras_ssl.visualize import write_report

COUNT = 24
ANGLES = np.linspace(0, 6, COUNT, endpoint=False)
# on a circle, so that neighbors by cosine similarity lie side by side
FEATURES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
LABELS = np.arange(COUNT) % 3 - 1
EVIL = "<script>document.title = 'evil'</script>&amp;{{data}}"
NAMES = [f"{EVIL}/{number}.png" for number in range(COUNT)]
CLASSES = ["cat", f"</script>{EVIL}"]
HISTORY = {
    "loss": [4.0, 3.0, float("nan"), 2.5],
    "val_loss": [4.5, 3.5, 3.25, 3.0],
    "probe_accuracy": [0.25, 0.5, 0.625, 0.75],
    EVIL: [1.0, 2.0, 3.0, 4.0],
}
TABLES = {
    "Evaluation": {
        "encoder": {"k-NN": np.float32(0.81234), "dimensions": 64},
        EVIL: {"k-NN": 0.5},
    },
    EVIL: {"learning rate": 0.1, "data": EVIL, "sizes": (3, 4), EVIL: None, "seed": 7},
}


def color_of(number):
    return np.array([10 * number, 255 - 10 * number, 128])


IMAGES = np.stack([np.broadcast_to(color_of(n), (16, 12, 3)) for n in range(COUNT)])


def full_report(folder, **changes):
    arguments = {
        "title": EVIL,
        "history": HISTORY,
        "tables": TABLES,
        "features": FEATURES,
        "images": IMAGES,
        "labels": LABELS,
        "class_names": CLASSES,
        "names": NAMES,
        "neighbors": 4,
    }
    return write_report(folder / "report.html", **{**arguments, **changes})


def data_of(path):
    """What the page gives to its script."""
    (text,) = re.findall(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"))
    return json.loads(text)


def sheet_of(path):
    """All thumbnails as one array."""
    (encoded,) = re.findall(r'src="data:image/jpeg;base64,(.*?)"', path.read_text())
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def test_curves_are_those_of_the_history(tmp_path):
    path = write_report(tmp_path / "new" / "report.html", history=[HISTORY, {"loss": [2.0]}])
    loss, accuracy, other = data_of(path)["panels"]
    assert [one["name"] for one in loss["curves"]] == ["loss", "val loss"]
    assert loss["curves"][0]["y"] == [4, 3, None, 2.5, 2]  # JSON has no NaN
    assert loss["curves"][0]["x"] == [1, 2, 3, 4, 5]
    assert [one["dashed"] for one in loss["curves"]] == [False, True]
    assert loss["curves"][0]["color"] == loss["curves"][1]["color"]
    assert accuracy["unit"] == "%" and accuracy["curves"][0]["y"] == [25, 50, 62.5, 75]
    assert other["curves"][0]["name"] == EVIL
    assert data_of(path)["map"] is None


def test_points_and_neighbors(tmp_path):
    points = data_of(full_report(tmp_path))["map"]
    rows = np.array(points["rows"])
    assert sorted(rows) == list(range(COUNT)) and points["note"] == "24 examples."
    assert points["labels"] == LABELS[rows].tolist()
    assert points["names"] == [NAMES[row] for row in rows]
    # as far apart on the map as in the data
    places = np.stack([points["x"], points["y"]], axis=1)
    scale = np.ptp(FEATURES, axis=0).max()
    distances = np.linalg.norm(places - places[0], axis=1) * scale
    expected = np.linalg.norm(FEATURES[rows] - FEATURES[rows[0]], axis=1)
    np.testing.assert_allclose(distances, expected, atol=2e-3)
    assert places.min() >= 0 and places.max() <= 1
    search = NearestNeighbors(n_neighbors=5, metric="cosine").fit(FEATURES[rows])
    distances, found = search.kneighbors()
    assert [set(one) for one in points["neighbors"]] == [set(one[:4]) for one in found]
    np.testing.assert_allclose(points["similarity"], 1 - distances[:, :4], atol=1e-3)


def test_thumbnails_are_the_images(tmp_path):
    path = full_report(tmp_path)
    points, sheet = data_of(path)["map"], sheet_of(path)
    sprite = points["sprite"]
    assert (sprite["width"], sprite["height"]) == (12, 16)
    for place, row in enumerate(points["rows"]):
        left = place % sprite["columns"] * sprite["cell"][0]
        top = place // sprite["columns"] * sprite["cell"][1]
        cell = sheet[top : top + 16, left : left + 12].astype(int)
        assert np.abs(cell - color_of(row)).max() <= 5


def test_many_examples_are_bounded(tmp_path):
    rng = np.random.default_rng(0)
    asked = []

    def images(rows):
        asked.extend(rows)
        return rng.uniform(-1, 1, (len(rows), 100, 200, 1))

    path = write_report(
        tmp_path / "report.html",
        history={"loss": np.arange(2500.0)},
        features=rng.normal(size=(1000, 2)),
        images=images,
        max_points=150,
        value_range=(-1, 1),
    )
    data = data_of(path)
    assert data["map"]["note"] == "150 of 1,000 examples."
    assert asked == data["map"]["rows"] and len(set(asked)) == 150
    assert data["map"]["labels"] is data["map"]["names"] is None
    assert (data["map"]["sprite"]["width"], data["map"]["sprite"]["height"]) == (64, 32)
    assert sheet_of(path).ndim == 2
    (curve,) = data["panels"][0]["curves"]
    assert len(curve["y"]) <= 1000 and curve["y"][-1] == 2499 and curve["x"][-1] == 2500
    assert path.stat().st_size < 500_000


def test_labels_as_strings_and_without_names(tmp_path):
    texts = np.array(["b", "a"] * 12)
    points = data_of(full_report(tmp_path, labels=texts, class_names=None))["map"]
    assert points["classes"] == ["a", "b"]
    points = data_of(full_report(tmp_path, class_names=None))["map"]
    assert points["classes"] == ["0", "1"]
    large = np.where(LABELS == 1, 10**9, LABELS)
    points = data_of(full_report(tmp_path, labels=large, class_names=None))["map"]
    assert points["classes"] == ["0", "1000000000"]
    assert points["labels"] == LABELS[points["rows"]].tolist()
    points = data_of(full_report(tmp_path, neighbors=100))["map"]
    assert len(points["neighbors"][0]) == COUNT - 1


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, ValueError, "there is nothing to report"),
        ({"history": {"loss": []}}, ValueError, "`history` is empty"),
        ({"history": 3}, TypeError, "`history` must be what `fit` returns"),
        ({"tables": {"a": 3}}, TypeError, "`tables` must be a dictionary of tables by title"),
        ({"tables": {"a": {}}, "images": IMAGES}, ValueError, "needs `features`"),
        ({"tables": {"a": {}}, "names": NAMES}, ValueError, "needs `features`"),
        ({"features": FEATURES[:3]}, ValueError, "at least 4 rows"),
        ({"features": FEATURES * np.nan}, ValueError, "`features` must be finite"),
        ({"features": FEATURES, "images": IMAGES[:5]}, ValueError, "one image per row.*24"),
        ({"features": FEATURES, "images": IMAGES[..., 0]}, ValueError, "`images` must have shape"),
        ({"features": FEATURES, "labels": LABELS[:5]}, ValueError, "`labels` must be"),
        ({"features": FEATURES, "names": NAMES[:5]}, ValueError, "`names` must hold one name"),
        ({"features": FEATURES, "projection": 2}, TypeError, "`projection` must be an object"),
        ({"features": FEATURES, "neighbors": -1}, ValueError, "`neighbors` must be"),
        ({"features": FEATURES, "max_points": 1}, ValueError, "`max_points` must be"),
        (
            {"features": FEATURES, "images": IMAGES, "value_range": (1, 0)},
            ValueError,
            "`value_range` must be",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_arguments(tmp_path, arguments, error, match):
    with pytest.raises(error, match=match):
        write_report(tmp_path / "report.html", **arguments)
    assert not (tmp_path / "report.html").exists()


# ---- in a browser ----


def find(*names):
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = find("chromium", "chromium-browser", "google-chrome")
    chromedriver = find("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


class Page:
    """A report in a browser."""

    def __init__(self, driver, path, width=1200):
        self.driver = driver
        self.points = data_of(path)["map"]
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        driver.get_log("performance"), driver.get_log("browser")  # those of other pages
        driver.get(path.as_uri())
        # pictures are decoded before the map is drawn
        self.script(
            "const done = arguments[0];"
            "(function wait() { at('features').hidden ? setTimeout(wait, 20) : done(); })();",
            "async_",
        )

    def script(self, code, kind="", *arguments):
        return getattr(self.driver, f"execute_{kind}script")(code, *arguments)

    def find(self, selector):
        return self.driver.find_elements("css selector", selector)

    def move_to(self, place, click=False):
        """Move the pointer to a point of the map."""
        from selenium.webdriver.common.action_chains import ActionChains

        (canvas,) = self.find("#map")
        self.script("arguments[0].scrollIntoView({block: 'center'})", "", canvas)
        size = canvas.size["width"]
        x = 14 + self.points["x"][place] * (size - 28) - size / 2
        y = size / 2 - 14 - self.points["y"][place] * (size - 28)
        move = ActionChains(self.driver).move_to_element_with_offset(canvas, round(x), round(y))
        (move.click() if click else move).perform()

    def press(self, selector, *keys):
        (element,) = self.find(selector)
        self.script("arguments[0].focus()", "", element)
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def color(self, selector):
        """The color in the middle of a picture."""
        code = (
            "const c = document.querySelector(arguments[0]);"
            "return [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data]"
        )
        return np.array(self.script(code, "", selector)[:3])

    def caption(self, place):
        """The name and the class of a point."""
        label = self.points["labels"][place]
        return self.points["names"][place], CLASSES[label] if label >= 0 else "no label"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return full_report(tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser, report):
    return Page(browser, report)


def test_opens_without_errors_and_loads_nothing(page, report):
    assert page.driver.get_log("browser") == []
    messages = [json.loads(one["message"])["message"] for one in page.driver.get_log("performance")]
    requests = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    # the browser's first, empty page loads parts of its own
    asked = [one["request"]["url"] for one in requests if one["documentURL"] == report.as_uri()]
    assert report.as_uri() in asked
    assert [url for url in asked if url != report.as_uri() and not url.startswith("data:")] == []
    assert len(page.find("#panels svg")) == 3 and len(page.find("table")) == 2


def test_strings_stay_text(page):
    assert page.driver.title == EVIL
    assert page.script("return document.scripts.length") == 2
    assert page.find("h1")[0].text == EVIL
    assert [one.text for one in page.find("#tables h3")] == ["Evaluation", EVIL]
    cells = [
        [one.text for one in row.find_elements("css selector", "th, td")]
        for row in page.find("#tables tr")
    ]
    assert cells == [
        ["", "k-NN", "dimensions"],
        ["encoder", "0.8123", "64"],
        [EVIL, "0.5", ""],
        ["learning rate", "0.1"],
        ["data", EVIL],
        ["sizes", "3, 4"],
        [EVIL, "None"],
        ["seed", "7"],
    ]
    assert [one.text for one in page.find("#classes button")] == ["no label", *CLASSES]
    assert [one.text.splitlines()[0] for one in page.find(".key li")][-1] == EVIL


def test_hovering_shows_the_picture(page):
    (tip,) = page.find("#tip")
    assert not tip.is_displayed()
    for place in (0, 7):
        page.move_to(place)
        assert tip.is_displayed()
        assert np.abs(page.color("#tip canvas") - color_of(page.points["rows"][place])).max() <= 5
        name, label = page.caption(place)
        assert tip.text.splitlines() == [label, name]
    box, plot = tip.rect, page.find("#plot")[0].rect
    assert plot["x"] <= box["x"] and box["x"] + box["width"] <= plot["x"] + plot["width"]


def test_clicking_shows_the_neighbors(page):
    page.move_to(5, click=True)
    assert page.find("#chosen")[0].text.splitlines() == list(page.caption(5))
    neighbors = page.points["neighbors"][5]
    found = page.find("#near button")
    assert [one.get_attribute("title") for one in found] == [
        ", ".join(page.caption(place)) for place in neighbors
    ]
    for button, place, similarity in zip(
        found, neighbors, page.points["similarity"][5], strict=True
    ):
        mine, other = page.points["labels"][5], page.points["labels"][place]
        kind = ("same" if mine == other else "other") if min(mine, other) >= 0 else ""
        assert button.get_attribute("class") == kind
        assert button.text.splitlines() == [page.caption(place)[1], f"{similarity:.2f}"]
    expected = color_of(page.points["rows"][neighbors[0]])
    assert np.abs(page.color("#near canvas") - expected).max() <= 5
    found[0].click()  # which is chosen then
    assert page.find("#chosen")[0].text.splitlines() == list(page.caption(neighbors[0]))


def test_classes_can_be_hidden(page):
    hidden = LABELS[page.points["rows"][0]] + 1
    page.find("#classes button")[hidden].click()
    page.move_to(0)
    (tip,) = page.find("#tip")
    assert not tip.is_displayed() or tip.text.splitlines()[1] != page.caption(0)[0]


def test_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    page.press("#map", Keys.ARROW_RIGHT)
    (first,) = {page.find("#tip")[0].text}
    page.press("#map", Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ENTER)
    chosen = page.find("#chosen")[0].text.splitlines()
    assert chosen == page.find("#tip")[0].text.splitlines()[::-1]
    assert chosen[0] in NAMES and "\n".join(chosen[::-1]) != first
    assert len(page.find("#near button")) == 4
    page.press("#panels figure:first-child svg", Keys.ARROW_LEFT)
    assert page.find("#panels figure")[0].text.splitlines() == [
        *("loss", "epoch 3"),
        *page.find("#panels svg")[0].text.splitlines(),
        *("loss", "not finite", "val loss", "3.25"),
    ]


def test_hovering_a_curve_shows_its_values(page):
    from selenium.webdriver.common.action_chains import ActionChains

    svg = page.find("#panels svg")[1]
    # the axis begins at 46 of the 360 units of the width
    left = (46 - 180 + 2) / 360 * svg.rect["width"]
    ActionChains(page.driver).move_to_element_with_offset(svg, round(left), 0).perform()
    values = [one.text for one in page.find("#panels figure:nth-child(2) .key span")]
    assert values == ["25"]
    assert page.find("#panels figure:nth-child(2) figcaption span")[0].text == "epoch 1"


@pytest.mark.parametrize("width", [390, 1200])
def test_no_horizontal_scroll(browser, report, width):
    page = Page(browser, report, width)
    page.move_to(0, click=True)
    wide, inner = page.script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= inner == width
    (side,), (plot,) = page.find("#side"), page.find("#plot")
    assert (side.rect["y"] > plot.rect["y"]) == (width < 760)


def test_dark_colors(page):
    def background(scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        color = page.script("return getComputedStyle(document.body).backgroundColor")
        return np.mean([int(part) for part in re.findall(r"\d+", color)])

    assert background("dark") < 64 and background("light") > 192
