// The page: theme, connection, and the room that the console opened.
import { byId } from "./dom.js";
import { listen } from "./keys.js";
import { banner } from "./notices.js";
import { Socket } from "./socket.js";
import { startTheme } from "./theme.js";
import { clipKeys } from "./clip/keys.js";
import { ClipRoom } from "./clip/room.js";

const GONE_AFTER_MS = 300;
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
      banner("gone", "The console does not answer. What you labelled is saved. If you ended it, start it again and open its new address. This page tries again by itself.");
      room?.closed();
    }, GONE_AFTER_MS);
  },
  picture: (header, bytes) => room?.player.took(header, bytes),
  word: (word) => {
    if (word.t === "hello" && !room) {
      room = new ClipRoom(byId("room"), socket);
      listen(clipKeys(room));
    }
    room?.hear(word);
    if (room) document.documentElement.dataset.ready = "1";
  },
});

startTheme(() => room?.refresh());
addEventListener("beforeunload", (event) => {
  room?.flushNudge();
  if (room?.state.unsaved.size) event.preventDefault(); // the browser asks whether to leave
});
