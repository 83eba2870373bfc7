//! What can be refused at once is refused before anything is installed or built: a
//! mistake in the command should not cost the minutes of a whole run.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use crate::workspace::is_root;

/// Refuses who is not root; `words` are the command line after `cargo xtask`.
///
/// # Errors
/// When we are not root; the text names the command that works.
pub(crate) fn needs_root(words: &str) -> Result<()> {
    ensure!(is_root(), "{}", root_remedy(words));
    Ok(())
}

fn root_remedy(words: &str) -> String {
    format!(
        "needs root: run `sudo -E env PATH=$PATH cargo xtask {words}` (the lab makes network namespaces and loads BPF programs)"
    )
}

/// Refuses a file for `--json` that could not be written at the end. An existing
/// one keeps its content until then; a missing one is made.
///
/// # Errors
/// When it cannot be written; the text says what to do.
pub(crate) fn writable(file: &Path) -> Result<()> {
    let Err(error) = OpenOptions::new().create(true).append(true).open(file) else { return Ok(()) };
    let shown = file.display();
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            let folder = file.parent().unwrap_or(Path::new("/")).display();
            format!("make its folder (`mkdir -p {folder}`), or name a file in one that exists")
        }
        ErrorKind::IsADirectory => "it is a folder: name a file in it".to_owned(),
        _ => "name a file that may be written".to_owned(),
    };
    Err(anyhow!("--json {shown}: {error}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_refused_with_a_remedy() {
        let refused = |file: &str| writable(Path::new(file)).unwrap_err().to_string();
        let missing = refused("/nonexistent/x");
        assert!(missing.starts_with("--json /nonexistent/x: No such file"), "{missing}");
        assert!(missing.contains("mkdir -p /nonexistent"), "{missing}");
        assert!(refused("/proc").contains("name a file in it"));
        assert!(writable(Path::new("/dev/null")).is_ok());
    }

    #[test]
    fn who_is_not_root_reads_the_command_that_works() {
        let text = root_remedy("test prog");
        assert!(text.starts_with("needs root: run `sudo -E env PATH=$PATH cargo xtask test prog`"), "{text}");
    }
}
