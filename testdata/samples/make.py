"""Writes the images and arrays beside this file, and what Pillow and numpy make of them.

Needs numpy and Pillow. Run: python testdata/samples/make.py
"""

import json
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format
from PIL import Image

HERE = Path(__file__).parent
IMAGES = HERE / "images"
ARRAYS = HERE / "arrays"

Size = tuple[int, int]


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth slopes with noise, u8 [height, width, channels]."""
    generator = np.random.Generator(np.random.PCG64(height * 1000 + width))
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(rows / (3 + c)) * np.cos(columns / (5 - c)) * 90 + 128
        for c in range(channels)
    ]
    noise = generator.normal(0, 12, (height, width, channels))
    return np.clip(np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


def write_images() -> None:
    """Image files of several kinds."""
    IMAGES.mkdir(exist_ok=True)
    wide = Image.fromarray(picture(37, 53))
    wide.save(IMAGES / "wide.png")
    Image.fromarray(picture(61, 40)).save(IMAGES / "tall.png")
    Image.fromarray(picture(1, 1)).save(IMAGES / "dot.png")
    Image.fromarray(picture(24, 30)[..., 0]).save(IMAGES / "gray.png")
    Image.fromarray(picture(24, 30, 4)).save(IMAGES / "transparent.png")
    wide.quantize(64).save(IMAGES / "palette.png")
    smooth = Image.fromarray(picture(12, 16)).resize((96, 72), Image.Resampling.BICUBIC)
    smooth.save(IMAGES / "full.jpg", quality=92, subsampling=0)
    smooth.save(IMAGES / "halved.jpg", quality=92, subsampling=2)
    smooth.convert("L").save(IMAGES / "gray.jpg", quality=92)


# Image, mode, resize, crop. A resize is (height, width), a shorter side, or none.
CASES: list[tuple[str, str, Size | int | None, Size | None, str]] = [
    ("wide.png", "rgb", None, None, "bilinear"),
    ("wide.png", "rgb", (20, 30), None, "bilinear"),
    ("wide.png", "rgb", (80, 64), None, "bilinear"),
    ("wide.png", "rgb", (100, 10), None, "bilinear"),
    ("wide.png", "rgb", (37, 17), None, "bilinear"),
    ("wide.png", "rgb", (9, 53), None, "bilinear"),
    ("wide.png", "rgb", (20, 30), None, "nearest"),
    ("wide.png", "rgb", 24, (20, 21), "bilinear"),
    ("wide.png", "rgb", 18, (14, 18), "bilinear"),
    ("tall.png", "rgb", 25, (25, 25), "bilinear"),
    ("tall.png", "rgb", 27, (22, 20), "bilinear"),
    ("tall.png", "rgb", 20, (26, 27), "bilinear"),
    ("wide.png", "gray", (16, 16), None, "bilinear"),
    ("dot.png", "rgb", (5, 4), None, "bilinear"),
    ("gray.png", "rgb", (12, 13), None, "bilinear"),
    ("gray.png", "gray", (12, 13), None, "bilinear"),
    ("transparent.png", "rgb", None, None, "bilinear"),
    ("palette.png", "rgb", (20, 20), None, "bilinear"),
    ("full.jpg", "rgb", None, None, "bilinear"),
    ("halved.jpg", "rgb", None, None, "bilinear"),
    ("gray.jpg", "gray", None, None, "bilinear"),
    ("full.jpg", "rgb", 32, (28, 28), "bilinear"),
    ("halved.jpg", "rgb", 32, (28, 28), "bilinear"),
]


def resized(
    image: Image.Image, resize: Size | int | None, filter_name: str
) -> Image.Image:
    """Resize as torchvision.transforms.Resize does it to a PIL image."""
    if resize is None:
        return image
    if isinstance(resize, int):
        short, long = min(image.size), max(image.size)
        length = int(resize * long / short)
        resize = (
            (resize, length) if image.size[1] <= image.size[0] else (length, resize)
        )
    height, width = resize
    return image.resize((width, height), Image.Resampling[filter_name.upper()])


def cropped(image: Image.Image, crop: Size | None) -> Image.Image:
    """Crop as torchvision.transforms.CenterCrop does it to a PIL image."""
    if crop is None:
        return image
    height, width = crop
    top, left = max((height - image.height) // 2, 0), max((width - image.width) // 2, 0)
    padded = Image.new(image.mode, (max(width, image.width), max(height, image.height)))
    padded.paste(image, (left, top))
    top, left = (
        round((padded.height - height) / 2.0),
        round((padded.width - width) / 2.0),
    )
    return padded.crop((left, top, left + width, top + height))


def write_expected() -> None:
    """What Pillow makes of the images, as PNG, and the table of the cases."""
    folder = HERE / "expected"
    folder.mkdir(exist_ok=True)
    table = []
    for number, (name, mode, resize, crop, filter_name) in enumerate(CASES):
        image = Image.open(IMAGES / name).convert("L" if mode == "gray" else "RGB")
        result = cropped(resized(image, resize, filter_name), crop)
        result.save(folder / f"{number:02}.png")
        table.append(
            {
                "image": name,
                "channels": mode,
                "resize": resize,
                "crop": crop,
                "filter": filter_name,
            }
        )
    (HERE / "cases.json").write_text(json.dumps(table, indent=1) + "\n")


def write_tensors() -> None:
    """The middle of an image as the input of a model, computed by numpy in f32."""
    image = np.asarray(Image.open(IMAGES / "dot.png").convert("RGB").resize((2, 2)))
    mean, deviation = (
        np.float32([0.485, 0.456, 0.406]),
        np.float32([0.229, 0.224, 0.225]),
    )
    unit = image.astype(np.float32) / np.float32(255)
    rgb = (unit - mean) / deviation
    bgr = (image[..., ::-1].astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    quantized = np.round(rgb / np.float32(0.0187)).astype(np.int32) - 14
    np.savez(
        ARRAYS / "tensors.npz",
        rgb_nchw=rgb.transpose(2, 0, 1)[None],
        bgr_nhwc=bgr[None].astype(np.float16),
        raw_nhwc=image[None],
        quantized_nhwc=np.clip(quantized, -128, 127).astype(np.int8)[None],
    )


def write_arrays() -> None:
    """Every type, order, version and way of packing; each array is 0 to 11 as [3, 2, 2] in C order."""
    ARRAYS.mkdir(exist_ok=True)
    count = np.arange(12).reshape(3, 2, 2)
    arrays = {}
    for code in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]:
        arrays[f"{code}_c"] = np.ascontiguousarray(count.astype(code))
        arrays[f"{code}_fortran"] = np.asfortranarray(count.astype(code))
    np.savez(ARRAYS / "stored.npz", **arrays)
    np.savez_compressed(ARRAYS / "deflated.npz", **arrays)
    np.savez(ARRAYS / "truth.npz", x=(count % 3 == 0))
    for version in [(1, 0), (2, 0), (3, 0)]:
        with (ARRAYS / f"version{version[0]}.npy").open("wb") as file:
            npy_format.write_array(file, count.astype("f4"), version=version)
    np.save(
        ARRAYS / "object.npy",
        np.array([{"a": 1}, None], dtype=object),
        allow_pickle=True,
    )
    np.save(ARRAYS / "big.npy", count.astype(">f4"))
    np.save(ARRAYS / "fields.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i2")]))
    np.save(ARRAYS / "complex.npy", count.astype("c8"))
    np.save(ARRAYS / "text.npy", np.array(["cat", "dog"]))


def main() -> None:
    """Writes everything."""
    write_images()
    write_expected()
    write_arrays()
    write_tensors()


if __name__ == "__main__":
    main()
