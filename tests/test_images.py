"""The image reader: orientation, bit depths, modes, formats and error messages."""
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmavs.datasets.transforms.loading import read_mask
from mmavs.utils import plain_images
from mmavs.utils.images import IMAGE_SUFFIXES, MAX_PIXELS, image_shape, read_image
from mmavs.utils.plain_images import decodes_as_pillow, read_plain_image

# Orientation -> the stored array of an image that is displayed as ``image``.
STORED = {1: lambda image: image, 2: lambda image: image[:, ::-1], 3: lambda image: image[::-1, ::-1],
          4: lambda image: image[::-1], 5: lambda image: image.swapaxes(0, 1),
          6: lambda image: np.rot90(image, 1), 7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
          8: lambda image: np.rot90(image, -1)}


def blocks():
    """An RGB image of 32x48 (height x width) of four flat quarters, which survive lossy compression."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24], image[:16, 24:], image[16:, :24] = (240, 16, 16), (16, 240, 16), (16, 16, 240)
    return image


def save(path, image, orientation=None, **options):
    if orientation is not None:
        options['exif'] = Image.Exif()
        options['exif'][0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(image)).save(path, **options)
    return path


def write_png(path, size, bits, rows):
    """Write a gray PNG file of ``size`` (width, height) with the given packed rows, which may be too few."""
    header = struct.pack('>IIBBBBB', *size, bits, 0, 0, 0, 0)
    chunks = (b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks))


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', STORED)
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    path = save(tmp_path / f'x{suffix}', STORED[orientation](blocks()), orientation)
    image = read_image(path, 'frame', 'RGB')
    assert image.shape == (32, 48, 3) and image_shape(path) == (32, 48)
    # The centers of the quarters, away from the blocks of the compression.
    assert np.abs(image[8::16, 12::24].astype(int) - blocks()[8::16, 12::24]).max() < 12


def test_orientation_after_the_pixels_of_a_png_file_is_applied(tmp_path):
    content = save(tmp_path / 'x.png', STORED[6](blocks()), 6).read_bytes()
    start = content.index(b'eXIf') - 4
    end = start + 12 + int.from_bytes(content[start:start + 4], 'big')
    iend = content.index(b'IEND') - 4
    (tmp_path / 'x.png').write_bytes(content[:start] + content[end:iend] + content[start:end] + content[iend:])
    np.testing.assert_array_equal(read_image(tmp_path / 'x.png'), blocks())
    assert image_shape(tmp_path / 'x.png') == (32, 48)


def test_damaged_exif_is_ignored(tmp_path):
    Image.fromarray(blocks()).save(tmp_path / 'x.jpg', exif=b'Exif\x00\x00no TIFF header')
    assert read_image(tmp_path / 'x.jpg').shape == (32, 48, 3) and image_shape(tmp_path / 'x.jpg') == (32, 48)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.pgm'])
def test_gray_of_16_bits_is_scaled_not_clipped(tmp_path, suffix):
    values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    path = save(tmp_path / f'x{suffix}', values)
    for channel in range(3):
        np.testing.assert_array_equal(read_image(path, mode='RGB')[..., channel], values // 257)
    np.testing.assert_array_equal(read_image(path, mode='L'), values // 257)
    np.testing.assert_array_equal(read_image(path), values)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_gray_of_few_bits_keeps_the_stored_values(tmp_path, bits):
    largest = 2**bits - 1
    stored = np.arange(largest + 1, dtype=np.uint8)[None].repeat(2, 0)
    packed = np.packbits(np.unpackbits(stored[..., None], axis=-1)[..., -bits:].reshape(2, -1), axis=-1)
    rows = b''.join(b'\0' + row.tobytes() for row in packed)
    write_png(tmp_path / 'x.png', (largest + 1, 2), bits, rows)
    np.testing.assert_array_equal(read_image(tmp_path / 'x.png'), stored)
    # As a frame, the largest value is white.
    assert read_image(tmp_path / 'x.png', mode='L').max() == 255


@pytest.mark.parametrize('largest', [1, 3, 70, 255])
@pytest.mark.parametrize('plain', [True, False])
def test_gray_pgm_keeps_the_stored_values(tmp_path, largest, plain):
    stored = np.arange(largest + 1, dtype=np.uint8)[None]
    data = ' '.join(map(str, stored[0])).encode() if plain else stored.tobytes()
    (tmp_path / 'x.pgm').write_bytes(f'P{2 if plain else 5} {largest + 1} 1\n{largest}\n'.encode() + data)
    np.testing.assert_array_equal(read_image(tmp_path / 'x.pgm'), stored)


def test_color_and_gray_of_16_bits_follow_one_rule(tmp_path):
    import cv2
    gray = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    cv2.imwrite(str(tmp_path / 'rgb.png'), np.stack([gray] * 3, -1))
    save(tmp_path / 'gray.png', gray)
    np.testing.assert_array_equal(read_image(tmp_path / 'rgb.png', mode='RGB'),
                                  read_image(tmp_path / 'gray.png', mode='RGB'))


@pytest.mark.parametrize('values', [np.full((4, 4), 70000, np.int32), np.full((4, 4), 0.5, np.float32)])
def test_samples_of_32_bits_are_an_error_that_names_the_file(tmp_path, values):
    with pytest.raises(ValueError, match=r'x\.tif: the frame has samples of 32 bits .*expected 8 or 16'):
        read_image(save(tmp_path / 'x.tif', values), 'frame', 'RGB')


def test_every_mode_becomes_rgb(tmp_path):
    image = Image.fromarray(blocks())
    files = dict(P='png', RGBA='png', LA='png', L='png', CMYK='jpg')
    for mode, suffix in files.items():
        (image.quantize(8) if mode == 'P' else image.convert(mode)).save(tmp_path / f'{mode}.{suffix}', quality=95)
        expected = np.asarray(image.convert('L').convert('RGB') if 'L' in mode else image)
        found = read_image(tmp_path / f'{mode}.{suffix}', mode='RGB')
        assert np.abs(found[8::16, 12::24].astype(int) - expected[8::16, 12::24]).max() < 12, mode
    image.convert('1', dither=Image.Dither.NONE).save(tmp_path / 'x.png')
    assert set(np.unique(read_image(tmp_path / 'x.png', mode='RGB'))) == {0, 255}
    stored = read_image(tmp_path / 'x.png')
    assert stored.dtype == np.uint8 and set(np.unique(stored)) == {0, 1}


def test_content_decides_on_the_format_and_postscript_is_never_opened(tmp_path, monkeypatch):
    assert {'.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff'} <= set(IMAGE_SUFFIXES)
    assert not {'.eps', '.ps', '.h5', '.fits', '.wmf'} & set(IMAGE_SUFFIXES)
    Image.fromarray(blocks()).save(tmp_path / 'x.eps')
    os.replace(tmp_path / 'x.eps', tmp_path / 'x.png')
    monkeypatch.setattr('PIL.EpsImagePlugin.Ghostscript', lambda *args, **kwargs: pytest.fail('Ghostscript is started'))
    with pytest.raises(ValueError, match=r'x\.png: the image cannot be decoded, .* not an image of the formats PNG, '):
        read_image(tmp_path / 'x.png', mode='RGB')
    Image.fromarray(blocks()).save(tmp_path / 'y.png', format='BMP')
    np.testing.assert_array_equal(read_image(tmp_path / 'y.png'), blocks())


@pytest.mark.parametrize('read', [read_image, image_shape])
def test_files_that_would_block_or_fill_the_memory_are_refused(tmp_path, monkeypatch, read):
    os.mkfifo(tmp_path / 'x.png')
    with pytest.raises(ValueError, match=r'x\.png: the image is not a regular file'):
        read(tmp_path / 'x.png')
    for side in (8193, 13000, 14000):  # Pillow accepts the first, warns of the second, and refuses the third.
        write_png(tmp_path / 'y.png', (side, side), 1, b'')
        with pytest.raises(ValueError, match=r'y\.png: the image is too large.*expected at most 67108864 pixels'):
            read(tmp_path / 'y.png')
    monkeypatch.setattr('mmavs.utils.images.MAX_PIXELS', 100)
    Image.new('1', (10, 10)).save(tmp_path / 'z.png')
    assert read_image(tmp_path / 'z.png').shape == (10, 10)


def test_damage_of_every_kind_in_a_decoder_is_one_error_with_the_name(tmp_path, monkeypatch):
    Image.fromarray(blocks()).save(tmp_path / 'x.bmp')
    for error in (IndexError, MemoryError, SyntaxError, Image.DecompressionBombError):
        for where in ('PIL.ImageFile.ImageFile.load', 'mmavs.utils.images.Image.open'):
            with monkeypatch.context() as context, pytest.raises(ValueError, match=r'x\.bmp: the image '):
                context.setattr(where, lambda *args, error=error, **kwargs: (_ for _ in ()).throw(error('of Pillow')))
                read_image(tmp_path / 'x.bmp')


def test_a_bilevel_mask_of_categories_is_read_or_refused_by_its_values(tmp_path):
    Image.new('1', (4, 4), 1).save(tmp_path / 'x.png')
    np.testing.assert_array_equal(read_mask(str(tmp_path / 'x.png'), 'category', 2, category_ids=(0, 1)), 1)
    with pytest.raises(ValueError, match=r'x\.png: mask value 1 is not the id of a class'):
        read_mask(str(tmp_path / 'x.png'), 'category', 2, category_ids=(0, 5))


# ---- plain files, which OpenCV decodes ----

NOISE = np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)
PLAIN = {
    'color.png': (NOISE, {}), 'gray.png': (NOISE[..., 0], {}), 'dpi.png': (NOISE, dict(dpi=(72, 72))),
    'half.jpg': (NOISE, dict(quality=90)), 'full.jpg': (NOISE, dict(subsampling=0)),
    'progressive.jpg': (blocks(), dict(progressive=True, icc_profile=b'x' * 70000))}
EXIF = Image.Exif()
EXIF[0x0112] = 6
OTHER = {
    'exif.jpg': (NOISE, dict(exif=EXIF)), 'exif.png': (NOISE, dict(exif=EXIF)), 'gray.jpg': (NOISE[..., 0], {}),
    'alpha.png': (np.dstack([NOISE, NOISE[..., 0]]), {}), 'wide.png': (NOISE[..., 0].astype(np.uint16) * 257, {}),
    'transparent.png': (NOISE, dict(transparency=(1, 2, 3))), 'bilevel.png': (NOISE[..., 0] > 9, {}),
    'image.webp': (NOISE, {}), 'image.bmp': (NOISE, {})}


def fail(*args, **kwargs):
    raise AssertionError('opened by Pillow')


@pytest.mark.parametrize('name', PLAIN)
def test_plain_files_are_decoded_by_opencv_to_the_pixels_of_pillow(tmp_path, monkeypatch, name):
    assert decodes_as_pillow()
    array, options = PLAIN[name]
    path = save(tmp_path / name, array, **options)
    with Image.open(path) as image:
        expected = np.array(image)
    monkeypatch.setattr(Image, 'open', fail)
    for mode in (None, 'RGB' if array.ndim == 3 else 'L'):
        found = read_image(path, mode=mode)
        assert found.dtype == np.uint8 and found.flags.writeable
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('name', [*OTHER, 'cmyk.jpg', 'palette.png'])
def test_other_files_are_left_to_pillow(tmp_path, name):
    if name == 'cmyk.jpg':
        Image.fromarray(NOISE).convert('CMYK').save(tmp_path / name)
    elif name == 'palette.png':
        Image.fromarray(NOISE).quantize(16).save(tmp_path / name)
    else:
        save(tmp_path / name, OTHER[name][0], **OTHER[name][1])
    assert read_plain_image(tmp_path / name, None, MAX_PIXELS) is None
    assert read_image(tmp_path / name, mode='RGB').shape[2] == 3


@pytest.mark.parametrize('name', ['color.png', 'half.jpg'])
def test_damaged_and_oversized_files_are_left_to_pillow_and_its_errors(tmp_path, name):
    path = save(tmp_path / name, NOISE)
    content = path.read_bytes()
    assert read_plain_image(path, 'RGB', NOISE[..., 0].size) is not None
    assert read_plain_image(path, 'RGB', NOISE[..., 0].size - 1) is None
    assert read_plain_image(path, 'RGBA', MAX_PIXELS) is read_plain_image(path, 'L', MAX_PIXELS) is None
    for end in (4, 10, 60, len(content) // 2):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=f'{name}: the image cannot be decoded'):
            read_image(path, mode='RGB')
    if name == 'color.png':
        path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
        with pytest.raises(ValueError, match='cannot be decoded'):
            read_image(path, mode='RGB')
        write_png(path, (8, 4), 8, bytes(20))  # the checksums are right, rows are missing
        with pytest.raises(ValueError, match='cannot be decoded'):
            read_image(path)


def test_an_opencv_with_other_pixels_is_not_used(tmp_path, monkeypatch):
    path = save(tmp_path / 'half.jpg', NOISE)
    expected = read_image(path)
    decode = plain_images.cv2.imdecode
    monkeypatch.setattr(plain_images.cv2, 'imdecode', lambda *args: decode(*args) ^ 1)
    assert not np.array_equal(read_image(path), expected)
    decodes_as_pillow.cache_clear()
    try:
        np.testing.assert_array_equal(read_image(path), expected)
    finally:
        decodes_as_pillow.cache_clear()


def test_binary_masks_are_decoded_once(tmp_path, monkeypatch):
    assert decodes_as_pillow()
    path, decode, calls = save(tmp_path / 'mask.png', np.eye(9, dtype=np.uint8) * 255), plain_images.cv2.imdecode, []
    monkeypatch.setattr(plain_images.cv2, 'imdecode', lambda *args: calls.append(0) or decode(*args))
    np.testing.assert_array_equal(read_mask(path, 'binary', 2), np.eye(9))
    assert len(calls) == 1
