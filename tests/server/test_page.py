"""The page in a real browser: what is listed, found, followed, deleted and kept from running."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from praison_store import DefaultSessionStore

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
CALL = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}]
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "What is the weather in Oslo?"}, {"role": "assistant", "content": None, "tool_calls": CALL},
    {"role": "tool", "content": '{"sky": "clear"}', "tool_call_id": "c1"},
    {"role": "assistant", "content": "It is **clear**, see [the map](https://example.org/map).\n\n```\nsky = clear\n```\n\n- cold\n- dry"},
]
# Each of them runs in a page that takes a message for markup.
HOSTILE = [
    "<script>document.title = 'owned'</script>", "<img src=x onerror=\"document.title='owned'\">", "[x](javascript:document.title='owned')",
    "<svg onload=\"document.title='owned'\">", "`</code><script>document.title='owned'</script>`", "**<iframe srcdoc=\"<script>parent.document.title='owned'</script>\">**",
    "```\n</code></pre><script>document.title='owned'</script>\n```", "[<b>x</b>](https://example.org/\"onclick=\"document.title='owned')",
]


@pytest.fixture(scope="module")  # while it runs, no other test can have an event loop
def browser() -> Iterator[Browser]:
    """Start a real browser, once for the tests of this file."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def store(tmp_path: Path) -> DefaultSessionStore:
    """Return the store the service serves."""
    return DefaultSessionStore(tmp_path / "served", durability="process", max_messages=1000)


@pytest.fixture
def page(browser: Browser, serve: Callable[..., httpx.Client], store: DefaultSessionStore) -> Iterator[Page]:
    """Open the page of a service; whatever the browser complains of fails the test."""
    client = serve()
    context = browser.new_context(base_url=str(client.base_url), viewport={"width": 1100, "height": 800})
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    yield opened
    context.close()
    assert [] == complaints


def shot(page: Page, name: str) -> None:
    """Keep a picture of the page for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def fill(store: DefaultSessionStore) -> None:
    """Store a few sessions of two agents and two users."""
    for number in range(5):
        store.add_messages(f"talk-{number}", TALK if number % 2 else [{"role": "user", "content": f"apples {number}"}])
        store.set_agent_info(f"talk-{number}", "Ann" if number % 2 else "Bo", "alice" if number < 3 else "bob")


def test_sessions_are_listed_searched_and_filtered(page: Page, store: DefaultSessionStore) -> None:
    """Goal: find one of many. Method: words, an agent, a user and an order, typed as a person does."""
    fill(store)
    page.goto("/ui/")
    rows = page.locator("#rows li")
    expect(rows).to_have_count(5)
    expect(page.locator("#total")).to_have_text("5 sessions")
    shot(page, "list")
    page.keyboard.press("/")
    page.keyboard.type("weather")
    expect(rows).to_have_count(2)
    page.locator("#search").fill("apples")
    expect(rows).to_have_count(3)
    page.locator("#user").fill("alice")
    expect(rows).to_have_count(2)
    page.locator("#search").fill("")
    page.locator("#user").fill("")
    page.locator("#agent").fill("Ann")
    expect(rows).to_have_count(2)
    page.locator("#agent").fill("nobody")
    expect(page.locator("#total")).to_have_text("0 sessions")
    page.locator("#agent").fill("")
    page.locator("#order").select_option("session_id")
    expect(page.locator("#rows .name").first).to_have_text("talk-0")


def test_pages_go_through_many_sessions(page: Page, store: DefaultSessionStore) -> None:
    """Goal: each session on one page. Method: 120 sessions, forward and back, by buttons and by keys."""
    for number in range(120):
        store.add_user_message(f"s{number:03}", "x")
    page.goto("/ui/")
    page.locator("#order").select_option("session_id")
    expect(page.locator("#rows .name").first).to_have_text("s000")
    seen = []
    for place in ("51 to 100", "101 to 120"):
        expect(page.locator("#rows li")).to_have_count(50)
        seen += page.locator("#rows .name").all_text_contents()
        page.locator("#next").click()
        expect(page.locator("#place")).to_have_text(place)
    expect(page.locator("#rows li")).to_have_count(20)
    seen += page.locator("#rows .name").all_text_contents()
    assert [f"s{number:03}" for number in range(120)] == seen
    expect(page.locator("#next")).to_be_disabled()
    page.locator("body").press("p")
    expect(page.locator("#place")).to_have_text("51 to 100")


def test_a_transcript_shows_roles_folded_calls_and_safe_markdown(page: Page, store: DefaultSessionStore) -> None:
    """Goal: readable. Method: open by the keyboard; a call, a result, bold, a link, code and a list; back by Escape."""
    store.add_messages("talk", TALK)
    page.goto("/ui/")
    expect(page.locator("#rows li")).to_have_count(1)
    page.locator("body").press("j")
    page.keyboard.press("Enter")
    messages = page.locator(".message")
    expect(messages).to_have_count(4)
    assert ["user", "assistant", "tool", "assistant"] == messages.evaluate_all("all => all.map(one => one.dataset.role)")
    expect(messages.nth(1).locator("summary")).to_have_text("calls weather")
    expect(messages.nth(1).locator("pre")).not_to_be_visible()
    messages.nth(1).locator("summary").click()
    expect(messages.nth(1).locator("pre")).to_contain_text('"city": "Oslo"')
    expect(messages.nth(3).locator("strong")).to_have_text("clear")
    expect(messages.nth(3).locator("a")).to_have_attribute("href", "https://example.org/map")
    expect(messages.nth(3).locator("pre")).to_have_text("sky = clear")
    expect(messages.nth(3).locator("li")).to_have_text(["cold", "dry"])
    shot(page, "transcript")
    page.keyboard.press("Escape")
    expect(page.locator("#list")).to_be_visible()


ADDING = "import sys; from praison_store import DefaultSessionStore as S; S(sys.argv[1]).add_assistant_message('talk', sys.argv[2])"


def test_a_transcript_follows_what_another_process_writes(page: Page, store: DefaultSessionStore, tmp_path: Path) -> None:
    """Goal: a live tail. Method: a second process adds messages while the page is open."""
    store.add_messages("talk", TALK)
    page.goto("/ui/#/session/talk")
    expect(page.locator(".message")).to_have_count(4)
    for number in range(2):
        subprocess.run([sys.executable, "-c", ADDING, str(tmp_path / "served"), f"live {number}"], check=True, timeout=60)
        expect(page.locator(".message")).to_have_count(5 + number)
    expect(page.locator(".message").last).to_contain_text("live 1")


def test_a_deleted_session_comes_back_when_it_is_undone(page: Page, store: DefaultSessionStore) -> None:
    """Goal: no slip loses a conversation. Method: delete and undo; delete and wait; delete and leave the page."""
    for name in ("keep", "lose", "leave"):
        store.add_user_message(name, "x")
    page.goto("/ui/")
    page.get_by_label("Delete keep").click()
    expect(page.locator("#rows li")).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#rows li")).to_have_count(3)
    page.goto("/ui/#/session/lose")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("lose is deleted.")).to_be_visible()
    shot(page, "undo")
    expect(page.get_by_text("lose is deleted.")).not_to_be_visible(timeout=15_000)
    page.reload()
    expect(page.locator("#rows li")).to_have_count(2)
    assert (True, False) == (store.session_exists("keep"), store.session_exists("lose"))
    page.get_by_label("Delete leave").click()
    expect(page.get_by_text("leave is deleted.")).to_be_visible()
    page.goto("about:blank")
    page.goto("/ui/")
    expect(page.locator("#rows li")).to_have_count(1)


def test_a_session_is_forked_and_exported(page: Page, store: DefaultSessionStore) -> None:
    """Goal: what is there can be taken along. Method: fork, and look at the new one; export, and import it elsewhere."""
    store.add_messages("talk", TALK)
    page.goto("/ui/#/session/talk")
    expect(page.locator(".message")).to_have_count(4)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    import json

    other = DefaultSessionStore(db="memory://")
    other.import_session(json.loads(Path(download.value.path()).read_text()))
    assert store.get_chat_history("talk") == other.get_chat_history("talk")
    page.get_by_role("button", name="Fork").click()
    expect(page.locator("#transcript h2")).not_to_have_text("talk")
    expect(page.locator(".message")).to_have_count(4)
    assert 2 == len(store.list_sessions())


@pytest.mark.parametrize("hostile", HOSTILE)
def test_D8_a_message_never_runs_as_script(hostile: str, page: Page, store: DefaultSessionStore) -> None:
    """Goal: stored text is text. Method: markup in a message, in a call, in names and in the title, in list and transcript."""
    store.add_messages("talk", [{"role": "user", "content": hostile}, {"role": "assistant", "content": [{"type": "text", "text": hostile}],
                                 "tool_calls": [{"id": "c", "type": "function", "function": {"name": hostile, "arguments": hostile}}]}, {"role": "tool", "content": hostile, "tool_call_id": "c"}])
    store.set_agent_info("talk", hostile, hostile)
    store.rename_session("talk", hostile)
    page.goto("/ui/")
    expect(page.locator("#rows li")).to_have_count(1)
    assert hostile == page.locator("#rows .name").text_content()
    page.locator("#rows a").click()
    expect(page.locator(".message")).to_have_count(3)
    page.locator("summary").first.click()
    for link in page.locator(".message a").all():
        assert re.match("https?://", str(link.get_attribute("href")))
    assert 0 == page.locator("main script, main iframe, main img, main [onclick], main [onload], main [onerror]").count()
    assert "owned" not in page.title()


def test_the_page_loads_nothing_from_elsewhere_and_may_run_nothing_inline(page: Page, store: DefaultSessionStore) -> None:
    """Goal: a strict policy that holds. Method: every request of every view; an inline script that must not run."""
    fill(store)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto("/ui")
    assert answer is not None
    assert answer.url.endswith("/ui/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page.goto("/ui/#/statistics")
    expect(page.locator("svg")).to_have_count(3)
    expect(page.locator(".figures")).to_contain_text("total sessions")
    shot(page, "statistics")
    assert [] == [url for url in asked if not url.startswith((answer.url.split("/ui")[0], "data:"))]


def test_the_page_is_readable_on_a_phone_and_in_the_dark(browser: Browser, serve: Callable[..., httpx.Client], store: DefaultSessionStore) -> None:
    """Goal: no sideways scrolling, dark where the reader is in the dark. Method: a narrow dark window; colours and widths."""
    fill(store)
    store.add_user_message("long", "word" * 500)
    context = browser.new_context(base_url=str(serve().base_url), viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    page.goto("/ui/")
    expect(page.locator("#rows li")).to_have_count(6)
    shot(page, "phone-list")
    page.goto("/ui/#/session/long")
    expect(page.locator(".message")).to_have_count(1)
    shot(page, "phone-transcript")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 200
    page.get_by_label("Change between dark and light").click()
    assert sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3])) > 600
    context.close()


def test_a_service_with_tokens_asks_for_one(browser: Browser, serve: Callable[..., httpx.Client], tokens: tuple[str, dict[str, dict[str, str]]]) -> None:
    """Goal: the page is no way around access. Method: no token, then alice's: she sees hers, not bob's."""
    file, headers = tokens
    client = serve(token_file=file)
    for user in ("alice", "bob"):
        client.post("/sessions", json={"metadata": {"title": f"of {user}"}}, headers=headers[user]).raise_for_status()
    context = browser.new_context(base_url=str(client.base_url))
    page = context.new_page()
    page.goto("/ui/")
    expect(page.locator("#sign-in")).to_be_visible()
    page.locator("#token").fill(headers["alice"]["Authorization"].removeprefix("Bearer "))
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#rows .name")).to_have_text(["of alice"])
    context.close()
