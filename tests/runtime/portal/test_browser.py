"""The portal in a real browser: with axe for those who see or move otherwise, by keyboard, in the
dark, on a phone, and with texts in the workspace that would like to be scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.distribution import Distribution
from tests.registry.onnx_files import adder
from tests.runtime.portal.chromium import Chromium, Tab, is_there
from tests.runtime.portal.content import Content
from tests.runtime.registry_service.served import Served, serving

AXE = Path(__file__).parents[3] / "build/axe/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_LOOKS = ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"]
"""Rules that depend on colours and width; the others need to be asked once."""
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not is_there(), reason="there is no chromium; see scripts/system-packages"),
    pytest.mark.skipif(not AXE.exists(), reason="there is no axe-core; see scripts/axe"),
]


@pytest.fixture
def content(hostile: Content) -> Content:
    return hostile


@pytest.fixture(scope="module")
def served(hostile: Content) -> Iterator[Served]:
    with serving(hostile.workspace.root) as served:
        yield served


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def tab(browser: Chromium) -> Iterator[Tab]:
    with browser.tab() as tab:
        yield tab


def complaints(tab: Tab, only: list[str] | None = None) -> list[list[str]]:
    """Of axe, about the page that is shown; ``only`` of these rules."""
    if not tab.run("typeof axe === 'object'"):
        tab.run(f"{AXE.read_text()};0")
    options = {"runOnly": only or RULES, "resultTypes": ["violations"]}
    found: list[list[str]] = tab.run(
        f"axe.run({json.dumps(options)}).then(found => found.violations.map(each =>"
        " [each.id, each.nodes[0].html, each.nodes[0].failureSummary]))"
    )
    return found


def click(tab: Tab, words: str) -> None:
    """The button that says so."""
    buttons = "[...document.querySelectorAll('button')]"
    tab.run(f"{buttons}.find(each => each.textContent === {json.dumps(words)}).click()")


def test_every_page_is_for_everybody(tab: Tab, served: Served, content: Content) -> None:
    """Light on a desk, and dark on a phone."""
    for path in content.pages:
        tab.shape(1280, 900, is_dark=False)
        tab.open(f"{served.url}/ui/w/default{path}")
        assert complaints(tab) == [], path
        tab.shape(360, 800, is_dark=True)
        assert complaints(tab, OF_LOOKS) == [], path
        tab.shape(320, 800, is_dark=True)
        assert tab.run("document.documentElement.scrollWidth") <= 320, f"{path} scrolls sideways"
        assert tab.troubles == [], path
        assert tab.dialogs == 0, path


def test_axe_would_see_what_is_wrong(tab: Tab, served: Served) -> None:
    tab.open(f"{served.url}/ui/w/default/models")
    tab.run("document.querySelector('main').append(document.createElement('img'))")
    assert [found[0] for found in complaints(tab)] == ["image-alt"]


def test_by_keyboard_one_comes_to_the_content_at_once(tab: Tab, served: Served) -> None:
    tab.open(f"{served.url}/ui/w/default/models")
    tab.press("Tab", 9)
    assert tab.run("document.activeElement.textContent") == "Skip to content"
    tab.until("document.activeElement.getBoundingClientRect().top >= 0")
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Enter", 13, "\r")
    tab.until("document.activeElement.id === 'content'")


def test_the_colours_are_chosen_and_stay_chosen(tab: Tab, served: Served) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    tab.open(f"{served.url}/ui/w/default/models")
    light = tab.run(ground)
    tab.run("document.querySelector('[data-theme-switch]').click()")
    assert tab.run(ground) != light
    assert tab.run("document.querySelector('[data-theme-switch]').ariaPressed") == "true"
    tab.open(f"{served.url}/ui/w/default/images")
    assert tab.run(ground) != light
    tab.run("localStorage.clear()")


def test_an_activity_is_seen_as_it_goes(tab: Tab, served: Served, content: Content) -> None:
    with content.workspace.activities.start("image", "digits:9") as activity:
        activity.phase("Packing", total=100)
        activity.log("the first line")
        tab.open(f"{served.url}/ui/w/default/activities/{activity.id}")
        assert "running" in tab.run("document.querySelector('.facts').textContent")
        activity.log("the second line")
        tab.until("document.querySelector('pre.log').textContent.includes('the second line')")
    tab.until("document.querySelector('.facts .badge').textContent === 'succeeded'")
    tab.until("document.getElementById('said').textContent === 'State: succeeded'")


def test_a_curve_says_its_numbers(tab: Tab, served: Served, content: Content) -> None:
    tab.open(f"{served.url}/ui/w/default/runs/{content.runs[1]}")
    place = tab.run(
        "(() => { const svg = document.querySelector('svg.chart'); svg.scrollIntoView({block:"
        " 'center'}); const at = svg.getBoundingClientRect(); return [at.x + at.width / 2, at.y +"
        " at.height / 2] })()"
    )
    tab.say("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    tab.until("document.querySelector('.hover:not([hidden])') !== null")
    assert tab.run("document.querySelector('.hover').textContent").startswith("at ")
    assert tab.troubles == []


def test_runs_are_chosen_and_compared(tab: Tab, served: Served, content: Content) -> None:
    tab.open(f"{served.url}/ui/w/default/experiments/{content.experiment}")
    tab.run("[...document.querySelectorAll('input[name=run]')].slice(0, 2).forEach(e => e.click())")
    click(tab, "Compare chosen runs")
    tab.until("document.title.startsWith('Compare runs') && document.readyState === 'complete'")
    assert tab.run("document.querySelectorAll('.legend li').length") == 2


def test_one_signs_in_does_something_and_signs_out(tab: Tab, tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    workspace.models.register(adder(tmp_path / "net.onnx"), name="net")
    token = Distribution.open(tmp_path / "ws").tokens.create("ada", "contributor", None)
    with serving(tmp_path / "ws") as served:
        tab.open(f"{served.url}/ui/w/default/models/net/1")
        assert tab.run("document.title").startswith("Sign in")
        assert complaints(tab) == []
        tab.run(f"document.querySelector('input[name=token]').value = {json.dumps(token)}")
        tab.run("document.querySelector('main button').click()")
        tab.until("document.title.startsWith('net:1') && document.readyState === 'complete'")
        assert tab.run("document.cookie") == "", "scripts do not see the session"
        tab.run("document.querySelector('input[name=key]').value = 'stage'")
        tab.run("document.querySelector('input[name=value]').value = 'tried'")
        tab.run("document.querySelector('input[name=key]').form.querySelector('button').click()")
        tab.until(
            "document.querySelector('[role=status]')?.textContent === 'The tags are changed.'"
        )
        assert workspace.models.get("net:1").tags == {"stage": "tried"}
        click(tab, "Sign out")
        tab.until("document.title.startsWith('Sign in') && document.readyState === 'complete'")
        assert tab.troubles == []
