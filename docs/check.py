"""Opens every page of the built site in a headless Chromium: `scripts/docs --check`.

A page fails on an error in its console, a request to another server, a response that is
not 200, an image that does not load, a link that leads nowhere, formulas that are not
drawn, or a page that is wider than a phone. Then the search box must find what it is
asked for, every figure must have its table in the gallery, and every public name an
entry among the API pages.

Chromium is that of CVXJAX_CHROMIUM, or one on PATH, or the one that
`.venv/bin/python -m playwright install chromium` downloads. With none of them the check
is skipped, which is said, and exits with 0.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SHOWN = (
    "index.html start.html mathematics/two_layer.html gallery.html api/solvers.html "
    "tutorials/table.html search.html?q=nuclear+norm"
).split()
"""Pages of which --screenshots keeps pictures."""

SETTLED = """() => [...document.images].every(image => image.complete)
    && (!document.querySelector(".math") || window.MathJax?.startup?.promise)"""

LOOK = """() => ({
    images: [...document.images]
        .filter(image => !image.complete || image.naturalWidth === 0)
        .map(image => image.src),
    links: [...document.querySelectorAll("a[href]")].map(link => link.href),
    ids: [...document.querySelectorAll("[id], a[name]")]
        .flatMap(element => [element.id, element.getAttribute("name")]),
    bare: [...document.querySelectorAll(".math")]
        .filter(math => !math.querySelector("mjx-container")).length,
    wrong: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
    wide: document.documentElement.scrollWidth - window.innerWidth,
})"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder under an address of this machine."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def executable() -> str | None:
    """A Chromium named by CVXJAX_CHROMIUM or on PATH."""
    named = [os.environ.get("CVXJAX_CHROMIUM", ""), *NAMES]
    return next(filter(None, map(shutil.which, filter(None, named))), None)


def started(playwright: Any) -> Any:
    """The browser, or None where there is none."""
    from playwright.sync_api import Error

    with contextlib.suppress(Error):
        return playwright.chromium.launch(executable_path=executable(), args=FLAGS)
    return None


class Check:
    """Opens pages, and keeps what is wrong with them.

    Args:
      browser: Chromium.
      root: address of the site.
      folder: where its files lie.
    """

    def __init__(self, browser: Any, root: str, folder: Path) -> None:
        self.browser, self.root, self.folder = browser, root, folder
        self.wrong: list[str] = []
        self.links: dict[str, set[str]] = {}
        self.ids: dict[str, set[str]] = {}

    def page(self, size: str) -> Any:
        width, height = SIZES[size]
        page = self.browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(60_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._say(page, f"script: {error}"))
        page.on("request", lambda request: self._request(page, request))
        page.on("response", lambda response: self._response(page, response))
        return page

    def _say(self, page: Any, what: str) -> None:
        self.wrong.append(f"{page.url.removeprefix(self.root)}: {what}")

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self._say(message.page, f"console: {message.text}")

    def _request(self, page: Any, request: Any) -> None:
        if not request.url.startswith((self.root, "data:", "blob:")):
            self._say(page, f"asks another server: {request.url}")

    def _response(self, page: Any, response: Any) -> None:
        if response.status not in (200, 304):
            self._say(page, f"{response.status} for {response.url}")

    def open(self, page: Any, name: str) -> dict[str, Any]:
        """Loads a page until formulas and images are drawn, and looks at it."""
        page.goto(self.root + name, wait_until="load")
        page.evaluate(
            "() => { for (const image of document.images) image.loading = 'eager' }"
        )
        page.wait_for_function(SETTLED)
        page.evaluate("() => window.MathJax?.startup?.promise")
        return page.evaluate(LOOK)

    def visit(self, page: Any, size: str, name: str) -> None:
        seen = self.open(page, name)
        for image in seen["images"]:
            self._say(page, f"no image {image}")
        if seen["bare"] or seen["wrong"]:
            count = seen["bare"] + seen["wrong"]
            self._say(page, f"{count} formulas are not drawn")
        if seen["wide"] > 0:
            self._say(page, f"{seen['wide']} pixels wider than a {size}")
        self.links[name] = set(seen["links"])
        self.ids[name] = set(filter(None, seen["ids"]))

    def follow(self) -> None:
        """Every link inside the site leads to a page, and to a place on it."""
        for name, links in self.links.items():
            for link in sorted(links):
                if not link.startswith(self.root):
                    continue
                address, place = urldefrag(link.removeprefix(self.root))
                target = address.partition("?")[0] or "index.html"
                known = target in self.ids or (self.folder / target).is_file()
                if not known or target.startswith(".."):
                    self.wrong.append(f"{name}: link to {target}")
                elif place and unquote(place) not in self.ids.get(target, {place}):
                    self.wrong.append(f"{name}: link to {target}#{place}")

    def search(self, page: Any, text: str, wanted: str) -> None:
        """Types into the search box of the start page; a result must be the page."""
        self.open(page, "index.html")
        page.locator("input[name=q]:visible").first.fill(text)
        page.keyboard.press("Enter")
        page.wait_for_selector("#search-results ul.search li a", timeout=10_000)
        page.wait_for_timeout(1_000)
        found = page.eval_on_selector_all(
            "#search-results ul.search li a", "links => links.map(link => link.href)"
        )
        if not any(wanted in link for link in found):
            self._say(page, f"{text!r} does not find {wanted}")

    def gallery(self, page: Any) -> None:
        """Every record has its picture, its table of claims, and its verdicts."""
        from gallery import counts, is_stand_in, records

        found = records(HERE.parent / "figures")
        self.open(page, "gallery.html")
        for record in found:
            place = page.locator(f"section#{record['name'].replace('_', '-')}")
            rows = place.locator("table.claims tbody tr").count()
            pictures = place.locator("img").count()
            if rows != len(record["claims"]) or pictures != 1:
                text = f"{record['name']}: {rows} claims and {pictures} pictures"
                self._say(page, text)
        shown = page.locator("table.verdict-counts tbody td:nth-child(2)")
        own = [record for record in found if not is_stand_in(record)]
        if shown.all_inner_texts() != [str(k) for k in counts(own).values()]:
            self._say(page, "counts of verdicts are others than those of the records")

    def names(self) -> None:
        """Every public name is a place on an API page."""
        from public import canonical_names

        places = set().union(*(v for k, v in self.ids.items() if k[:4] == "api/"))
        self.wrong += [f"no entry for {n}" for n in canonical_names() - places]


def main() -> int:
    """Checks the site; the exit code is 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=HERE / "_build" / "html")
    parser.add_argument("--screenshots", type=Path, help="a folder for pictures")
    parser.add_argument("--verbose", action="store_true", help="name every page")
    options = parser.parse_args()
    pages = sorted(
        str(path.relative_to(options.site)) for path in options.site.rglob("*.html")
    )
    if not pages:
        print(f"no pages in {options.site}: build the site first", file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, served(options.site) as root:
        browser = started(playwright)
        if browser is None:
            print(
                "skipped: no Chromium. Install one (on Debian: apt install chromium; "
                "anywhere: .venv/bin/python -m playwright install chromium), or point "
                "at one by CVXJAX_CHROMIUM."
            )
            return 0
        check = Check(browser, root, options.site)
        for size in SIZES:
            page = check.page(size)
            for name in pages:
                if options.verbose:
                    print(size, name, flush=True)
                check.visit(page, size, name)
            check.search(page, "certificate", "certificates.html")
            check.search(page, "SemismoothNewton", "api/solvers.html")
            check.search(page, "nuclear", "mathematics/vector_output.html")
            if options.screenshots is not None:
                keep(check, page, size, options.screenshots)
            check.gallery(page)
            page.close()
        check.follow()
        check.names()
        version = browser.version
        browser.close()
    wrong = list(dict.fromkeys(check.wrong))
    print("\n".join(wrong), end="\n" if wrong else "")
    print(f"{len(pages)} pages in Chromium {version}: {len(wrong)} faults")
    return int(bool(wrong))


def keep(check: Check, page: Any, size: str, folder: Path) -> None:
    """Saves pictures of some pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        check.open(page, name)
        page.wait_for_timeout(800)
        stem = name.partition("?")[0].replace("/", "-").removesuffix(".html")
        page.screenshot(path=str(folder / f"{stem}-{size}.png"), full_page=False)


if __name__ == "__main__":
    sys.exit(main())
