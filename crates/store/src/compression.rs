//! Images come compressed in one of four ways, or not at all (App Container Image specification,
//! "Image Archives"); zstd is of today.

use std::io::{BufRead, BufReader, Read};

const GZIP: &[u8] = &[0x1F, 0x8B];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xFD, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];

/// Bytes read at a time from the compressed stream.
const BUFFER: usize = 256 << 10;
/// Largest window a zstd stream may ask memory for: 2^27 bytes, the format's own recommendation.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Memory an xz stream may ask for.
const XZ_MEMORY: u64 = 256 << 20;

/// The bytes of the archive inside `reader`, whatever it is compressed with.
///
/// # Errors
/// As reading.
pub(crate) fn decompress<'a>(
    reader: impl Read + Send + 'a,
) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let start = first_bytes(&mut reader)?;
    Ok(match start.as_slice() {
        s if s.starts_with(GZIP) => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        s if s.starts_with(BZIP2) => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        s if s.starts_with(XZ) => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
        }
        s if s.starts_with(ZSTD) => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        _ => Box::new(reader),
    })
}

/// A few bytes from the start, left in the buffer.
fn first_bytes(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let buffer = reader.fill_buf()?;
    Ok(buffer[..buffer.len().min(XZ.len())].to_vec())
}
