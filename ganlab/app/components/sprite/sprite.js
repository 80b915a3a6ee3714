// A wall of pictures of which one can be chosen. wall.js is put before this file.

export default async function ({ data, parentElement, setTriggerValue }) {
  const wall = parentElement.querySelector(".wall");
  wall.style.setProperty("--columns", data.columns);
  const under = parentElement.querySelector(".under");
  under.style.setProperty("--columns", data.columns);
  under.replaceChildren(...data.captions.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
  showButtons(wall.querySelector(".buttons"), data, (i) => setTriggerValue("picked", i));
  paint(wall.querySelector("canvas"), await decoded(data.sprite), data);
}
