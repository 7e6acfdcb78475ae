//! Puts converted files into a directory: all of them or none, secrets readable by root alone.

use super::Converted;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the files are not written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// Something is there.
    #[error("{file} exists; give --force to overwrite it, or another directory", file = file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write {file}: {source}; check that you may do that", file = file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The files that are written, each with its content and its mode.
fn outputs(directory: &Path, files: &[Converted]) -> Vec<(PathBuf, Vec<u8>, u32)> {
    let mut outputs = Vec::new();
    for one in files {
        if let Some((secret, _)) = &one.secret {
            let path = directory.join(format!("{}.secret", one.name));
            outputs.push((path, format!("{secret}\n").into_bytes(), 0o600));
        }
        let path = directory.join(format!("{}.toml", one.name));
        outputs.push((path, one.toml.clone().into_bytes(), 0o644));
    }
    outputs
}

/// Checks that nothing would be overwritten.
///
/// # Errors
/// Which file is there.
pub fn check_free(directory: &Path, files: &[Converted]) -> Result<(), OutputError> {
    let taken =
        outputs(directory, files).into_iter().find(|(path, ..)| path.symlink_metadata().is_ok());
    taken.map_or(Ok(()), |(file, ..)| Err(OutputError::Exists { file }))
}

/// Writes NAME.toml and NAME.secret of each, and makes the directory if it is not there. A file
/// that exists is replaced at once or not at all.
///
/// # Errors
/// Which file cannot be written; those before it are.
pub fn write(directory: &Path, files: &[Converted]) -> Result<Vec<PathBuf>, OutputError> {
    let io = |file: &Path| {
        let file = file.to_owned();
        move |source| OutputError::Io { file, source }
    };
    fs::create_dir_all(directory).map_err(io(directory))?;
    let mut written = Vec::new();
    for (path, content, mode) in outputs(directory, files) {
        let new = path.with_extension("import-new");
        replace(&new, &path, &content, mode).map_err(io(&path))?;
        written.push(path);
    }
    Ok(written)
}

fn replace(new: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // What an interrupted run left may be readable by others.
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;
    use crate::import::Place;
    use std::os::unix::fs::PermissionsExt as _;

    fn one() -> Vec<Converted> {
        let secret = Some(("0123456789abcdef".to_owned(), Place { file: "f".into(), line: 1 }));
        vec![Converted { name: "r0".to_owned(), toml: "name = \"r0\"\n".to_owned(), secret }]
    }

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let dir = ScratchDir::new("import-write");
        let into = dir.path().join("new/etc");
        let written = write(&into, &one()).unwrap();
        assert_eq!(written, [into.join("r0.secret"), into.join("r0.toml")]);
        let mode = fs::metadata(into.join("r0.secret")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(fs::read_to_string(into.join("r0.secret")).unwrap(), "0123456789abcdef\n");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn what_is_there_is_noticed_before_anything_is_written() {
        let dir = ScratchDir::new("import-exists");
        check_free(dir.path(), &one()).unwrap();
        fs::write(dir.path().join("r0.toml"), "mine").unwrap();
        let message = check_free(dir.path(), &one()).unwrap_err().to_string();
        assert!(message.contains("r0.toml exists; give --force"), "{message}");
        assert!(!dir.path().join("r0.secret").exists());
    }

    #[test]
    fn a_secret_that_others_could_read_is_replaced_by_one_they_cannot() {
        let dir = ScratchDir::new("import-replace");
        let path = dir.path().join("r0.secret");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(dir.path(), &one()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
