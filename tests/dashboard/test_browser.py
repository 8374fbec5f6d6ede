"""The page in a real browser, on a real session: it shows what happens, by the keyboard too, and asks nobody else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import distpool
from tests.dashboard.chromium import CHROMIUM, Browser
from tests.dashboard.conftest import Served

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt-get install chromium, and these run too"
)

#: Longer pieces of JavaScript, each an expression.
SCRIPTS = {path.name: path.read_text() for path in Path(__file__).parent.glob("*.js")}


@distpool.remote
def clean(row: int) -> int:
    if row % 100 == 99:
        raise ValueError(f"row {row} has no column 'price'")
    return row


@distpool.remote(num_cpus=0)
class Ledger:
    def add(self, n: int) -> int:
        return n


@pytest.fixture(scope="module")
def busy(session: None) -> Iterator[None]:
    """Something happens all the time."""
    stopping = threading.Event()

    def work() -> None:
        ledger = Ledger.remote()
        while not stopping.is_set():
            refs = [clean.remote(n) for n in range(100)]
            distpool.wait(refs, num_returns=len(refs), timeout=60)
            distpool.get(ledger.add.remote(1), timeout=60)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stopping.set()
    thread.join()


@pytest.fixture(scope="module")
def browser(busy: None, served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
        assert browser.said == [], "the page has complained"
        beyond = {url for url in browser.asked_for if urlsplit(url).netloc != urlsplit(served.address).netloc}
        assert {url for url in beyond if not url.startswith(("data:", "about:"))} == set()
    finally:
        browser.close()


def test_without_the_token_there_is_a_line(served: Served, tmp_path: Path, session: None) -> None:
    stranger = Browser(tmp_path)
    try:
        stranger.open(served.address)
        assert "opens by the whole address that it printed" in stranger.text()
    finally:
        stranger.close()


def test_the_overview_is_live_and_hides_the_token(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    browser.until("document.querySelector('#pulse').textContent === 'live'")
    assert browser.run("location.href").rstrip("/") == served.address
    browser.until("[...document.querySelectorAll('td')].some(cell => cell.textContent === 'clean')")
    for title in (
        "Tasks a second",
        "tasks a second",
        "Task stream",
        "Tasks by function",
        "Nodes",
        "Latest errors",
    ):
        assert title in browser.text()
    done = "Number(document.querySelectorAll('.tile b')[3].textContent.replaceAll(',', ''))"
    before = browser.until(done)
    browser.until(f"{done} > {before}")
    browser.until("document.querySelector('.stream canvas').height > 40")
    browser.until(SCRIPTS["painted.js"])
    assert browser.run("document.querySelectorAll('.chart canvas').length") == 2


def test_each_thing_leads_to_what_belongs_to_it(browser: Browser) -> None:
    browser.run("location.hash = '#/errors'")
    browser.until("document.querySelectorAll('tbody tr').length > 0")
    browser.run("document.querySelector('tbody tr td:nth-child(3) a').click()")
    browser.until("document.querySelector('pre')?.textContent.includes('raise ValueError')")
    browser.run("[...document.querySelectorAll('dd a')].find(a => a.hash.startsWith('#/worker/')).click()")
    browser.until("document.body.innerText.includes('Where it is in its code')")
    browser.until("document.querySelectorAll('dt').length > 3")
    browser.run("[...document.querySelectorAll('dd a')].find(a => a.hash.startsWith('#/node/')).click()")
    browser.until(
        "document.body.innerText.includes('What it has') && document.body.innerText.includes('Object store')"
    )
    browser.run("location.hash = '#/function/clean'")
    browser.until("/[0-9]/.test(document.querySelector('.tile b').textContent)")
    browser.run("location.hash = '#/actors'")
    browser.until("[...document.querySelectorAll('td')].some(cell => cell.textContent === 'Ledger')")


def test_tables_are_sorted_filtered_and_walked_by_keys(browser: Browser) -> None:
    browser.run("location.hash = '#/workers'")
    browser.until("document.querySelectorAll('tbody tr').length > 1")
    browser.press("/")
    assert browser.run("document.activeElement.type") == "search"
    for letter in "nothing-like-it":
        browser.press(letter)
    browser.until("document.body.innerText.includes('Nothing has these words')")
    browser.run("document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input'))")
    browser.until("document.querySelectorAll('tbody tr').length > 1")
    browser.run(
        "[...document.querySelectorAll('th button')].find(head => head.textContent === 'Done').click()"
    )
    browser.until("document.querySelector('th[aria-sort=descending]')?.textContent === 'Done'")
    done = "[...document.querySelectorAll('tbody tr')].map(r => Number(r.children[6].textContent.replaceAll(',', '')))"
    browser.until(f"(list => list.every((n, at) => !at || list[at - 1] >= n) && list[0] > 0)({done})")
    browser.run("document.querySelector('tbody tr').focus()")
    browser.press("ArrowDown")
    assert browser.run("[...document.querySelectorAll('tbody tr')].indexOf(document.activeElement)") == 1
    browser.press("Enter")
    browser.until("location.hash.startsWith('#/worker/')")


def test_it_can_be_stopped_and_dressed(browser: Browser) -> None:
    browser.run("location.hash = '#/'")
    browser.until("document.querySelectorAll('.tile').length > 7")
    browser.run("document.activeElement.blur()")
    browser.press("p")
    assert browser.run("document.querySelector('#pulse').textContent") == "paused"
    browser.press("p")
    for _ in range(2):
        browser.run("document.querySelector('#theme').click()")
    assert browser.run("document.documentElement.dataset.theme") == "dark"
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
    browser.run("document.querySelector('#theme').click()")


def test_the_page_of_a_narrow_window_does_not_run_over(browser: Browser) -> None:
    browser.resize(390, 800)
    try:
        browser.run("location.hash = '#/'")
        browser.until("document.querySelectorAll('.tile').length > 7")
        assert browser.run("document.documentElement.scrollWidth") <= 390
    finally:
        browser.resize(1440, 900)


def test_a_frame_costs_the_page_little(browser: Browser) -> None:
    """A thousand workers and 50 functions, 20,000 bars: what a frame takes of the page's time, one of each second."""
    cost_ms = browser.run(SCRIPTS["frames.js"])
    assert cost_ms < 250, f"{cost_ms:.0f} ms a frame"
    if os.environ.get("DISTPOOL_SHOW_COST"):
        print(f"{cost_ms:.0f} ms a frame")
