//! Minimal JPEGs that the hub accepts.

/// The number of bytes before the content of [`jpeg`].
pub const HEADER_BYTES: usize = 25;

/// A JPEG of 64 x 48 pixels: markers, dimensions, and this content instead of image data.
pub fn jpeg(content: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut jpeg =
        vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 48, 0, 64, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    jpeg.extend([0xFF, 0xDA, 0, 2]);
    jpeg.extend(content);
    jpeg.extend([0xFF, 0xD9]);
    jpeg
}
