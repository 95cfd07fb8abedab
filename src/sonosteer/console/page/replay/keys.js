// Keys of the replay room: [keys as the browser names them, as people see them, words, what to do].
export function replayKeys(room) {
  const zoom = (factor) => () => room.zoom(factor);
  const pan = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  return [
    [["p", "P"], "P", "play, pause", () => room.togglePlay()],
    [[",", "ArrowLeft"], ", ←", "a picture back", () => room.step(-1)],
    [[".", "ArrowRight"], ". →", "a picture on", () => room.step(1)],
    [["<", "PageDown"], "<", "ten back", () => room.step(-10)],
    [[">", "PageUp"], ">", "ten on", () => room.step(10)],
    [["Home"], "Home", "the beginning", () => room.go(0)],
    [["End"], "End", "the end", () => room.go(room.until)],
    [["n"], "N", "next refusal, stop or event", () => room.nextMoment(1)],
    [["N"], "⇧N", "the one before", () => room.nextMoment(-1)],
    [["a", "A"], "A", "tip as it was known, or of this very picture", () => room.setAligned(!room.aligned)],
    [["o", "O"], "O", "overlays on, off", () => room.setOverlays(!room.overlays)],
    [["f", "F"], "F", "fit the picture", () => room.fit()],
    [["+", "="], "+", "zoom in", zoom(1.25)],
    [["-"], "-", "zoom out", zoom(0.8)],
    [Object.keys(pan).map((key) => `Alt+${key}`), "Alt ←", "move the picture", (event) => room.pan(...pan[event.key])],
    [["?"], "?", "this list", () => document.getElementById("keys").showModal()],
  ];
}
