// The same pictures at each snapshot of a training: a slider over time, and a film of it. wall.js is put before this.

const PLAY = "M8 5v14l11-7z", PAUSE = "M6 5h4v14H6zm8 0h4v14h-4z";
const FILM_MS = 6000, FRAME_MS = [120, 500]; // the whole film about, and one of its pictures
const HOLD_MS = 1500; // the last one
const views = new WeakMap();

class View {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    Object.assign(this, { canvas: find("canvas"), wall: find(".wall"), buttons: find(".buttons"), play: find(".play") });
    Object.assign(this, { slider: find(".slider"), ends: find(".ends"), title: find(".now strong"), words: find(".now span") });
    this.images = new Map(); // data URL -> image
    this.data = this.timer = null;
    this.slider.oninput = () => {
      this.pause();
      this.show(Number(this.slider.value));
    };
    this.slider.onchange = () => this.tell();
    this.play.onclick = () => (this.timer ? this.pause(true) : this.run());
  }

  get last() {
    return this.data.steps.length - 1;
  }

  // New data from Python. The step that is shown stays, but who looks at the newest one goes on to a newer one.
  async update(data, report) {
    const before = this.data, shown = before?.steps[this.at], wasLast = before && this.at === this.last;
    const images = await Promise.all(data.frames.map((url) => this.images.get(url) ?? decoded(url)));
    this.images = new Map(data.frames.map((url, i) => [url, images[i]]));
    [this.data, this.report] = [data, report];
    this.wall.style.setProperty("--columns", data.columns);
    this.slider.max = this.last;
    [this.ends.firstChild.textContent, this.ends.lastChild.textContent] = data.ends;
    showButtons(this.buttons, { ...data, chosen: null }, (i) => report.pick(i));
    const kept = data.steps.indexOf(shown), start = data.steps.indexOf(data.start);
    const follows = wasLast && !this.timer && start === this.last;
    const isOrder = before && before.start !== data.start && start !== this.last;
    this.show(kept < 0 || follows || isOrder ? start : kept);
    this.showPlaying();
  }

  show(at) {
    this.at = at;
    const { frames, titles, words } = this.data;
    paint(this.canvas, this.images.get(frames[at]), this.data);
    this.canvas.dataset.step = this.data.steps[at];
    this.slider.value = at;
    this.slider.setAttribute("aria-valuetext", `${titles[at]}, ${words[at]}`);
    [this.title.textContent, this.words.textContent] = [titles[at], words[at]];
  }

  // --- the film ----------------------------------------------------------------------------------------------------

  run() {
    if (this.at === this.last) this.show(0);
    this.wait();
    this.showPlaying();
  }

  wait() {
    const ms = Math.min(Math.max(FILM_MS / this.last, FRAME_MS[0]), FRAME_MS[1]);
    this.timer = setTimeout(() => {
      if (!this.canvas.isConnected) return;
      this.show(this.at === this.last ? 0 : this.at + 1);
      this.wait();
    }, this.at === this.last ? HOLD_MS : ms);
  }

  pause(tells = false) {
    clearTimeout(this.timer);
    this.timer = null;
    this.showPlaying();
    if (tells) this.tell();
  }

  showPlaying() {
    this.play.querySelector("path").setAttribute("d", this.timer ? PAUSE : PLAY);
    this.play.querySelector("span").textContent = this.timer ? "Pause" : "Play";
  }

  tell() {
    this.report.step(this.data.steps[this.at]);
  }
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".time");
  if (!views.has(root)) views.set(root, new View(root));
  const view = views.get(root);
  view.update(data, {
    step: (step) => setStateValue("step", step),
    pick: (i) => setTriggerValue("picked", i),
  });
}
