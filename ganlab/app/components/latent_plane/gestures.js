// Pointer, wheel and keys of a plane, as calls of its `grab`, `pan`, `let go`, `zoom`, `step` and so on.

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CLICK = 5; // pixels that a pointer may move and still click

export function listen(stage, view) {
  const held = new Map(); // pointers that are down: id -> [x, y]
  let from = null, moved = 0, spread = 0;

  const distance = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };

  stage.onpointerdown = (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
    held.set(event.pointerId, [event.clientX, event.clientY]);
    if (held.size === 2) spread = distance();
    [from, moved] = [event.composedPath()[0].closest(".frame, .map"), 0];
    stage.classList.add("held");
    view.grab();
    event.preventDefault();
  };
  stage.onpointermove = (event) => {
    const last = held.get(event.pointerId);
    if (!last || !from) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    held.set(event.pointerId, [event.clientX, event.clientY]);
    moved += Math.hypot(dx, dy);
    if (held.size === 2) {
      const now = distance();
      view.zoom(now / spread, event);
      spread = now;
    }
    view.pan(dx / held.size, dy / held.size, from, event);
  };
  stage.onpointerup = stage.onpointercancel = (event) => {
    if (!held.delete(event.pointerId) || held.size) return;
    stage.classList.remove("held");
    const box = from?.getBoundingClientRect();
    if (from?.matches(".map") && moved < CLICK && event.type === "pointerup") {
      view.glideBy(event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2, event);
    } else {
      view.letGo(event);
    }
  };
  stage.onwheel = (event) => {
    if (!event.ctrlKey && !stage.matches(":focus")) return; // until the plane is in use, the page scrolls
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 500)), event);
  };
  stage.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) view.step(...KEYS[event.key].map((d) => d * (event.shiftKey ? 4 : 1)), event);
    else if (event.key === "+" || event.key === "=") view.zoom(1.25, event);
    else if (event.key === "-") view.zoom(1 / 1.25, event);
    else if (event.key === "Home") view.home(event);
    else if (event.key === " ") view.toggle();
    else return;
    event.preventDefault();
  };
}
