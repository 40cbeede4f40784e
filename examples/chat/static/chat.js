// The page of the chat. The messages it exchanges with the server are listed in app.py.
//
// Everything that people write reaches the page as textContent, never as HTML.

const MAX_TEXT = 2000;
const FIRST_DELAY = 500; // ms before the first attempt to reconnect; doubled each time ...
const LAST_DELAY = 15_000; // ... up to this
const TOGETHER = 5 * 60_000; // ms: messages of one author this close need no second heading

const $ = (id) => document.getElementById(id);

let socket = null;
let attempts = 0; // to connect, since the server last answered
let retry = 0; // the timer of the next one
let myName = null; // the last one that the server has welcomed
let inside = false; // welcomed on this connection
let last = null; // the message at the end of the list, if that is not a system line
let unread = 0; // messages that came while another tab was in front
const shown = new Set(); // ids of messages on the page: history repeats some on a reconnect

// Storage may be switched off, so that looking for it fails; the chat works without.
const storeIn = (area) => ({
  get(key) { try { return area().getItem(key); } catch { return null; } },
  set(key, value) { try { area().setItem(key, value); } catch { /* not remembered */ } },
});
const store = storeIn(() => localStorage);
const tabStore = storeIn(() => sessionStorage); // of this tab alone, also when it is loaded anew

// --- the connection -------------------------------------------------------------------------

function connect() {
  clearTimeout(retry);
  const url = new URL("chat", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    on[message.type]?.(message);
  };
  socket.onclose = () => {
    // Random, so that everyone does not come back to a restarted server in the same instant.
    const delay = Math.min(LAST_DELAY, FIRST_DELAY * 2 ** attempts) * (0.5 + Math.random() / 2);
    if (inside) addSystemLine("The connection was lost");
    inside = false;
    attempts += 1;
    showConnection("offline", "Reconnecting…");
    retry = setTimeout(connect, delay);
  };
}

function connectNow() {
  if (socket.readyState === WebSocket.CLOSED) connect();
}

function send(message) {
  if (socket.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

function answered() {
  attempts = 0;
  showConnection("online", "Connected");
}

const on = {
  hello() {
    answered();
    // The server does not know us any more, but it did: the name need not be chosen again.
    const name = myName ?? tabStore.get("name");
    if (name !== null) send({ type: "join", name });
  },

  welcome({ name, history }) {
    answered();
    if (myName !== null) addSystemLine("Connected again");
    inside = true;
    myName = name;
    store.set("name", name);
    tabStore.set("name", name);
    history.forEach(addMessage);
    showRoom(true);
  },

  people({ people }) {
    showPeople(people);
  },

  message(message) {
    if (!inside) return; // it will be part of the history
    addMessage(message);
    if (document.hidden) showUnread(unread + 1);
  },

  joined({ name }) {
    if (inside) addSystemLine(name === myName ? "You joined" : `${name} joined`);
  },

  left({ name }) {
    if (inside) addSystemLine(`${name} left`);
  },

  error({ text }) {
    if (inside) {
      addSystemLine(text, "error");
    } else {
      showRoom(false); // also when the name was taken while we were away
      showJoinError(text);
    }
  },
};

// --- what is on the page --------------------------------------------------------------------

/** A new element. Strings among the children become text, whatever they contain. */
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/** A round picture with the initials, in a colour that is always the same for a name. */
function avatar(name) {
  const words = name.split(" ");
  const ends = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  const made = element("span", "avatar", ends.map((word) => [...word][0]).join("").toUpperCase());
  made.setAttribute("aria-hidden", "true");
  colour(made, name);
  return made;
}

function colour(target, name) {
  let hash = 0;
  for (const character of name) hash = (hash * 137 + character.codePointAt(0) * 61) % 360;
  target.style.setProperty("--hue", hash);
}

function clock(milliseconds) {
  const date = new Date(milliseconds);
  const made = element("time", "");
  made.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  made.dateTime = date.toISOString();
  made.title = date.toLocaleString();
  return made;
}

function addMessage(message) {
  if (shown.has(message.id)) return;
  shown.add(message.id);
  const follows = last !== null && last.own === message.own && last.name === message.name
    && message.time - last.time < TOGETHER;
  const author = element("span", "author", message.own ? "You" : message.name);
  colour(author, message.name);
  const item = element(
    "li",
    `message${message.own ? " own" : ""}${follows ? " follows" : ""}`,
    avatar(message.name),
    element("div", "head", author, clock(message.time)),
    element("p", "bubble", message.text),
  );
  append(item, message.own);
  last = message;
}

function addSystemLine(text, kind = "") {
  append(element("li", `system ${kind}`, element("span", "", text)), false);
  last = null;
}

function append(item, follow) {
  const scroller = $("scroller");
  // Who reads something further up is not to be moved away from it.
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  $("messages").append(item);
  $("empty").hidden = true;
  if (atEnd || follow) scrollToEnd();
  else $("newer").hidden = false;
}

function scrollToEnd() {
  $("scroller").scrollTop = $("scroller").scrollHeight;
  $("newer").hidden = true;
}

function showPeople(people) {
  const byName = people.toSorted(
    (a, b) => (b.name === myName) - (a.name === myName) || a.name.localeCompare(b.name),
  );
  $("people").replaceChildren(...byName.map(({ name, tabs }) => {
    const notes = [name === myName ? "you" : "", tabs > 1 ? `${tabs} tabs` : ""].filter(Boolean);
    const who = element("div", "who", element("span", "", name));
    if (notes.length > 0) who.append(element("span", "note", notes.join(", ")));
    return element("li", "", avatar(name), who);
  }));
  $("count").textContent = people.length;
  const names = new Intl.ListFormat("en").format(byName.map(({ name }) => name));
  $("join-who").textContent = people.length === 0
    ? "Nobody is here yet. You will be the first."
    : `${names} ${people.length === 1 ? "is" : "are"} here.`;
}

/** The conversation, or else the door in front of it. */
function showRoom(open) {
  if ($("room").hidden !== open) return;
  $("door").hidden = open;
  $("room").hidden = !open;
  if (open) scrollToEnd();
  $(open ? "text" : "name").focus();
}

function showJoinError(text) {
  $("join-error").textContent = text;
  $("name").setAttribute("aria-invalid", text === "" ? "false" : "true");
  if (text !== "") $("name").focus();
}

function showConnection(state, text) {
  $("connection").dataset.state = state;
  $("connection").textContent = text;
  for (const form of [$("join"), $("compose")]) {
    form.querySelector("[type=submit]").disabled = state !== "online";
  }
}

function showUnread(count) {
  unread = count;
  document.title = count > 0 ? `(${count}) Chat` : "Chat";
}

function showLeft() {
  const left = MAX_TEXT - $("text").value.length;
  $("left").textContent = left <= 200 ? `${left} characters left` : "";
}

// --- what people do -------------------------------------------------------------------------

$("join").onsubmit = (event) => {
  event.preventDefault();
  showJoinError("");
  send({ type: "join", name: $("name").value });
};

$("compose").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  // What cannot be sent now stays in the box.
  if (text !== "" && !send({ type: "message", text })) return;
  $("text").value = "";
  showLeft();
  $("text").focus();
};

$("text").oninput = showLeft;
$("text").onkeydown = (event) => {
  // Enter sends, Shift+Enter is a new line, and the Enter that ends a composition is neither.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("compose").requestSubmit();
};

$("newer").onclick = scrollToEnd;
$("scroller").onscroll = () => {
  const { scrollHeight, scrollTop, clientHeight } = $("scroller");
  if (scrollHeight - scrollTop - clientHeight < 8) $("newer").hidden = true;
};

$("theme").onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  store.set("theme", document.documentElement.dataset.theme);
};

addEventListener("online", connectNow);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  showUnread(0);
  connectNow(); // timers of a tab in the background are slow
});

document.documentElement.dataset.theme = store.get("theme") ?? "";
$("name").value = store.get("name") ?? "";
$("name").focus();
connect();
