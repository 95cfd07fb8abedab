// The page: theme, connection, and the room that the console opened.
import { byId, el } from "./dom.js";
import { listen } from "./keys.js";
import { banner } from "./notices.js";
import { Socket } from "./socket.js";
import { startTheme } from "./theme.js";
import { clipKeys } from "./clip/keys.js";
import { ClipRoom } from "./clip/room.js";
import { liveKeys } from "./live/keys.js";
import { LiveRoom } from "./live/room.js";
import { replayKeys } from "./replay/keys.js";
import { ReplayRoom } from "./replay/room.js";

const GONE_AFTER_MS = 300;
const ROOMS = { clip: ["Clip", ClipRoom, clipKeys], live: ["Live", LiveRoom, liveKeys], replay: ["Replay", ReplayRoom, replayKeys] };
let room = null, gone = null;

const socket = new Socket({
  open: () => {
    clearTimeout(gone);
    banner("gone");
    room?.opened();
  },
  closed: () => {
    clearTimeout(gone);
    gone = setTimeout(() => {
      banner("gone", room?.over ? "" : room?.gone ?? "The console does not answer. What you labelled is saved. If you ended it, start it again and open its new address. This page tries again by itself.");
      room?.closed();
    }, GONE_AFTER_MS);
  },
  picture: (header, bytes) => room?.picture(header, bytes),
  word: (word) => {
    if (word.t === "hello" && !room) enter(word.room);
    room?.hear(word);
    if (room) document.documentElement.dataset.ready = "1";
  },
});

/** Make the room that the console serves. */
function enter(name) {
  const [title, Room, keys] = ROOMS[name];
  byId("rooms").replaceChildren(el("a", { href: `#${name}`, "aria-current": "page" }, title));
  room = new Room(byId("room"), socket);
  listen(keys(room));
}

startTheme(() => room?.refresh());
addEventListener("beforeunload", (event) => {
  if (room?.leaving?.()) event.preventDefault(); // the browser asks whether to leave
});
