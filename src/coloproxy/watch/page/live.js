// The proxy's side of the page: what it told so far, and what it tells now (server-sent events).

const PATIENCE = 5000; // milliseconds without a picture after which it is no longer of now
const AGAIN = 1000; // milliseconds after which a lost connection is tried again
const POINTS = 1200;

export const NO_ANSWER = ["The proxy does not answer.", "As soon as it does, its list is here. The page tries again by itself."];

// A guest's host that is not the primary compares nothing: where that is done, if it is anywhere.
export function elsewhere() {
  const guest = store.now?.picture.guest;
  if (!guest || guest.role === "primary") return null;
  return guest.role === "secondary" ? `The primary compares: this is on the page of host ${guest.other}.` : "The primary compares, and this host is none.";
}

export const store = {
  state: "loading", // loading, live, lost
  opened: Date.now() / 1000,
  caughtUp: false, // whether what happened before is known
  hello: null,
  now: null,
  points: {},
  marks: [],
  divergences: new Map(), // by number
  connections: null,
  streams: null,
};

const listeners = new Map();
let source = null;
let query = "";
let timer = 0;
let watchdog = 0;
let behind = true; // whether something happened that could not be had yet

export function on(name, call) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(call);
  return () => listeners.get(name).delete(call);
}

function emit(name, data) {
  for (const call of listeners.get(name) ?? []) call(data);
}

function turn(state) {
  if (store.state !== state) {
    store.state = state;
    emit("state", state);
  }
}

export async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => { throw new Error("the proxy does not answer"); });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? `status ${answer.status}`);
  return said;
}

// What happened before this page was opened, or while it was cut off.
async function catchUp() {
  behind = true;
  const [history, divergences] = await Promise.all([ask("api/history"), ask("api/divergences")]);
  store.points = history.points;
  store.marks = history.marks;
  store.divergences = new Map(divergences.map((each) => [each.number, each]));
  store.caughtUp = true;
  behind = false;
  emit("history");
  emit("divergences");
}

// Listen, to what this view needs: {connections, streams}.
export function listen(wanted) {
  const params = new URLSearchParams();
  if (wanted.connections) params.set("connections", "");
  if (wanted.streams) params.set("streams", wanted.streams);
  if (source && query === params.toString()) return;
  query = params.toString();
  store.streams = null;
  open();
}

function open() {
  clearTimeout(timer);
  source?.close();
  source = new EventSource(`api/live?${query}`);
  watchdog ||= setTimeout(dead, PATIENCE);
  source.onerror = () => {
    if (store.now) turn("lost");
    if (source.readyState === EventSource.CLOSED) again();
  };
  const hear = (name, call) => source.addEventListener(name, (event) => call(JSON.parse(event.data)));
  hear("hello", async (hello) => {
    const other = store.hello && store.hello.started !== hello.started;
    store.hello = hello;
    emit("hello", hello);
    if (store.state !== "live" || other || behind) await catchUp().catch(again);
  });
  hear("picture", (now) => {
    if (!now.picture) return;
    store.now = now;
    if (!now.alive) { turn("lost"); emit("picture", now); return; } // the last there was, from a proxy that is silent
    if (now.point && store.points.time) {
      for (const [name, value] of Object.entries(now.point)) {
        store.points[name].push(value);
        if (store.points[name].length > POINTS) store.points[name].shift();
      }
    }
    alive();
    emit("picture", now);
  });
  hear("mark", (mark) => { store.marks.push(mark); emit("mark", mark); });
  hear("divergence", (told) => { store.divergences.set(told.number, told); emit("divergences"); });
  hear("evidence", (told) => emit("evidence", told));
  hear("connections", (told) => { store.connections = told; emit("connections", told); });
  hear("streams", (told) => { store.streams = told; emit("streams", told); });
}

function alive() {
  turn("live");
  clearTimeout(watchdog);
  watchdog = setTimeout(dead, PATIENCE);
}

function dead() {
  watchdog = 0;
  turn("lost");
  again();
}

function again() {
  clearTimeout(timer);
  timer = setTimeout(open, AGAIN);
}
