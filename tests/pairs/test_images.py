from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import sklearn_rdm._pairs._images as images_module
from sklearn_rdm import ImagePairs, read_images
from sklearn_rdm._pairs._images import are_paths, check_images, image_digests, list_images


def as_objects(images):
    array = np.empty(len(images), dtype=object)
    for row, image in enumerate(images):
        array[row] = image
    return array


def test_paths_are_read_once_each(image_files, images, monkeypatch):
    names = ["d.png", "a.png", "c.bmp", "b.PNG"]
    index = np.array([[3, 0], [0, 1], [2, 3]])
    paths = np.array([str(image_files / name) for name in names])[index]
    n_read = []
    read_image = images_module.read_image
    monkeypatch.setattr(
        images_module, "read_image", lambda *args: n_read.append(args) or read_image(*args)
    )
    pairs = ImagePairs.from_arrays(paths)
    assert len(n_read) == 4
    np.testing.assert_array_equal(pairs.images, images[[3, 0, 1, 2]])
    np.testing.assert_array_equal(pairs.images[pairs.index], images[index])


def test_digests_tell_dtype_shape_and_content_apart():
    zeros = np.zeros((2, 3), dtype=np.uint8)
    same = image_digests([zeros, zeros.copy(), np.asfortranarray(zeros)])
    assert len(set(same.tolist())) == 1
    others = [zeros, zeros.reshape(3, 2), zeros.astype(np.int8), zeros + 1, zeros.ravel()]
    assert len(set(image_digests(others).tolist())) == 5


def test_folders_are_read_in_name_order(image_files, images):
    (image_files / "notes.txt").write_text("not an image")
    np.testing.assert_array_equal(read_images(image_files), images[[1, 3, 2, 0]])
    assert [Path(p).name for p in list_images(str(image_files))] == [
        "a.png", "b.PNG", "c.bmp", "d.png",
    ]  # fmt: skip


def test_hidden_files_of_a_folder_are_not_read(image_files):
    (image_files / "._a.png").write_bytes(b"what macOS writes beside a.png")
    (image_files / ".DS_Store").write_bytes(b"")
    assert [Path(path).name for path in list_images(image_files)] == sorted(
        ["d.png", "a.png", "c.bmp", "b.PNG"]
    )


def test_lists_are_read_in_their_order(image_files, images):
    paths = [image_files / "c.bmp", str(image_files / "d.png"), image_files / "c.bmp"]
    read = read_images(paths, n_jobs=2)
    np.testing.assert_array_equal(read, images[[2, 0, 2]])
    assert read.dtype == np.uint8


def test_images_are_resized_as_pillow_does(image_files, images):
    read = read_images([image_files / "d.png"], size=(8, 9))
    expected = Image.fromarray(images[0]).resize((9, 8), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(read[0], np.asarray(expected))
    assert read_images(image_files, size=7).shape == (4, 7, 7, 3)
    np.testing.assert_array_equal(read_images([image_files / "d.png"], size=(6, 5))[0], images[0])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    image = Image.new(mode, (4, 5))
    if mode == "RGBA":
        image.putalpha(255)
    image.save(path)
    assert read_images([path]).shape == (1, 5, 4, 3)


def translucent(mode, alpha):
    """An image of one colour, whose first pixel lets what lies behind it through."""
    image = Image.new("RGBA", (4, 5), (200, 100, 50, 255))
    image.putpixel((0, 0), (200, 100, 50, alpha))
    return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize("alpha", [0, 254])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_images_are_refused(tmp_path, mode, alpha):
    translucent(mode, alpha).save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match="clear.png' has transparent pixels.*Flatten it onto"):
        read_images([tmp_path / "clear.png"])
    translucent(mode, 255).save(tmp_path / "clear.png")
    expected = np.asarray(translucent(mode, 255).convert("RGB"))
    np.testing.assert_array_equal(read_images([tmp_path / "clear.png"])[0], expected)


@pytest.mark.parametrize(("mode", "clear"), [("P", 0), ("L", 7), ("RGB", (7, 7, 7))])
def test_a_transparent_colour_is_refused_where_it_occurs(tmp_path, mode, clear):
    colours = {"P": [0, 1], "L": [7, 8], "RGB": [(7, 7, 7), (8, 8, 8)]}[mode]
    for k, colour in enumerate(colours):
        image = Image.new(mode, (4, 5), colour)
        if mode == "P":
            image.putpalette([10, 20, 30, 40, 50, 60])
        image.save(tmp_path / f"{k}.png", transparency=clear)
    with pytest.raises(ValueError, match="0.png' has transparent pixels"):
        read_images([tmp_path / "0.png"])
    assert read_images([tmp_path / "1.png"]).shape == (1, 5, 4, 3)


def test_a_photograph_taken_on_its_side_is_turned_upright(tmp_path):
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "phone.jpg", exif=exif)
    assert read_images([tmp_path / "phone.jpg"]).shape == (1, 20, 10, 3)


def test_images_larger_than_memory_go_to_a_file(image_files, tmp_path, images):
    out = tmp_path / "cache" / "images.npy"
    out.parent.mkdir()
    mapped = read_images(image_files, out=out)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, images[[1, 3, 2, 0]])
    np.testing.assert_array_equal(np.load(out), mapped)
    assert [p.name for p in out.parent.iterdir()] == ["images.npy"]


def test_a_failed_read_leaves_no_file_and_the_old_one_whole(image_files, tmp_path):
    out = tmp_path / "cache" / "images.npy"
    out.parent.mkdir()
    before = np.array(read_images(image_files, out=out))
    (image_files / "z.png").write_bytes(b"not a png")
    with pytest.raises(ValueError, match="z.png.*cannot be read"):
        read_images(image_files, out=out)
    assert [p.name for p in out.parent.iterdir()] == ["images.npy"]
    np.testing.assert_array_equal(np.load(out), before)


def test_truncated_files_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ["jpg", "png"]:
        path = tmp_path / f"cut.{suffix}"
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ValueError, match=f"cut.{suffix}.*cannot be read"):
            read_images([path])


def test_wrong_files_are_named(image_files, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    Image.new("RGB", (9, 9)).save(image_files / "e.png")
    for wrong, message in [
        (tmp_path / "nowhere", "nowhere' is not a folder"),
        (image_files / "a.png", "a.png' is not a folder"),
        (empty, "no image file"),
        ([], "list of image files is empty"),
        ([image_files / "no.png"], "no.png.*cannot be read"),
        (image_files, r"e.png' is \(9, 9\) pixels.*\(6, 5\). Give size"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_images(wrong)


@pytest.mark.parametrize("size", [0, -1, (3,), (1, 2, 3), (2.0, 3), "ab", None, 4, (4, 5)])
def test_sizes(image_files, size):
    if size in (None, 4, (4, 5)):
        expected = {None: (6, 5), 4: (4, 4), (4, 5): (4, 5)}[size]
        assert read_images(image_files, size).shape[1:3] == expected
    else:
        with pytest.raises(ValueError, match="an image size must be"):
            read_images(image_files, size)


def test_progress_is_shown_only_when_asked(image_files, capsys):
    read_images(image_files)
    assert capsys.readouterr().err == ""
    read_images(image_files, verbose=1)
    assert "images: 100%" in capsys.readouterr().err


def test_paths_are_told_from_arrays(images):
    listed = [["a", Path("b")], ("a",), np.array(["a"]), np.array([Path("a")])]
    for paths in ["a", Path("a"), *listed, *map(pd.Series, listed), pd.Index(["a"])]:
        assert are_paths(paths)
    others = [[1, 2], [], np.zeros(3), as_objects([*images]), pd.Series([*images]), {"a": 1}, {"a"}]
    for arrays in [images, [images], np.array([["a", "b"]]), *others]:
        assert not are_paths(arrays)


@pytest.mark.parametrize("size", [2.5, np.float64(3)])
def test_float_sizes_are_named(image_files, size):
    with pytest.raises(ValueError, match="an image size must be"):
        read_images(image_files, size)


def test_files_of_more_than_8_bits_are_refused_and_not_clipped_to_white(tmp_path):
    grey = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="deep.png.*8 bits"):
        read_images([tmp_path / "deep.png"])


def test_numbered_names_out_of_order_are_told(tmp_path, images):
    for number in (1, 2, 10):
        Image.fromarray(images[0]).save(tmp_path / f"img_{number}.png")
    with pytest.warns(UserWarning, match="'img_10.png' before 'img_2.png'.*list of files"):
        paths = list_images(tmp_path)
    assert [Path(path).stem for path in paths] == ["img_1", "img_10", "img_2"]


def test_padded_numbers_are_in_order_without_a_warning(tmp_path, images, recwarn):
    for name in ("img_01.png", "img_02.png", "img_10.png", "other.png"):
        Image.fromarray(images[0]).save(tmp_path / name)
    assert len(list_images(tmp_path)) == 4
    assert not recwarn


def test_pictures_of_more_pixels_than_pillow_allows_are_named(image_files, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 29)
    with pytest.raises(ValueError, match=r"a\.png'.* it has 30 pixels, more than 29"):
        read_images(image_files)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_images(image_files).shape == (4, 6, 5, 3)


def test_too_little_memory_is_told(image_files, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(images_module, "_as_pixels", fail)
    with pytest.raises(ValueError, match="a.png' cannot be read: there is not enough memory"):
        read_images(image_files)


def test_masked_images_raise_an_error():
    images = np.ma.masked_equal(np.arange(24.0).reshape(6, 4), 3)
    with pytest.raises(ValueError, match="images must hold no masked entries, but 1 are"):
        check_images(images)
    images.mask = False
    np.testing.assert_array_equal(check_images(images), images.data)
