const HEADERS = [
  ["Strict-Transport-Security", "Never speak to this site without TLS again", "only over https"],
  ["Content-Security-Policy", "Run no script and load nothing that I did not name", "switched off"],
  ["X-Content-Type-Options", "Do not guess types", ""],
  ["X-Frame-Options", "Who may put this page into a frame", ""],
  ["Referrer-Policy", "What the next site learns about where you were", ""],
  ["Cross-Origin-Opener-Policy", "Who keeps a handle on this window", ""],
  ["Cross-Origin-Resource-Policy", "Who may embed what I serve", ""],
  ["Cross-Origin-Embedder-Policy", "Embed only what agreed to it", "only by the strict profile"],
  ["Origin-Agent-Cluster", "A process of its own", ""],
  ["Permissions-Policy", "No camera, no microphone, no USB …", ""],
];

const $ = (id) => document.getElementById(id);

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.append(text, ...children);
  return made;
}

function row([name, purpose, absence], headers) {
  const head = element("th", name, element("small", purpose));
  head.scope = "row";
  const value = headers.get(name);
  const parts = value?.split(/(?<=[;,]) /).map((part) => element("code", part));
  const cell = element("td", ...(parts ?? [`not sent${absence && `: ${absence}`}`]));
  cell.classList.toggle("absent", value === null);
  return element("tr", head, cell);
}

async function showHeaders() {
  const answer = await fetch("/", { cache: "no-store" });
  await answer.text();
  $("headers").replaceChildren(...HEADERS.map((header) => row(header, answer.headers)));
}

async function showRequest() {
  const seen = await (await fetch("/api/request")).json();
  $("seen").replaceChildren(
    ...Object.entries(seen).flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
}

function openEcho() {
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws/echo`);
  const button = $("echo").querySelector("button");
  const say = (state) => {
    $("state").textContent = state;
    button.disabled = state !== "open";
  };
  socket.addEventListener("open", () => say("open"));
  socket.addEventListener("close", () => say("closed"));
  socket.addEventListener("message", ({ data }) => {
    $("answers").prepend(element("li", data));
    [...$("answers").children].slice(4).forEach((old) => old.remove());
  });
  $("echo").addEventListener("submit", (event) => {
    event.preventDefault();
    socket.send($("message").value);
    $("message").select();
  });
}

for (const origin of document.querySelectorAll(".origin")) origin.textContent = location.origin;
openEcho();
await Promise.all([showHeaders(), showRequest()]);
