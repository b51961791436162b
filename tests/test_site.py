"""The site: every public name is there, no link is broken, and nothing comes from elsewhere."""

import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

import keras_ssl

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
REFERENCE = ROOT / "docs" / "api"
TYPICAL = [
    "index.html",
    "evaluation/index.html",
    "methods/dino/index.html",
    "api/visualize/index.html",
]

needs_trainers = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)


def modules(package):
    """What users import: the modules that a package exports, and those that these export."""
    for name in package.__all__:
        if inspect.ismodule(module := getattr(package, name)):
            yield module
            yield from modules(module)


def hook(name):
    pytest.importorskip("math_core", reason="the extra `docs` is not installed")
    return runpy.run_path(str(SCRIPTS / f"site_{name}.py"))["on_page_content"]


class Page:
    """Stands for a page of MkDocs."""

    class file:  # noqa: N801
        src_uri = "methods/any.md"


@needs_trainers
def test_every_public_module_has_a_page_of_the_reference():
    for module in modules(keras_ssl):
        page = REFERENCE / f"{module.__name__.removeprefix('keras_ssl.')}.md"
        assert page.read_text() == f"::: {module.__name__}\n"


def test_equations_become_mathml():
    marked = r'<p>If <span class="arithmatex">\(a &lt; \tau\)</span>, then</p>'
    content = hook("equations")(marked, Page)
    assert re.search(r"<math>.*<mi>a</mi><mo>&lt;</mo><mi>τ</mi>.*</math>", content)
    assert "arithmatex" not in content


def test_a_wrong_equation_is_an_error_that_names_the_page():
    marked = r'<div class="arithmatex">\[\frac{1}{\]</div>'
    with pytest.raises(ValueError, match=r"methods/any\.md"):
        hook("equations")(marked, Page)


def test_diagrams_become_svg_from_top_to_bottom():
    marked = '<div class="mermaid">flowchart LR\n  x[data x] --&gt; f["f(x)"]</div>'
    content = hook("diagrams")(marked, Page)
    heights = {
        text: float(y) for y, text in re.findall(r'<text [^>]*y="([^"]+)"[^>]*>([^<]+)', content)
    }
    assert heights["data x"] < heights["f(x)"]
    assert "mermaid" not in content


def test_a_wrong_diagram_is_an_error_that_names_the_page():
    with pytest.raises(ValueError, match=r"methods/any\.md"):
        hook("diagrams")('<div class="mermaid">flowchart LR\n  x[--&gt;</div>', Page)


def test_names_become_links_but_not_in_links_headings_and_code():
    fixed = "<a><code>losses.DCL</code></a><h2><code>losses.DCL</code></h2>"
    assert hook("names")(fixed) == fixed
    text = "<code>losses.DCL</code> of <code>my_losses.DCL</code> and <code>keras.Model</code>"
    assert hook("names")(text).count("<autoref") == 1


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr
    return folder


def missing_names(site):
    for module in modules(keras_ssl):
        name = module.__name__.removeprefix("keras_ssl.")
        page = (site / "api" / name / "index.html").read_text()
        for member in module.__all__:
            if not inspect.ismodule(getattr(module, member)):
                anchor = f"{module.__name__}.{member}"
                if f'id="{anchor}"' not in page:
                    yield anchor
    pages = "".join(page.read_text() for page in (site / "api").rglob("*.html"))
    for name in keras_ssl.__all__:
        if inspect.isroutine(getattr(keras_ssl, name)) and f'.{name}"' not in pages:
            yield name


def broken_links(pages):
    anchors = {file: set(re.findall(r'\sid="([^"]+)"', text)) for file, text in pages.items()}
    for file, text in pages.items():
        for link in set(re.findall(r'<a\s[^>]*?href="([^"]*)"', text)):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link) or file.name == "404.html":
                continue
            target = (file.parent / path).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (anchor and anchor not in anchors[target]):
                yield f"{file}: {link}"


def loaded_from_elsewhere(site, pages):
    loading = r'<(?:script|img|link|source|iframe)\s[^>]*?(?:src|href)="((?:https?:)?//[^"]*)"'
    for file, text in pages.items():
        yield from (f"{file}: {address}" for address in re.findall(loading, text))
        if re.search(r'class="(mermaid|arithmatex)"', text):
            yield f"{file}: not drawn"
    in_style = re.compile(r"(?:url\(|@import )[\"']?((?:https?:)?//[^)\"']*)")
    for file in site.rglob("*.css"):
        yield from (f"{file}: {address}" for address in in_style.findall(file.read_text()))


@needs_trainers
@pytest.mark.slow
def test_the_built_site(site):
    pages = {file: file.read_text() for file in site.rglob("*.html")}
    assert list(missing_names(site)) == []
    assert list(broken_links(pages)) == []
    assert list(loaded_from_elsewhere(site, pages)) == []
    browser_finds_nothing(site, TYPICAL)


def browser_finds_nothing(site, pages):
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("not opened in a browser: chromium or chromedriver is not installed")
    looking = runpy.run_path(str(SCRIPTS / "look_at_site.py"))
    assert list(looking["look"](site, pages)) == []
    assert "api/losses/" in found_by_search(looking, site, "SupConLoss")


def found_by_search(looking, site, words):
    with looking["served"](site) as address, looking["browser"]() as driver:
        driver.get(f"{address}index.html")
        driver.execute_script("document.querySelector('[name=query]').focus()")
        driver.find_element("name", "query").send_keys(words)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            links = driver.find_elements("css selector", "a.md-search-result__link")
            if found := " ".join(link.get_attribute("href") for link in links):
                return found
            time.sleep(0.2)
        return ""


@pytest.mark.full
def test_all_pages_in_a_browser(site):
    browser_finds_nothing(site, sorted(str(f.relative_to(site)) for f in site.rglob("*.html")))
