// A wall of pictures of which one can be chosen: one canvas, and a button over each picture.

const STEPS = (columns) => ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns });

export default function ({ data, parentElement, setTriggerValue }) {
  const wall = parentElement.querySelector(".wall");
  const canvas = wall.querySelector("canvas");
  wall.style.setProperty("--columns", data.columns);
  draw(canvas, data);
  const under = parentElement.querySelector(".under");
  under.style.setProperty("--columns", data.columns);
  under.replaceChildren(...data.captions.map((text) => Object.assign(document.createElement("span"), { textContent: text })));

  const buttons = wall.querySelector(".buttons");
  buttons.setAttribute("aria-label", data.label);
  buttons.setAttribute("role", data.names.length ? "listbox" : "img");
  while (buttons.children.length > data.names.length) buttons.lastChild.remove();
  while (buttons.children.length < data.names.length) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "option");
    buttons.append(button);
  }
  const all = [...buttons.children];
  const reachable = data.chosen ?? 0; // by the tab key: one of them, the arrows lead to the others
  all.forEach((button, i) => {
    button.setAttribute("aria-label", data.names[i]);
    button.setAttribute("aria-selected", String(i === data.chosen));
    button.title = data.names[i];
    button.dataset.mark = data.marks[i] ?? "";
    button.tabIndex = i === reachable ? 0 : -1;
    button.onclick = () => setTriggerValue("picked", i);
  });
  buttons.onkeydown = (event) => {
    const step = STEPS(data.columns)[event.key];
    const next = all[all.indexOf(event.target) + step];
    if (!step) return;
    event.preventDefault();
    if (!next) return;
    all.forEach((button) => (button.tabIndex = button === next ? 0 : -1));
    next.focus();
  };
}

// The pictures, each pixel as a square of equal ones about two device pixels wide, so that nothing is blurred.
async function draw(canvas, { sprite, columns, num, width, height, gap, scale }) {
  const image = new Image();
  image.src = sprite;
  await image.decode();
  const rows = Math.ceil(num / columns);
  canvas.width = columns * (width * scale + gap) - gap;
  canvas.height = rows * (height * scale + gap) - gap;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (let i = 0; i < num; i++) {
    const x = i % columns, y = Math.floor(i / columns);
    context.drawImage(
      image, x * width, y * height, width, height,
      x * (width * scale + gap), y * (height * scale + gap), width * scale, height * scale,
    );
  }
}
