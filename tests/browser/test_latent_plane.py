"""The generator and the plane in a real browser: the same pictures as onnxruntime's, and what hands do to them."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from in_browser import SLOW, pixels, pytestmark  # noqa: F401  (marks this module)

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Locator, Page, expect  # noqa: E402

from ganlab import catalog, latent, lattice  # noqa: E402
from ganlab.app.components import latent_plane  # noqa: E402
from ganlab.app.components.generator import engine_source  # noqa: E402
from ganlab.browser_program import to_browser  # noqa: E402
from ganlab.config import Config  # noqa: E402
from ganlab.generators import generator_program  # noqa: E402
from ganlab.recipe import Anchor, Recipe  # noqa: E402
from ganlab.render import Model  # noqa: E402
from ganlab.scene import pictures  # noqa: E402

CLASSES = ("cat", "dog", "frog")
PLACE = re.compile(r"^-?[\d.]+ -?[\d.]+ [\d.]+$")  # x, y, zoom
DRAW = """async ([content, z, y]) => {
  const generator = await window.engine.load(Uint8Array.from(atob(content), (c) => c.charCodeAt(0)));
  return z.map((row, i) => Array.from(generator.run(Float32Array.from(row), y && Float32Array.from(y[i]))));
}"""


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    """An empty page with the sources of both components as window.engine and window.lattice."""
    page = browser.new_page()
    page.set_default_timeout(SLOW)
    file = latent_plane.HERE / "lattice.js"
    for name, source in (("engine", engine_source()), ("lattice", file.read_text())):
        url = f"data:text/javascript;base64,{base64.b64encode(source.encode()).decode()}"
        page.evaluate("async ([name, url]) => { window[name] = await import(url); }", [name, url])
    yield page
    page.close()


def random_model(seed: int, **changes: Any) -> Model:
    """A generator with weights drawn so that activations stay of order one, and pictures are grey rather than flat."""
    conditional = changes["conditioning"] != "none"
    config = Config(**{"width": 12, "latent_dim": 20, "classes": CLASSES if conditional else (), **changes})
    random = np.random.default_rng(seed)

    def shapes() -> dict[str, np.ndarray]:  # of the state dict, by what its program asks for
        import torch

        from ganlab.models import build_generator

        torch.manual_seed(seed)
        state = build_generator(config).eval().state_dict()
        return {k: v.numpy() for k, v in state.items() if not k.endswith("num_batches_tracked")}

    arrays = {}
    for name, value in shapes().items():
        if name.endswith("running_var"):
            arrays[name] = random.uniform(0.5, 2, value.shape)
        elif value.ndim > 1 and "gain" not in name and "shift" not in name:
            fan_in = 4 * len(value) if name.startswith("ups") else math.prod(value.shape[1:])
            arrays[name] = random.normal(0, math.sqrt(1.5 / fan_in), value.shape)
        else:
            arrays[name] = value + random.normal(0, 0.3, value.shape)
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    return Model("random", config, generator_program(config, arrays), {})


def variants() -> list[dict[str, Any]]:
    """Every family as it can be: 28 grey, 32 in colour; each way of telling it the class."""
    sizes = ({"image_size": 28, "channels": 1}, {"image_size": 32, "channels": 3})
    return [
        {"model": family, "conditioning": conditioning, **size}
        for family, conditioning, size in product(
            ("mlp", "dcgan", "sn-conv", "sn-resnet"), ("none", "concat", "projection"), sizes
        )
        if not (family == "mlp" and conditioning == "projection")
    ]


def drawn_in(page: Page, model: Model, z: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    content = base64.b64encode(to_browser(model.program)).decode()
    pictures = page.evaluate(DRAW, [content, z.tolist(), None if y is None else y.tolist()])
    channels, height, width = model.program.output_shape
    rgba = np.array(pictures, np.uint8).reshape(len(z), height, width, 4)
    assert (rgba[..., 3] == 255).all()
    if channels == 1:
        assert (rgba[..., :1] == rgba[..., 1:3]).all()
    return rgba[..., :channels]


def assert_same(model: Model, pictures: np.ndarray, expected: np.ndarray, mean: float) -> None:
    difference = abs(pictures.astype(int) - expected)
    assert difference.max() <= 1, f"{model.name}: {difference.max()} grey levels"
    assert difference.mean() <= mean, f"{model.name}: {difference.mean():.3f} grey levels on average"


@pytest.mark.parametrize("changes", variants(), ids=lambda c: "-".join(map(str, c.values())))
def test_every_family_draws_as_onnxruntime_does(blank: Page, changes: dict[str, Any]) -> None:
    """Mean: weights of 11 bits move a grey pixel by some hundredths of a level, and so few over an edge of rounding."""
    model = random_model(1, **changes)
    z, k = model.z(range(3)), model.num_classes
    y = np.vstack([np.eye(k)[[0, 2]], np.full(k, 1 / k)]).astype(np.float32) if k else None  # two classes and a blend
    expected = model.generate(z, y)
    assert expected.std() > 20
    assert_same(model, drawn_in(blank, model, z, y), expected, mean=0.05)


@pytest.mark.parametrize("name", catalog.released())
def test_released_models_draw_as_onnxruntime_does(blank: Page, name: str) -> None:
    model = catalog.load(name)
    z, labels = model.z(range(16)), model.labels_of(range(16))
    y = None if labels is None else np.eye(model.num_classes, dtype=np.float32)[labels]
    assert_same(model, drawn_in(blank, model, z, y), model.generate(z, y), mean=0.03)


def test_the_lattice_is_that_of_python(blank: Page) -> None:
    x, y = np.random.default_rng(0).uniform(-1000, 1000, (2, 20))
    for seed, prior in ((0, "normal"), (lattice.MAX_SEED, "uniform")):
        ours = blank.evaluate(
            "([seed, prior, x, y]) => { const at = lattice.endless(seed, 33, prior);"
            " return x.map((u, i) => Array.from(at(u, y[i], new Float32Array(33)))); }",
            [seed, prior, x.tolist(), y.tolist()],
        )
        np.testing.assert_allclose(ours, lattice.at(seed, x, y, 33, prior), atol=1e-6)
    a, b, c = latent.from_seeds([1, 2, 3], 33, "normal")
    ours = blank.evaluate(
        "([a, b, c, x, y]) => { const at = lattice.through(a, b, c);"
        " return x.map((u, i) => Array.from(at(u, y[i], new Float32Array(33)))); }",
        [a.tolist(), b.tolist(), c.tolist(), (x / 500).tolist(), (y / 500).tolist()],
    )
    np.testing.assert_allclose(ours, lattice.through(a, b, c, x / 500, y / 500), atol=1e-5)
    keys, t = lattice.walk(3), np.linspace(-1, 2, 31)
    ours = blank.evaluate("([keys, t]) => t.map((u) => lattice.along(keys, u))", [keys.tolist(), t.tolist()])
    np.testing.assert_allclose(ours, lattice.along(keys, t), atol=1e-9)


# --- the page ------------------------------------------------------------------------------------------------------


def opened(page: Page, address: str) -> Locator:
    """The large picture, at rest."""
    page.goto(address)
    picture = page.locator("canvas.picture")
    expect(picture).to_have_attribute("data-place", PLACE)
    return picture


def plane_of(name: str, seed: int = 0, **values: Any) -> Recipe:
    return Recipe(name, (Anchor(seed),), "lattice", **values)


def assert_is_of_its_place(picture: Locator, plane: Recipe) -> str:
    """The picture is the one that Python makes of the place that it names: the place."""
    place = picture.get_attribute("data-place") or ""
    x, y, zoom = map(float, place.split())
    model = catalog.load(plane.model)
    expected = pictures(replace(plane, x=x, y=y, zoom=zoom), model)[0]
    assert_same(model, pixels(picture)[..., : expected.shape[-1]], expected, mean=0.02)
    return place


def moved(picture: Locator, place: str) -> None:
    expect(picture).not_to_have_attribute("data-place", place)


def test_a_plane_is_dragged_and_found_again(server: str, page: Page) -> None:
    picture = opened(page, f"{server}/?model=mnist-dcgan")
    first = assert_is_of_its_place(picture, plane_of("mnist-dcgan"))
    before, box = pixels(picture), picture.bounding_box()
    assert first == "0 0 1" and box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 250, steps=5)
    assert (pixels(picture) != before).any()  # while it is held
    page.mouse.up()
    moved(picture, first)
    place = assert_is_of_its_place(picture, plane_of("mnist-dcgan"))
    x, y, _ = map(float, place.split())
    assert x > 0.2 and y < -0.02  # what one drags follows the hand
    expect(page).to_have_url(re.compile("x="))

    other = page.context.new_page()
    other.set_default_timeout(SLOW)
    assert opened(other, page.url).get_attribute("data-place") == place
    assert (pixels(other.locator("canvas.picture")) == pixels(picture)).all()


def test_keys_move_zoom_and_walk(server: str, page: Page) -> None:
    picture = opened(page, f"{server}/?model=mnist-mlp&lattice=5&truncation=0.7")
    plane = plane_of("mnist-mlp", 5, truncation=0.7)
    place = assert_is_of_its_place(picture, plane)
    stage = page.get_by_role("application")
    stage.focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight"):
        stage.press(key)
    expect(picture).to_have_attribute("data-place", "1.25 0.25 1")  # a tile right and one down; four right
    assert_is_of_its_place(picture, plane)
    stage.press("+")
    expect(picture).to_have_attribute("data-place", "1.25 0.25 1.25")
    stage.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    drawn = int(picture.get_attribute("data-drawn") or 0)
    page.wait_for_function("([c, n]) => c.dataset.drawn > n + 10", arg=[picture.element_handle(), drawn])
    stage.press(" ")
    moved(picture, "1.25 0.25 1.25")
    expect(picture).to_have_attribute("data-place", PLACE)
    assert assert_is_of_its_place(picture, plane) != place


def test_a_plane_through_three_begins_in_their_middle(server: str, page: Page) -> None:
    picture = opened(page, f"{server}/?v=1&model=mnist-dcgan&show=through&at=4,5,6")
    plane = Recipe("mnist-dcgan", (Anchor(4), Anchor(5), Anchor(6)), "through")
    assert assert_is_of_its_place(picture, plane) == "0.5 0.5 1"


def test_without_simd_the_server_draws(server: str, page: Page) -> None:
    page.add_init_script("WebAssembly.validate = () => false")
    picture = opened(page, f"{server}/?model=mnist-mlp")
    expect(page.get_by_text("This browser lacks WebAssembly with SIMD.")).to_be_visible()
    page.wait_for_function(
        "c => c.getContext('2d').getImageData(0, 0, 28, 28).data.some((v, i) => i % 4 < 3 && v > 100)",
        arg=picture.element_handle(),
    )
    expected = pictures(plane_of("mnist-mlp"), catalog.load("mnist-mlp"))[0]
    assert (pixels(picture)[..., :1] == expected).all()
    stage = page.get_by_role("application")
    stage.press("ArrowLeft")
    expect(picture).to_have_attribute("data-place", "-0.25 0 1")
    expect(page).to_have_url(re.compile("x=-0.25"))
