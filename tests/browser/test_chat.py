"""The chat example in Chromium, as two people with several tabs see it.

Elements are found as a screen reader finds them: by role and name. Screenshots are left in
build/screenshots for a person to look at.
"""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from .conftest import DESKTOP, PHONE, SCREENSHOTS, ChatServer, Visit

# A socket of our own beside the page's, to send what the page never would.
SEND_RAW = """
    messages => new Promise((resolve, reject) => {
        const socket = new WebSocket(location.href.replace("http", "ws") + "chat");
        const answers = [];
        socket.onopen = () => messages.forEach(message => socket.send(JSON.stringify(message)));
        socket.onmessage = event => {
            const answer = JSON.parse(event.data);
            if (answer.type === "error") answers.push(answer.text);
            if (answers.length === messages.length) {
                socket.onclose = () => resolve(answers);
                socket.close();
            }
        };
        socket.onclose = event => reject(`closed with ${event.code} after ${answers}`);
    })
"""

# The page's attempts to reconnect fail until findTheWay() is called.
LOSE_THE_WAY = """
    () => {
        const Real = WebSocket;
        window.WebSocket = class extends Real {
            constructor(url) { super(url + "/nowhere"); }
        };
        window.findTheWay = () => { window.WebSocket = Real; };
    }
"""


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.get_by_role("button", name="Send").click()


def message(page: Page, text: str) -> Locator:
    """The message with exactly this text."""
    return page.get_by_role("listitem").filter(has=page.get_by_text(text, exact=True))


def people(page: Page) -> Locator:
    return page.get_by_role("list", name="Here now").get_by_role("listitem")


def line(page: Page, text: str) -> Locator:
    """A line of the chat itself, such as that somebody left."""
    return page.locator(".system").get_by_text(text, exact=True)


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")


def test_two_people_talk(visit: Visit) -> None:
    ann = visit().join("Ann")
    expect(people(ann)).to_have_text([re.compile("Ann.*you")])
    door = visit()
    bob = door.open_tab()
    expect(bob.get_by_text("Ann is here.")).to_be_visible()
    bob.close()
    bob = door.join("Bob")
    expect(line(ann, "Bob joined")).to_be_visible()
    expect(people(ann)).to_have_text([re.compile("Ann.*you"), re.compile("Bob$")])
    expect(people(bob)).to_have_text([re.compile("Bob.*you"), re.compile("Ann$")])

    say(ann, "Hello Bob!")
    expect(message(bob, "Hello Bob!")).to_contain_text("Ann")
    say(bob, "Hello Ann!")
    expect(message(ann, "Hello Ann!")).to_contain_text("Bob")
    expect(message(bob, "Hello Ann!")).to_contain_text("You")
    expect(message(ann, "Hello Ann!").locator("time")).to_have_text(re.compile(r"^\d\d:\d\d$"))

    bob.close()
    expect(line(ann, "Bob left")).to_be_visible()
    expect(people(ann)).to_have_text([re.compile("Ann")])


def test_tabs_of_one_person_belong_together(visit: Visit) -> None:
    visitor = visit()
    first = visitor.join("Ann")
    bob = visit().join("Bob")
    second = visitor.open_tab()
    expect(second.get_by_role("log")).to_be_visible()  # in, without choosing a name again
    for page in (first, second):
        expect(people(page)).to_have_text([re.compile("Ann.*you, 2 tabs"), re.compile("Bob$")])
    expect(people(bob)).to_have_text([re.compile("Bob.*you"), re.compile("Ann.*2 tabs")])

    say(first, "From my first tab")
    expect(message(second, "From my first tab")).to_contain_text("You")
    expect(message(bob, "From my first tab")).to_contain_text("Ann")

    first.close()
    expect(people(bob)).to_have_text([re.compile("Bob"), re.compile("Ann$")])
    expect(line(bob, "Ann left")).to_have_count(0)
    say(second, "Still here")
    expect(message(bob, "Still here")).to_contain_text("Ann")
    second.close()
    expect(line(bob, "Ann left")).to_be_visible()


def test_a_page_that_is_loaded_anew_is_still_in(visit: Visit) -> None:
    ann, bob = visit().join("Ann"), visit().join("Bob")
    for _ in range(3):
        bob.reload()
        expect(people(bob)).to_have_count(2)
        say(bob, "Here I am")
    expect(message(ann, "Here I am")).to_have_count(3)
    expect(people(ann)).to_have_count(2)


def test_who_comes_later_reads_the_last_50_messages(visit: Visit) -> None:
    ann = visit().join("Ann")
    for number in range(52):
        say(ann, f"number {number}")
    expect(message(ann, "number 51")).to_be_visible()
    bob = visit().join("Bob")
    expect(bob.locator(".message")).to_have_count(50)
    expect(message(bob, "number 1")).to_have_count(0)
    expect(message(bob, "number 2")).to_have_count(1)
    expect(message(bob, "number 51")).to_be_in_viewport()


def test_reading_further_up_is_not_interrupted(visit: Visit) -> None:
    ann = visit().join("Ann")
    for number in range(30):
        say(ann, f"number {number}")
    expect(message(ann, "number 29")).to_be_in_viewport()
    bob = visit().join("Bob")
    expect(line(ann, "Bob joined")).to_be_in_viewport()
    message(ann, "number 0").scroll_into_view_if_needed()
    say(bob, "Are you there?")
    newer = ann.get_by_role("button", name="New messages")
    expect(newer).to_be_visible()
    expect(message(ann, "number 0")).to_be_in_viewport()
    newer.click()
    expect(newer).to_be_hidden()
    expect(message(ann, "Are you there?")).to_be_in_viewport()


def test_markup_stays_text(visit: Visit) -> None:
    ann, bob = visit().join("<b>Ann</b>"), visit().join("Bob")
    attack = "<img src=x onerror=\"document.title='hacked'\"><script>alert(1)</script>"
    say(ann, attack)
    for page in (ann, bob):
        expect(message(page, attack)).to_be_visible()
        expect(page.locator("#room img, #room script, #room b")).to_have_count(0)
        expect(page).to_have_title("Chat")
    expect(people(bob).last).to_contain_text("<b>Ann</b>")


def test_keys_and_empty_messages(visit: Visit) -> None:
    ann = visit().join("Ann")
    box = ann.get_by_role("textbox", name="Message")
    expect(box).to_be_focused()
    box.press("Enter")
    box.fill("  \n ")
    box.press("Enter")
    expect(box).to_have_value("")
    box.press_sequentially("two")
    box.press("Shift+Enter")
    box.press_sequentially("lines")
    box.press("Enter")
    expect(ann.locator(".message")).to_have_count(1)
    expect(ann.locator(".message")).to_contain_text("two\nlines", use_inner_text=True)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("", "Please choose a name."),
        (" \u202e ", "Please choose a name."),
        ("ann", "Somebody called ann is here already."),
    ],
)
def test_names_that_nobody_can_have(visit: Visit, name: str, answer: str) -> None:
    visit().join("Ann")
    page = visit().open_tab()
    field = page.get_by_role("textbox", name="What should the others call you?")
    field.fill(name)
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(answer)
    expect(field).to_be_focused()
    field.fill("  Bob   the \u202e Builder ")
    field.press("Enter")
    expect(people(page)).to_have_text([re.compile("Bob the Builder"), re.compile("Ann")])


def test_what_the_page_never_sends_is_answered_with_an_error(visit: Visit) -> None:
    page = visit().join("Ann")
    not_understood = "This is not something the chat understands."
    cases: list[tuple[Any, str]] = [
        ({"type": "dance"}, not_understood),
        ({}, not_understood),
        ({"type": "message"}, not_understood),
        ({"type": "message", "text": 7}, not_understood),
        ({"type": "join", "name": ["Bob"]}, not_understood),
        ({"type": "message", "text": " "}, "There is nothing in this message."),
        ({"type": "message", "text": "x" * 2001}, "A message has at most 2000 characters."),
    ]
    answers = page.evaluate(SEND_RAW, [message for message, _ in cases])
    assert answers == [answer for _, answer in cases]
    stranger = visit().open_tab()
    answers = stranger.evaluate(
        SEND_RAW, [{"type": "message", "text": "Hi"}, {"type": "join", "name": "x" * 25}]
    )
    assert answers == ["Please choose a name first.", "A name has at most 24 characters."]
    expect(page.locator(".message")).to_have_count(0)


def test_reconnects_to_a_restarted_server(
    visit: Visit, server: ChatServer, problems: list[str]
) -> None:
    ann, bob = visit().join("Ann"), visit().join("Bob")
    say(ann, "Before")
    expect(message(bob, "Before")).to_be_visible()

    server.stop()
    for page in (ann, bob):
        expect(page.get_by_role("status")).to_have_text("Reconnecting…")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
    box = ann.get_by_role("textbox", name="Message")
    box.fill("Written while away")
    box.press("Enter")
    expect(box).to_have_value("Written while away")  # not lost
    screenshot(ann, "desktop-light-reconnecting")

    server.start()
    for page, names in ((ann, ["Ann", "Bob"]), (bob, ["Bob", "Ann"])):
        expect(page.get_by_role("status")).to_have_text("Connected")
        expect(people(page)).to_contain_text(names)
    box.press("Enter")
    expect(message(bob, "Written while away")).to_contain_text("Ann")
    expect(message(bob, "Before")).to_have_count(1)
    # Browsers report each attempt that found no server; nothing else may have gone wrong.
    problems[:] = [problem for problem in problems if "WebSocket connection to" not in problem]


def test_history_after_a_lost_connection_repeats_nothing(visit: Visit) -> None:
    connections: list[WebSocketRoute] = []

    def pass_on(connection: WebSocketRoute) -> None:
        connection.connect_to_server()
        connections.append(connection)

    visitor = visit()
    visitor.context.route_web_socket("**/chat", pass_on)
    ann, bob = visitor.join("Ann"), visit().join("Bob")
    say(ann, "Before")
    expect(message(bob, "Before")).to_be_visible()
    connections[-1].close(code=4000)
    expect(line(ann, "The connection was lost")).to_be_visible()
    expect(line(bob, "Ann left")).to_be_visible()
    say(bob, "While Ann was away")
    expect(line(ann, "Connected again")).to_be_visible()
    for text in ("Before", "While Ann was away"):
        expect(message(ann, text)).to_have_count(1)


def test_a_name_that_was_taken_in_the_meantime(
    visit: Visit, server: ChatServer, problems: list[str]
) -> None:
    ann = visit().join("Ann")
    say(ann, "Before")
    expect(message(ann, "Before")).to_be_visible()
    ann.evaluate(LOSE_THE_WAY)
    server.stop()
    expect(ann.get_by_role("status")).to_have_text("Reconnecting…")
    server.start()
    visit().join("Ann")
    ann.evaluate("findTheWay()")
    expect(ann.get_by_role("alert")).to_have_text("Somebody called Ann is here already.")
    field = ann.get_by_role("textbox", name="What should the others call you?")
    field.fill("Ann Lee")
    field.press("Enter")
    expect(people(ann)).to_have_text([re.compile("Ann Lee.*you"), re.compile("Ann$")])
    expect(message(ann, "Before")).to_be_visible()
    problems[:] = [problem for problem in problems if "WebSocket connection to" not in problem]


def test_files_are_served_as_what_they_are(visit: Visit, server: ChatServer) -> None:
    page = visit().open_tab()
    for path, content_type in {
        "/": "text/html; charset=utf-8",
        "/static/style.css": "text/css; charset=utf-8",
        "/static/chat.js": "text/javascript; charset=utf-8",
    }.items():
        answer = page.request.get(server.url + path)
        assert answer.status == 200
        assert answer.headers["content-type"] == content_type
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    for path in ("/static/app.py", "/static/..%2fapp.py", "/static/%2e%2e%2fapp.py", "/app.py"):
        assert page.request.get(server.url + path).status == 404
    assert page.request.get(server.url + "/chat").status == 426


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_looks(visit: Visit, color_scheme: str) -> None:
    """Nothing to scroll sideways on any screen; the rest is for a person to judge."""
    ann_visitor, ben_visitor = visit(color_scheme=color_scheme), visit(PHONE, color_scheme)
    desktop_door = visit(color_scheme=color_scheme).open_tab()
    screenshot(desktop_door, f"desktop-{color_scheme}-door")
    door = ben_visitor.open_tab()
    screenshot(door, f"phone-{color_scheme}-door")
    door.close()
    ann = ann_visitor.join("Ann Lee")
    ann_visitor.open_tab()
    ben = ben_visitor.join("Ben")
    clara = visit().join("Clara Oyelaran")
    visit().join("A rather long name, 24ch")
    say(ann, "Good morning! Is everybody here for the walk?")
    say(ben, "Morning. I am on the train, ten minutes late as always.")
    say(ben, "Start without me if the weather turns.")
    expect(message(ann, "Start without me if the weather turns.")).to_be_visible()
    say(clara, "It looks fine from here:\nno wind, a bit of fog over the lake.")
    expect(ann.get_by_text("fog over the lake")).to_be_visible()
    say(ann, "Then we wait. The map is at https://example.org/" + "a-very-long-path/" * 8)
    say(ann, "Bring tea ☕")
    for page, screen in ((ann, "desktop"), (ben, "phone")):
        expect(message(page, "Bring tea ☕")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        screenshot(page, f"{screen}-{color_scheme}")


def test_light_and_dark_can_be_chosen(visit: Visit) -> None:
    visitor = visit(DESKTOP)
    page = visitor.open_tab()
    background = "getComputedStyle(document.querySelector('.bar')).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Switch between light and dark").click()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(background) == light
