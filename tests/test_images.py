"""The image reader: orientation, bit depths, modes, formats and error messages."""
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmavs.utils.images import IMAGE_SUFFIXES, MAX_PIXELS, image_shape, read_image

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
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', largest + 1, 2, bits, 0, 0, 0, 0)), (b'IDAT', zlib.compress(rows)),
              (b'IEND', b'')]
    (tmp_path / 'x.png').write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks))
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
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr('mmavs.utils.images.MAX_PIXELS', 100)
    monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', 100)
    for side in (11, 20):  # Pillow only warns of the first.
        Image.new('1', (side, side)).save(tmp_path / 'y.png')
        with pytest.raises(ValueError, match=r'y\.png: the image is too large.*expected at most 100'):
            read(tmp_path / 'y.png')
