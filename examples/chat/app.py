"""A chat with a web page: who is here, history, several tabs of one person, reconnects.

It runs on one process, on several (``--workers 4``), and on several machines (``--bus``).

Run ``python -m wsgroups app:handle`` in this folder, or ``python -m wsgroups
examples.chat.app:handle`` from the root of the project, and open the address it prints.

The browser and the server exchange JSON objects with a ``type``:

======== ========= ================================ =========================================
from     type      fields                           meaning
======== ========= ================================ =========================================
browser  join      name                             I would like to be called this
browser  message   text                             say something
server   hello                                      choose a name (answer with ``join``)
server   welcome   name, history                    you are in; the last messages
server   people    people: [{name, tabs}]           everyone who is here, at each change
server   message   id, name, text, time (ms), own   somebody said something
server   joined    name                             a person came
server   left      name                             a person went: their last tab is closed
server   error     text                             what you sent was refused, and why
======== ========= ================================ =========================================
"""

import json
import re
import secrets
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from wsgroups import Handle, HandlerStatus, Request, Response, SocketSet, WebSocket

MAX_NAME = 24  # characters
MAX_TEXT = 2_000  # characters
STATIC = Path(__file__).parent / "static"
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
ASSETS = {path.name: path for path in STATIC.iterdir() if path.suffix in CONTENT_TYPES}
SECURITY_HEADERS = {
    # Whatever a message contains, nothing that is not ours can run or load.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

handle = Handle()
# Room for MAX_TEXT characters of four bytes; anything larger is not from our page. Orphans: when a
# worker is killed, `leave` is called for its tabs in another one.
chat = handle.group("chat", max_message_size=16 * 1024, orphans=True)


@dataclass(eq=False, slots=True)
class Person:
    """One visitor, however many tabs, of whichever workers."""

    visitor: str  # from the cookie; never shown to others, who could take it for their own
    name: str = ""  # empty until one is chosen
    tabs: set[int] = field(default_factory=set)  # the ids of their sockets


@dataclass(frozen=True, slots=True)
class Message:
    """Something said. ``id`` lets a page that reconnects skip what it already shows."""

    author: str  # the visitor, because a name may later be somebody else's
    name: str
    text: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    time: int = field(default_factory=lambda: time.time_ns() // 1_000_000)  # ms since 1970

    def seen_by(self, visitor: str | None) -> dict[str, Any]:
        """Return what is sent of it: only its author's own tabs may know whose it is."""
        return {
            "type": "message",
            "id": self.id,
            "name": self.name,
            "text": self.text,
            "time": self.time,
            "own": self.author == visitor,
        }


class Refused(Exception):
    """What a client asked for is not possible; the text is for that client to read."""


people: dict[str, Person] = {}  # by visitor id: everyone with at least one tab open
tabs: dict[int, Person] = {}  # whose each tab is
history: deque[Message] = deque(maxlen=50)
here = SocketSet()  # the tabs of this worker; whoever closes is out of it
announced: dict[str, str] = {}  # the names by visitor, as the tabs here have last been told


# The page


@handle.get("/")
def page(request: Request) -> Response:
    """Serve the page, and give the visitor the cookie that all of their tabs will send."""
    cookie = visitor_cookie(request, visitor_id(request))
    return Response(
        body=(STATIC / "index.html").read_bytes(),
        content_type="text/html; charset=utf-8",
        headers={**SECURITY_HEADERS, "Set-Cookie": cookie},
    )


@handle.get("/static/{name}")
def static(request: Request, name: str) -> Response | None:
    """Serve the page's style and script."""
    # Looked up, never joined to a path: no name can lead out of the folder.
    path = ASSETS.get(name)
    if path is None:
        return None  # 404
    return Response(
        body=path.read_bytes(), content_type=CONTENT_TYPES[path.suffix], headers=SECURITY_HEADERS
    )


def visitor_id(request: Request) -> str:
    """Take the id from the cookie, or make a new one if that is none that we could have made."""
    known = request.cookies.get("visitor", "")
    return known if re.fullmatch(r"[A-Za-z0-9_-]{22}", known) else secrets.token_urlsafe(16)


def visitor_cookie(request: Request, visitor: str) -> str:
    """Make the cookie that brings the visitor's id back for a year."""
    # Lax, not Strict: Strict is not sent when a link on another site is followed, and the
    # visitor would be given a new id each time.
    secure = "; Secure" if request.scheme == "https" else ""
    return f"visitor={visitor}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax{secure}"


# The conversation


@handle.get("/chat")
def enter(request: Request) -> HandlerStatus:
    """Open the socket of one tab; the other tabs of the same visitor are the same person."""
    request.require_upgrade()
    visitor = visitor_id(request)
    ws = request.send_upgrade("chat", cookies=[visitor_cookie(request, visitor)])
    here.add(ws)
    ask_others()
    person = add_tab(ws.id, visitor)
    # With the name: a worker where the visitor's last tab has just closed has forgotten it.
    tab = {"id": ws.id, "visitor": visitor, "name": person.name}
    handle.tell_workers("chat", {"type": "tab", **tab})
    if person.name:
        welcome(ws)  # another tab has chosen the name already
    else:
        ws.send_json({"type": "hello"})
    show_people()
    return HandlerStatus.HANDLED


@handle.websocket("chat")
def on_message(message: dict[str, Any], ws: WebSocket) -> None:
    """Do what a tab asks for. Anyone can send anything, so only exact matches count."""
    try:
        match message:
            case {"type": "join", "name": str(name)}:
                join(ws, name)
            case {"type": "message", "text": str(text)}:
                say(tabs[ws.id], text)
            case _:
                raise Refused("This is not something the chat understands.")
    except Refused as refusal:
        ws.send_json({"type": "error", "text": str(refusal)})


@handle.websocket_disconnect("chat")
def leave(ws: WebSocket) -> None:
    """Forget the tab, however its connection ended; a person leaves with their last one."""
    remove_tab(ws.id)
    handle.tell_workers("chat", {"type": "gone", "id": ws.id})
    show_people()


def join(ws: WebSocket, name: str) -> None:
    """Let in the person, with all the tabs they have opened so far."""
    person = tabs[ws.id]
    if person.name:  # two tabs came back at the same time and the other was first
        welcome(ws)
        return
    let_in(person, clean_name(name))
    show_people()


def let_in(person: Person, name: str) -> None:
    """Give the person their name; welcome the tabs they have here, and tell the other workers.

    Also when one of those has told us: by now it may have forgotten the name with the last tab
    there, and it has not heard it with the tabs here.
    """
    if not name or person.name:
        return
    person.name = name
    tabs_here = [tab for tab in person.tabs if tab in here]
    for tab in tabs_here:
        welcome(WebSocket(tab))
    if tabs_here:
        handle.tell_workers("chat", {"type": "name", "visitor": person.visitor, "name": name})


def clean_name(name: str) -> str:
    """Return the name as others will see it; raise Refused if nobody can be called that."""
    # Not printable includes the marks that reverse the direction of the text around them.
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if not name:
        raise Refused("Please choose a name.")
    if len(name) > MAX_NAME:
        raise Refused(f"A name has at most {MAX_NAME} characters.")
    if any(person.name.casefold() == name.casefold() for person in people.values()):
        raise Refused(f"Somebody called {name} is here already.")
    return name


def say(person: Person, text: str) -> None:
    """Show the text to everybody, as their own to the tabs of the person who wrote it."""
    text = text.strip()
    if not person.name:
        raise Refused("Please choose a name first.")
    if not text:
        raise Refused("There is nothing in this message.")
    if len(text) > MAX_TEXT:
        raise Refused(f"A message has at most {MAX_TEXT} characters.")
    message = Message(person.visitor, person.name, text)
    history.append(message)
    handle.tell_workers("chat", {"type": "said", "message": asdict(message)})
    # One text for all the others, encoded once; the author's own tabs get theirs marked.
    chat.send(json.dumps(message.seen_by(None)), exclude=person.tabs)
    for tab in person.tabs:
        WebSocket(tab).send_json(message.seen_by(person.visitor))


def welcome(ws: WebSocket) -> None:
    """Tell one tab that it is in, and what was said lately."""
    person = tabs[ws.id]
    seen = [message.seen_by(person.visitor) for message in history]
    ws.send_json({"type": "welcome", "name": person.name, "history": seen})


def show_people() -> None:
    """Tell the tabs of this worker who is there, also those whose visitor still chooses a name."""
    named = {person.visitor: person.name for person in people.values() if person.name}
    for visitor in announced.keys() - named.keys():
        here.send_json({"type": "left", "name": announced[visitor]})
    for visitor in named.keys() - announced.keys():
        here.send_json({"type": "joined", "name": named[visitor]})
    announced.clear()
    announced.update(named)
    listed = [{"name": p.name, "tabs": len(p.tabs)} for p in people.values() if p.name]
    here.send_json({"type": "people", "people": listed})


# Several workers: each learns of everybody, and shows its own tabs what it knows. If one sent the
# others' tabs what it knows, theirs could be overwritten by a list that is older.


def add_tab(id: int, visitor: str, name: str = "") -> Person:
    """Note a tab of any worker."""
    person = people.setdefault(visitor, Person(visitor))
    let_in(person, name)
    person.tabs.add(id)
    tabs[id] = person
    return person


def remove_tab(id: int) -> None:
    """Forget a tab of any worker, and with the last one its person."""
    person = tabs.pop(id, None)
    if person is not None:
        person.tabs.discard(id)
        if not person.tabs:
            del people[person.visitor]


@cache
def ask_others() -> None:
    """Ask, once, who is with the other workers and what was said there."""
    handle.tell_workers("chat", {"type": "who"})


@handle.worker_message("chat")
def on_told(told: dict[str, Any]) -> None:
    """Keep up with the other workers."""
    match told:
        case {"type": "tab", "id": id, "visitor": visitor, "name": name}:
            add_tab(id, visitor, name)
            show_people()
        case {"type": "gone", "id": id}:
            remove_tab(id)
            show_people()
        case {"type": "name", "visitor": visitor, "name": name}:
            if visitor in people:
                let_in(people[visitor], name)
                show_people()
        case {"type": "said", "message": message}:
            history.append(Message(**message))
        case {"type": "who"}:
            handle.tell_workers("chat", {"type": "here", **everything()})
        case {"type": "here", "tabs": theirs, "history": said}:
            catch_up(theirs, said)


def everything() -> dict[str, Any]:
    """Return what a worker that has just begun does not know; of tabs only those that are here."""
    persons = [(id, tabs[id]) for id in here.ids()]
    return {
        "tabs": [[id, person.visitor, person.name] for id, person in persons],
        "history": [asdict(message) for message in history],
    }


def catch_up(theirs: list[list[Any]], said: list[dict[str, Any]]) -> None:
    """Learn what another worker knows; show the tabs here what they have missed by that."""
    unknown = [tab for tab in theirs if tab[0] not in tabs]
    for id, visitor, name in unknown:
        person = add_tab(id, visitor, name)
        if person.name:
            announced[visitor] = person.name  # they were there before we asked
    known = {message.id for message in history}
    missed = [Message(**each) for each in said if each["id"] not in known]
    if missed:
        merged = sorted([*history, *missed], key=lambda message: message.time)
        history.clear()
        history.extend(merged[-50:])
        for ws in here:
            if tabs[ws.id].name:
                welcome(ws)
    if unknown:
        show_people()
