// Keys of the clip room: [keys as the browser names them, as people see them, words, what to do].
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function clipKeys(room) {
  const view = () => room.stage.view;
  const zoom = (factor) => () => { view().zoom(factor, view().pane.map((v) => v / 2)); room.refresh(); };
  const nudge = (by) => (event) => { const [x, y] = ARROWS[event.key]; room.nudge(x * by, y * by); };
  const pan = (event) => { const [x, y] = ARROWS[event.key], v = view(), held = v.toImage([0, 0]); v.move(held, [-40 * x, -40 * y]); room.refresh(); };
  const arrows = (before) => Object.keys(ARROWS).map((key) => before + key);
  return [
    [["p", "P"], "P", "play, pause", () => room.togglePlay()],
    [[","], ",", "a frame back", () => room.step(-1)],
    [["."], ".", "a frame on", () => room.step(1)],
    [["<"], "<", "ten back", () => room.step(-10)],
    [[">"], ">", "ten on", () => room.step(10)],
    [["Home"], "Home", "first frame", () => room.go(0)],
    [["End"], "End", "last frame", () => room.go(room.state.clip.frames - 1)],
    [["n"], "N", "next frame to look at", () => room.nextDoubtful(1)],
    [["N"], "⇧N", "the one before", () => room.nextDoubtful(-1)],
    [["t", "T"], "T", "place the tip: click, or arrows and Enter", () => room.setMode(room.mode === "tip" ? "look" : "tip")],
    [arrows(""), "← → ↑ ↓", "move the tip a pixel", nudge(1)],
    [arrows("Shift+"), "⇧ ←", "a tenth of a pixel", nudge(0.1)],
    [arrows("Ctrl+"), "Ctrl ←", "ten pixels", nudge(10)],
    [["Enter"], "↵", "accept the tip", () => room.accept()],
    [["v", "V"], "V", "the tip is not visible", () => room.hide()],
    [["Delete", "Backspace"], "Del", "take the label away", () => room.remove()],
    [["Ctrl+z"], "Ctrl Z", "undo", () => room.undo("undo")],
    [["Ctrl+y", "Ctrl+Shift+z"], "Ctrl Y", "redo", () => room.undo("redo")],
    [["g"], "G", "track", () => room.track()],
    [["G"], "⇧G", "re-run from here", () => room.trackFromHere()],
    [["m", "M"], "M", "ruler", () => room.setMode(room.mode === "ruler" ? "look" : "ruler")],
    [["f", "F"], "F", "fit the picture", () => { view().fit(); room.refresh(); }],
    [["+", "="], "+", "zoom in", zoom(1.25)],
    [["-"], "-", "zoom out", zoom(0.8)],
    [arrows("Alt+"), "Alt ←", "move the picture", pan],
    [["o", "O"], "O", "overlays on, off", () => { room.overlays = !room.overlays; room.refresh(); }],
    [["b", "B"], "B", "tracks beside each other", () => room.setBeside(!room.beside)],
    ...Array.from({ length: 9 }, (_, i) => [[String(i + 1)], i ? "" : "1 … 9", "a track on, off", () => room.toggleTrack(i + 1)]),
    [["Escape"], "Esc", "leave what you began", () => room.setMode("look")],
    [["?"], "?", "this list", () => document.getElementById("keys").showModal()],
  ];
}
