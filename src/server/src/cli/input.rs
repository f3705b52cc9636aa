//! Bytes from a file or from standard input, with a bound.

use anyhow::{Context as _, bail};
use std::io::Read as _;
use std::path::Path;

/// The largest body that a fingerprint is made of here.
pub(super) const BODY_BYTES: usize = 64 << 20;

/// Reads all of `path`, or of standard input where it is `-`.
///
/// # Errors
/// When it cannot be read, or has more than `limit_bytes`; `what` names the flag.
pub(super) fn read(path: &Path, limit_bytes: usize, what: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells too long from just fitting.
    let limit = limit_bytes as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{what}: standard input"))?;
    } else {
        let file =
            std::fs::File::open(path).with_context(|| format!("{what}: cannot open {}", path.display()))?;
        file.take(limit)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{what}: cannot read {}", path.display()))?;
    }
    if bytes.len() > limit_bytes {
        bail!("{what}: more than {limit_bytes} bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_exact_and_errors_name_the_flag() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"12345").unwrap();
        assert_eq!(read(file.path(), 5, "--result").unwrap(), b"12345");
        assert_eq!(read(file.path(), 4, "--result").unwrap_err().to_string(), "--result: more than 4 bytes");
        let missing = read(Path::new("/nonexistent/x"), 4, "--body").unwrap_err();
        assert!(missing.to_string().starts_with("--body: cannot open"), "{missing}");
    }
}
