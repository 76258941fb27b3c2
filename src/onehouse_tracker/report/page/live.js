// Follows the server that the page came from, while anybody looks at it.

const RETRY = 2000;
let stream = null;
let over = false;
let again = null;

function say(state, text) {
  const box = $("connection");
  box.hidden = false;
  if (box.dataset.is !== state) Object.assign(box.dataset, { is: state });
  if (box.textContent !== text) box.textContent = text;
}

function connect() {
  clearTimeout(again);
  if (stream !== null || over || document.hidden) return;
  stream = new EventSource(`events?since=${encodeURIComponent(model.head.version)}`);
  stream.addEventListener("open", () => say("live", "Live"));
  stream.addEventListener("view", (event) => receive(JSON.parse(event.data)));
  stream.addEventListener("over", () => {
    over = true;
    disconnect();
    say("over", "Ended");
    schedule();
  });
  stream.addEventListener("error", () => {
    disconnect();
    say("lost", "Connection lost; trying again");
    again = setTimeout(connect, RETRY);
  });
}

function disconnect() {
  stream?.close();
  stream = null;
  // The clock stands: nobody knows what goes on.
  model.head.now = now();
  running = false;
}

function receive(view) {
  take(view);
  receivedAt = performance.now();
  running = true;
  schedule();
}

function startLive() {
  say("lost", "Connecting");
  // A browser opens few connections to one server: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect();
    else connect();
  });
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", connect);
  setInterval(() => {
    if (running) schedule();
  }, 1000);
  connect();
}
