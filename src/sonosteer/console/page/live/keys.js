// Keys of the live room. STOP, Release and Start are listened to by the room itself, before everything else.
export function liveKeys(room) {
  const nothing = () => {};
  const zoom = (factor) => () => room.zoom(factor);
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  return [
    [[], "Space Esc", "STOP, from anywhere, also in a field", nothing],
    [[], "R", "hold for 1 s: release the stop", nothing],
    [[], "Enter", "hold for 1 s: start, or go on", nothing],
    [["h", "H"], "H", "hold: everything waits, nothing is latched", () => room.ask("hold")],
    [["a", "A"], "A", "newest picture, or that of the tip", () => room.setAligned(!room.aligned)],
    [["o", "O"], "O", "overlays on, off", () => room.setOverlays(!room.overlays)],
    [["t", "T"], "T", "before the start: target here", () => room.placeTarget(room.at)],
    [["k", "K"], "K", "before the start: keep out here", () => room.placeRegion(room.at, Number(room.panels.radius.value))],
    [Object.keys(way), "← →", "before the start: move the cross by 1 mm", (event) => room.moveCursor(...way[event.key])],
    [["f", "F"], "F", "fit the picture", () => room.fit()],
    [["+", "="], "+", "zoom in", zoom(1.25)],
    [["-"], "-", "zoom out", zoom(0.8)],
    [Object.keys(way).map((key) => `Alt+${key}`), "Alt ←", "move the picture", (event) => room.pan(...way[event.key.replace("Alt+", "")])],
    [["?"], "?", "this list", () => document.getElementById("keys").showModal()],
  ];
}
