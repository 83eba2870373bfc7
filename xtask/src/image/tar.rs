//! Writing a tar archive of regular files (POSIX.1-1988 ustar), and no more.

use anyhow::{Result, ensure};

/// Records are blocks of this size.
const BLOCK: usize = 512;

/// An archive in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Adds a regular file of root's, of the year 1970.
    ///
    /// # Errors
    /// When the name is longer than the format's 100 bytes.
    pub(super) fn file(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        ensure!(name.len() <= 100, "{name} is too long for a tar header");
        let mut header = [0_u8; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        octal(&mut header[100..108], u64::from(mode));
        octal(&mut header[108..116], 0); // owner
        octal(&mut header[116..124], 0); // group
        octal(&mut header[124..136], content.len() as u64);
        octal(&mut header[136..148], 0); // time
        header[156] = b'0'; // regular file
        header[257..265].copy_from_slice(b"ustar\x0000");
        // The sum counts its own field as spaces.
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut header[148..155], sum);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        let padding = content.len().next_multiple_of(BLOCK) - content.len();
        self.bytes.resize(self.bytes.len() + padding, 0);
        Ok(())
    }

    /// The archive, ended by two empty blocks.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

/// A number in octal digits that fill the field but for the ending NUL. The
/// fields here hold at most 8 GB, and every number is smaller.
fn octal(field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    let digits = format!("{number:0width$o}");
    field[..width].copy_from_slice(&digits.as_bytes()[digits.len() - width..]);
    field[width] = 0;
}
