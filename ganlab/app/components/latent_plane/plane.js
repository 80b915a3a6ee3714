// The plane of pictures: a large one, and a map of tiles around it. Both are dragged.
// lattice.js, tiles.js and gestures.js are put before this file; generators come from ../generator.

const SPACING = 0.25; // between tiles at zoom 1, in units of the plane, as in ganlab/lattice.py
const GAP = 2; // between tiles, in pixels of the page
const ZOOM = [0.25, 16];
const TILE_MS = 7; // of each frame, for tiles
const REST_MS = 300; // without motion, after which Python hears the place
const LOOP_S = 60; // of a walk at speed 1
const PLAY = "M8 5v14l11-7z", PAUSE = "M6 5h4v14H6zm8 0h4v14h-4z";
const still = matchMedia("(prefers-reduced-motion: reduce)");
const views = new WeakMap();

class View {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    Object.assign(this, { root, stage: find(".stage"), picture: find(".picture"), map: find(".map"), note: find(".note") });
    Object.assign(this, { play: find(".play"), speed: find(".speed"), where: find(".where"), said: find(".said") });
    this.canvas = this.map.querySelector("canvas");
    [this.x, this.y, this.size] = [0, 0, 1];
    this.velocity = [0, 0];
    this.target = this.walk = this.engine = this.start = null;
    this.drawn = 0;
    listen(this.stage, this);
    this.play.onclick = () => this.toggle();
    find(".out").onclick = () => this.zoom(1 / 1.5);
    find(".in").onclick = () => this.zoom(1.5);
    find(".home").onclick = () => this.home();
    this.observer = new ResizeObserver(() => this.ask());
  }

  // New data from Python. What did not change stays: the place above all.
  async update(data, report) {
    [this.data, this.report] = [data, report];
    if (!this.tiles || this.tiles.width !== data.width || this.tiles.height !== data.height) {
      [this.picture.width, this.picture.height] = [data.width, data.height];
      this.image = new ImageData(data.width, data.height);
      this.tiles = new Tiles(data.width, data.height);
    }
    const shows = JSON.stringify([data.generator, data.plane, data.y, data.truncation]);
    if (shows !== this.shows) {
      this.tiles.clear();
      const { seed, prior, anchors } = data.plane;
      this.at = anchors ? through(...anchors) : endless(seed, data.latentDim, prior);
      [this.shows, this.z] = [shows, new Float32Array(data.latentDim)];
      this.classes = data.y && Float32Array.from(data.y);
    }
    const start = JSON.stringify(data.start);
    if (start !== this.start) {
      this.start = start;
      this.pause();
      [this.x, this.y, this.size] = data.start;
    }
    if (this.speed.dataset.given !== String(data.speed)) {
      this.speed.dataset.given = data.speed;
      this.speed.value = Math.log2(data.speed);
    }
    this.stage.setAttribute("aria-label", `${data.label}. Arrow keys move, plus and minus zoom, space starts a walk.`);
    this.note.hidden = !data.reason;
    this.note.textContent = data.reason;
    this.showPlaying();
    this.observer.observe(this.map);
    this.engine = null;
    if (data.generator) {
      const engine = await this.generator(data.generator);
      if (this.shows === shows) this.engine = engine;
    }
    this.served = data.served && (await this.serve(data.served));
    this.dirty = true;
    this.ask();
  }

  async generator(id) {
    while (!globalThis.ganlab) await new Promise(requestAnimationFrame); // its component may come after this one
    if (globalThis.ganlab.isAble()) return globalThis.ganlab.generator(id);
    this.report("unable", true);
    return null;
  }

  // Pictures that the server drew: tiles around a place, and the one there.
  async serve(served) {
    const { sprite, columns, rows, level, i, j } = served;
    const image = new Image();
    image.src = sprite;
    await image.decode();
    const { width, height } = this.tiles;
    for (let k = 0; k < columns * rows; k++) {
      const key = `${level},${i + (k % columns)},${j + Math.floor(k / columns)}`;
      if (!this.tiles.has(key)) this.tiles.copy(key, image, (k % columns) * width, Math.floor(k / columns) * height);
    }
    return { ...served, image };
  }

  // --- where ---------------------------------------------------------------------------------------------------------

  get level() {
    return Math.floor(Math.log2(this.size) + 1e-9);
  }

  get spacing() {
    return SPACING / 2 ** this.level;
  }

  // Pixels of the page between the corners of two tiles.
  get pitch() {
    const tile = this.data.width * Math.max(1, Math.round(56 / this.data.width)) + GAP;
    return (tile * this.size) / 2 ** this.level;
  }

  // Units of the plane that a pixel of the map, or of the picture, is worth.
  perPixel(area) {
    return area === this.map ? this.spacing / this.pitch : 1 / (this.size * area.clientWidth);
  }

  get pace() {
    return 2 ** this.speed.value;
  }

  // --- what gestures do ----------------------------------------------------------------------------------------------

  grab() {
    this.pause();
    [this.target, this.velocity] = [null, [0, 0]];
  }

  pan(dx, dy, area, event) {
    const factor = -this.perPixel(area), ms = Math.max(1, event.timeStamp - (this.panned ?? 0));
    this.velocity = [dx, dy].map((d, i) => 0.6 * ((d * factor) / ms) + 0.4 * this.velocity[i]);
    this.panned = event.timeStamp;
    this.moveTo(this.x + dx * factor, this.y + dy * factor, event);
  }

  letGo(event) {
    if (still.matches || event.timeStamp - this.panned > 60) this.velocity = [0, 0];
    this.mayRest(); // the hand may have been still for long
    this.ask();
  }

  glideBy(dx, dy, event) {
    const factor = this.perPixel(this.map);
    this.glideTo(this.x + dx * factor, this.y + dy * factor, event);
  }

  glideTo(x, y, event) {
    this.pause();
    if (still.matches) return this.moveTo(x, y, event);
    this.target = [x, y];
    this.heard(event);
    this.ask();
  }

  step(dx, dy, event) {
    const [x, y] = this.target ?? [this.x, this.y], far = this.spacing * this.pace;
    this.glideTo(x + dx * far, y + dy * far, event);
  }

  zoom(factor, event) {
    this.size = Math.min(Math.max(this.size * factor, ZOOM[0]), ZOOM[1]);
    if (Math.abs(Math.log2(this.size) - Math.round(Math.log2(this.size))) < 0.02) {
      this.size = 2 ** Math.round(Math.log2(this.size)); // where tiles are sharp
    }
    this.moveTo(this.x, this.y, event);
  }

  home(event) {
    this.size = this.data.start[2];
    this.glideTo(this.data.start[0], this.data.start[1], event);
  }

  moveTo(x, y, event) {
    [this.x, this.y] = [x, y];
    this.heard(event);
    this.dirty = true;
    this.ask();
  }

  heard(event) {
    this.since ??= event?.timeStamp;
  }

  // --- the walk ------------------------------------------------------------------------------------------------------

  toggle() {
    if (this.walk) return this.pause();
    [this.target, this.velocity] = [null, [0, 0]];
    this.walk = { x: this.x, y: this.y, t: 0 };
    this.showPlaying();
    this.ask();
  }

  pause() {
    this.walk = null;
    this.showPlaying();
    this.mayRest();
    this.ask();
  }

  showPlaying() {
    this.play.querySelector("path").setAttribute("d", this.walk ? PAUSE : PLAY);
    this.play.querySelector("span").textContent = this.walk ? "Pause" : "Walk";
    this.play.title = this.walk ? "Pause (space)" : "A closed walk through the plane that plays by itself (space)";
  }

  // One frame later: `ms` since the last. Says whether it goes on.
  advance(ms) {
    if (this.walk) {
      const { x, y } = this.walk, keys = this.data.walk;
      this.walk.t += (ms * this.pace) / (1000 * LOOP_S);
      const t = still.matches ? Math.floor(this.walk.t * keys.length) / keys.length : this.walk.t; // from key to key
      const [dx, dy] = along(keys, t);
      [this.x, this.y] = [x + dx / this.size, y + dy / this.size];
    } else if (this.target) {
      const near = Math.exp(-ms / 70), [x, y] = this.target;
      [this.x, this.y] = [x + (this.x - x) * near, y + (this.y - y) * near];
      if (Math.hypot(this.x - x, this.y - y) < this.spacing / 200) [this.x, this.y, this.target] = [x, y, null];
    } else if (!this.stage.matches(".held") && Math.hypot(...this.velocity) * this.size > 2e-5) {
      [this.x, this.y] = [this.x + this.velocity[0] * ms, this.y + this.velocity[1] * ms];
      this.velocity = this.velocity.map((v) => v * Math.exp(-ms / 250));
    } else {
      return false;
    }
    this.dirty = true;
    return true;
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  ask() {
    this.frame ??= requestAnimationFrame((now) => {
      this.frame = null;
      const goes = this.advance(Math.min(50, now - (this.last ?? now - 16)));
      this.last = goes ? now : null;
      const drew = this.dirty;
      if (drew) this.drawPicture();
      const missing = this.drawMap();
      if (drew) this.tell();
      if (goes || missing) this.ask();
    });
  }

  generate(x, y) {
    return this.engine.run(this.at(x, y, this.z, this.data.truncation), this.classes, this.image.data);
  }

  drawPicture() {
    this.dirty = false;
    const context = this.picture.getContext("2d");
    if (this.engine) {
      this.generate(this.x, this.y);
      context.putImageData(this.image, 0, 0);
    } else if (this.served?.x === this.x && this.served.y === this.y) {
      context.drawImage(this.served.image, 0, -this.served.rows * this.data.height); // it stands below the tiles
    } else {
      const key = `${this.level},${Math.round(this.x / this.spacing)},${Math.round(this.y / this.spacing)}`;
      if (this.tiles.has(key)) this.tiles.draw(key, context, 0, 0, this.data.width, this.data.height);
    }
  }

  // Says whether there are tiles still to come: those in the middle come first.
  drawMap() {
    const ratio = devicePixelRatio, width = this.map.clientWidth, height = this.map.clientHeight;
    if (!width) return false;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    const { pitch, spacing, level } = this, context = this.canvas.getContext("2d"), found = [];
    this.map.style.setProperty("--tile", `${pitch - GAP}px`);
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const [middleX, middleY] = [this.x / spacing, this.y / spacing];
    const [acrossX, acrossY] = [width / pitch / 2 + 0.5, height / pitch / 2 + 0.5];
    for (let j = Math.ceil(middleY - acrossY); j <= middleY + acrossY; j++) {
      for (let i = Math.ceil(middleX - acrossX); i <= middleX + acrossX; i++) found.push([i, j]);
    }
    const far = ([i, j]) => Math.hypot(i - middleX, j - middleY);
    found.sort((a, b) => far(a) - far(b));
    const until = performance.now() + TILE_MS;
    let missing = false;
    for (const [i, j] of found) {
      const key = `${level},${i},${j}`;
      if (!this.tiles.has(key)) {
        if (!this.engine) continue;
        missing ||= performance.now() > until;
        if (missing) continue;
        this.generate(i * spacing, j * spacing);
        this.tiles.put(key, this.image);
      }
      const [left, right] = [i - 0.5, i + 0.5].map((u) => Math.round((width / 2 + (u - middleX) * pitch) * ratio));
      const [top, bottom] = [j - 0.5, j + 0.5].map((v) => Math.round((height / 2 + (v - middleY) * pitch) * ratio));
      const gap = Math.round(GAP * ratio);
      this.tiles.draw(key, context, left + gap / 2, top + gap / 2, right - left - gap, bottom - top - gap);
    }
    return missing;
  }

  // After a new picture: how long it took since the event, for whoever measures; and the place, once at rest.
  tell() {
    this.picture.dataset.drawn = ++this.drawn;
    if (this.since !== undefined) this.picture.dataset.latency = (performance.now() - this.since).toFixed(2);
    this.since = undefined;
    const zoom = this.size === 1 ? "" : ` · zoom ${this.size.toPrecision(2)}`;
    this.where.textContent = `x ${this.x.toFixed(2)} · y ${this.y.toFixed(2)}${zoom}`;
    this.mayRest();
  }

  mayRest() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), REST_MS);
  }

  // At a place with four digits, so that whoever is told of it sees the very same picture.
  rest() {
    if (!this.drawn || this.dirty || this.walk || this.target || this.stage.matches(".held")) return;
    const place = [this.x, this.y, this.size].map((v) => Math.round(v * 1e4) / 1e4);
    if (this.x !== place[0] || this.y !== place[1]) {
      [this.x, this.y, this.size] = place;
      this.drawPicture();
      this.drawMap();
    }
    const [x, y] = place.map((v) => v.toFixed(2));
    this.picture.setAttribute("aria-label", `Generated picture at x ${x}, y ${y}`);
    this.picture.dataset.place = place.join(" ");
    if (this.told === undefined) this.told = JSON.stringify(this.data.start); // Python knows where it began
    if (this.told === JSON.stringify(place)) return;
    this.told = JSON.stringify(place);
    this.said.textContent = `At x ${x}, y ${y}.`;
    this.report("place", place);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
    this.observer.disconnect();
    this.frame = null;
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".plane");
  if (!views.has(root)) views.set(root, new View(root));
  const view = views.get(root);
  view.update(data, setStateValue);
  return () => view.stop();
}
