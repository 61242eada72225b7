//! A `.tar.zst`: files in the form of POSIX.1-1988 (ustar) behind one zstd frame. Only what a bundle needs: small regular files.

use std::io::{self, Write};

const BLOCK: usize = 512;
/// Bytes of a name in a header.
pub(crate) const NAME_BYTES_MAX: usize = 100;
/// The largest size that a header's eleven octal digits tell.
const SIZE_MAX: u64 = (1 << 33) - 1;
/// Its files are the owner's alone, as the archive is.
const MODE: u64 = 0o600;

/// Writes files into an archive.
pub(crate) struct Archive<W: Write> {
    zstd: zstd::stream::write::Encoder<'static, W>,
    at: u64,
}

impl<W: Write> Archive<W> {
    /// An archive whose files are of a time, in seconds since 1970 UTC.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn new(to: W, at: u64) -> io::Result<Self> {
        let mut zstd = zstd::stream::write::Encoder::new(to, 0)?;
        zstd.include_checksum(true)?;
        Ok(Self { zstd, at })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// Those of the writer; a name or a size that no header holds.
    pub(crate) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.zstd.write_all(&header(name, content.len() as u64, self.at)?)?;
        self.zstd.write_all(content)?;
        let beyond = content.len() % BLOCK;
        self.zstd.write_all(&[0; BLOCK][..(BLOCK - beyond) % BLOCK])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.zstd.write_all(&[0; 2 * BLOCK])?;
        self.zstd.finish()
    }
}

/// The header of a regular file: <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html>, "ustar Interchange Format".
fn header(name: &str, size: u64, at: u64) -> io::Result<[u8; BLOCK]> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || size > SIZE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no archive holds {name:?} of {size} bytes")));
    }
    let mut header = [0; BLOCK];
    let mut put = |start: usize, text: &[u8]| header[start..start + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, &octal(MODE, 7));
    put(108, &octal(0, 7));
    put(116, &octal(0, 7));
    put(124, &octal(size, 11));
    put(136, &octal(at.min(SIZE_MAX), 11));
    // The checksum is taken with blanks in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..154].copy_from_slice(&octal(sum, 6));
    header[154] = 0;
    Ok(header)
}

fn octal(number: u64, digits: usize) -> Vec<u8> {
    format!("{number:0digits$o}").into_bytes()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Reads an archive back: names and contents.
    pub(crate) fn read(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let tar = zstd::stream::decode_all(archive).unwrap();
        let (mut files, mut at) = (BTreeMap::new(), 0);
        while tar[at] != 0 {
            let text = |start: usize, end: usize| {
                let field = &tar[at + start..at + end];
                String::from_utf8(field.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
            };
            let size = usize::from_str_radix(&text(124, 136), 8).unwrap();
            assert_eq!((text(100, 108).as_str(), text(257, 262).as_str()), ("0000600", "ustar"));
            let begin = at + BLOCK;
            assert!(files.insert(text(0, 100), tar[begin..begin + size].to_vec()).is_none(), "no name comes twice");
            at = begin + size.div_ceil(BLOCK) * BLOCK;
        }
        assert_eq!(tar.len(), at + 2 * BLOCK);
        files
    }

    #[test]
    fn what_was_added_is_read_back() {
        let mut archive = Archive::new(Vec::new(), 1_772_359_200).unwrap();
        let contents: [(&str, Vec<u8>); 4] = [
            ("a.json", b"{}".to_vec()),
            ("outputs/web-1/migrate.txt", vec![b'x'; BLOCK]),
            ("empty", Vec::new()),
            ("b", vec![1; 3 * BLOCK + 1]),
        ];
        for (name, content) in &contents {
            archive.add(name, content).unwrap();
        }
        let bytes = archive.finish().unwrap();
        assert_eq!(read(&bytes), contents.map(|(name, content)| (name.to_owned(), content)).into());
    }

    #[test]
    fn tar_itself_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::new(Vec::new(), 1_772_359_200).unwrap();
        archive.add("outputs/web-1/migrate.txt", b"Applying\n").unwrap();
        let tar = zstd::stream::decode_all(archive.finish().unwrap().as_slice()).unwrap();
        let path = folder.path().join("a.tar");
        std::fs::write(&path, tar).unwrap();
        let listed = std::process::Command::new("tar").arg("-xOf").arg(&path).arg("outputs/web-1/migrate.txt").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "Applying\n", "{}", String::from_utf8_lossy(&listed.stderr));
    }

    #[test]
    fn names_that_no_header_holds_are_refused() {
        let mut archive = Archive::new(Vec::new(), 0).unwrap();
        for name in [String::new(), "n".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(archive.add(&name, b"x").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        archive.add(&"n".repeat(NAME_BYTES_MAX), b"x").unwrap();
    }
}
