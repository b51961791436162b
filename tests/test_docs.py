"""The pages: all are in the site's menu, and no link leads nowhere, in the repository and there."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]
to_site = runpy.run_path(str(ROOT / "scripts" / "site_links.py"))["on_page_markdown"]


def relative(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def links(text):
    """Pairs of a file and an anchor, either of which may be empty."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            yield file, anchor


def anchors(page):
    """What GitHub and MkDocs make of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def test_every_page_is_in_the_menu_once():
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r": (\S+\.md)$", menu, re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_the_start_page_has_the_code_of_the_readme():
    readme, start = (
        (folder / name).read_text() for folder, name in ((ROOT, "README.md"), (DOCS, "index.md"))
    )
    in_python = re.compile(r"```python\n.*?```", re.DOTALL)
    assert in_python.findall(start) == in_python.findall(readme)


@pytest.mark.parametrize("page", TEXTS, ids=relative)
def test_links_lead_somewhere(page):
    for file, anchor in links(page.read_text()):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_on_the_site_lead_to_its_pages(page):
    for file, _ in links(to_site(page.read_text())):
        target = (page.parent / file).resolve()
        is_picture = target.suffix == ".png" and target.is_relative_to(DOCS) and target.exists()
        assert not file or target in PAGES or is_picture, file
