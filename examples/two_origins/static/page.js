"use strict";

const api = document.body.dataset.api;
const credentials = "include";

const json = {
  method: "POST",
  credentials,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ text: "a note from the page" }),
};

async function read(path, options) {
  const answer = await fetch(api + path, options);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.text();
}

function listen() {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(api.replace("http", "ws") + "/ws");
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = () => reject(new Error("refused"));
  });
}

// Each in turn: what is written first is read afterwards.
const attempts = [
  ["log in, with a cookie", () => read("/login", { method: "POST", credentials })],
  ["write a note as JSON, after a preflight", () => read("/notes", json)],
  ["read the notes, with the cookie", () => read("/notes", { credentials })],
  ["read what is for everybody", () => read("/public/logo.svg")],
  ["delete, which nobody may", () => read("/notes", { method: "DELETE" })],
  ["open a websocket", listen],
];

async function main() {
  document.querySelector("#origin").textContent = location.origin;
  for (const [what, attempt] of attempts) {
    const row = document.querySelector("#results").insertRow();
    row.insertCell().textContent = what;
    const cell = row.insertCell();
    try {
      cell.textContent = `allowed: ${await attempt()}`;
      cell.className = "allowed";
    } catch (error) {
      cell.textContent = `blocked: ${error.message}`;
      cell.className = "blocked";
    }
  }
  document.title = "done";
}

main();
