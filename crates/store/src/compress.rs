//! Compression: recognized by the first bytes, never by a name (specification, aci.md, "Image
//! Archives"; zstd is an addition).

use std::io::{self, BufRead, BufReader, Read};

/// Bytes that are enough to recognize every format.
pub(crate) const SNIFF: usize = 512;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), several members allowed.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// Recognizes a format from a stream's first bytes; `None` if it is neither a known compressed
    /// format nor a tar archive.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        let formats: [(&[u8], Self); 4] = [
            (&[0x1f, 0x8b], Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
        ];
        formats
            .into_iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map(|(_, format)| format)
            .or_else(|| crate::tar::is_header(head).then_some(Compression::None))
    }

    /// The format's usual name.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "tar",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }

    /// A reader of the plain bytes. Memory is bounded whatever the stream asks for.
    pub fn decoder<'a, R: Read + Send + 'a>(
        self,
        source: R,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        /// 128 MiB: what `zstd --ultra` and `xz -9` need at most.
        const WINDOW_LOG: u32 = 27;
        let buffered = |source: R| -> Box<dyn BufRead + Send + 'a> {
            Box::new(BufReader::with_capacity(128 << 10, source))
        };
        Ok(match self {
            Compression::None => Box::new(source),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(source))),
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(source))),
            Compression::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    1 << WINDOW_LOG,
                    liblzma::stream::CONCATENATED,
                )
                .map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(
                    buffered(source),
                    stream,
                ))
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(source))?;
                decoder.window_log_max(WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}
