// What a page may try. A probe that works gives something true.
const STRANGER = new URLSearchParams(location.search).get("stranger");
const DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>';

const once = (target, name) => new Promise((tell) => target.addEventListener(name, tell, { once: true }));
const blob = (type, part) => URL.createObjectURL(new Blob([part], { type }));
const style = () => getComputedStyle(document.body);

function load(name, attributes) {
  const made = Object.assign(document.createElement(name), attributes);
  const loaded = once(made, "load");
  document.body.append(made);
  return loaded;
}

async function submit(action) {
  const frame = document.createElement("iframe");
  const form = document.createElement("form");
  Object.assign(form, { action, method: "post", target: frame.name = "answer" });
  document.body.append(frame, form);
  const loaded = once(frame, "load");
  form.submit();
  await loaded;
  return frame.contentDocument.title === "framed";
}

async function echo(address) {
  const socket = new WebSocket(address);
  await once(socket, "open");
  socket.send("told");
  return (await once(socket, "message")).data === "told";
}

async function passkey() {
  const challenge = crypto.getRandomValues(new Uint8Array(32));
  const made = await navigator.credentials.create({
    publicKey: {
      challenge,
      rp: { name: "site" },
      user: { id: challenge, name: "ada", displayName: "Ada" },
      pubKeyCredParams: [-7, -257].map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: { residentKey: "required" },
    },
  });
  const used = await navigator.credentials.get({ publicKey: { challenge } });
  return used.id === made.id;
}

const PROBES = {
  "an inline script": () => ran.includes("inline"),
  "a script": () => ran.includes("classic"),
  "a module that imports": () => ran.includes("module"),
  "a module imported later": async () => (await import("/part.mjs")).part === "module",
  "a script that a script adds": async () => (await load("script", { src: "/more.js" })) && ran.includes("more"),
  "a stranger's script that a script adds": () => load("script", { src: `${STRANGER}/more.js` }),
  "a script made of text": () => eval("true"),
  "WebAssembly": () => WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)),

  "a style sheet": () => style().color === "rgb(1, 2, 3)",
  "an inline style": () => style().backgroundColor === "rgb(4, 5, 6)",
  "a style that a script sets": () => (document.body.style.margin = "7px") && style().marginTop === "7px",
  "a rule that a script adds": () => document.styleSheets[0].insertRule("p { margin: 0 }") === 0,
  "a style attribute": () => document.body.setAttribute("style", "margin: 7px") ?? style().marginTop === "7px",

  "a font": () => new FontFace("tiny", "url(/tiny.woff2)").load(),
  "a data: font": () => new FontFace("tiny", "url(data:font/woff2;base64,AAAA)").load(),
  "an image": () => load("img", { src: "/dot.svg" }),
  "a data: image": () => load("img", { src: `data:image/svg+xml,${encodeURIComponent(DOT)}` }),
  "a blob: image": () => load("img", { src: blob("image/svg+xml", DOT) }),
  "a stranger's image": () => load("img", { src: STRANGER }),
  "a sound": () => once(new Audio("/silence.wav"), "loadedmetadata"),
  "a blob: sound": () => once(new Audio(blob("audio/wav", "")), "loadedmetadata"),

  "a request": async () => (await fetch("/data")).ok,
  "a stranger's answer": () => fetch(STRANGER),
  "a beacon": () => navigator.sendBeacon("/data", "told"),
  "events": () => once(new EventSource("/events"), "message"),
  "a websocket": () => echo("/echo"),
  "a stranger's websocket": () => echo(STRANGER),
  "a prefetched page": () => load("link", { rel: "prefetch", href: "/framed" }),
  "a form answered in a frame": () => submit("/framed"),
  "a form to a stranger": () => submit(STRANGER),

  "a frame": () => load("iframe", { src: "/framed" }),
  "a frame with its page in an attribute": () => load("iframe", { srcdoc: "framed" }),
  "a stranger's frame": () => load("iframe", { src: STRANGER }),
  "a plugin": () => load("object", { data: "/framed" }),
  "a worker": () => once(new Worker("/worker.js"), "message"),
  "a blob: worker": () => once(new Worker(blob("text/javascript", "postMessage(1)")), "message"),
  "a service worker": async () => (await navigator.serviceWorker.register("/service.js")).unregister(),

  "the clipboard": async () => {
    await navigator.clipboard.writeText("kept");
    return (await navigator.clipboard.readText()) === "kept";
  },
  "a passkey": passkey,
};

// Tells "works", or which directive refused. What comes from the developer tools may eval(), hence the task of its own.
async function attempt(name) {
  const refused = new Promise((tell) => {
    addEventListener("securitypolicyviolation", (event) => tell(event.effectiveDirective), { once: true });
  });
  await new Promise((start) => setTimeout(start));
  const tried = new Promise((tell) => tell(PROBES[name]()));
  return Promise.race([refused, tried.then((truth) => (truth ? "works" : refused), () => refused)]);
}
