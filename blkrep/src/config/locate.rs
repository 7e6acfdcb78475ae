//! Finds configuration files: the one of a resource, or all of them.

use super::error::ConfigError;
use super::parse::parse;
use super::resource::Resource;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Reads and checks `<directory>/<name>.toml`.
///
/// # Errors
/// No such file (with the resources that are there), unreadable, or wrong at some line.
pub fn load(directory: &Path, name: &str) -> Result<Resource, ConfigError> {
    let file = directory.join(format!("{name}.toml"));
    // A name with a slash would leave the directory.
    if name.contains('/') {
        return Err(ConfigError::Missing { file, next: "give a resource's name".to_owned() });
    }
    match fs::read_to_string(&file) {
        Ok(text) => parse(&file, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let names = names(directory).unwrap_or_default();
            let next = if names.is_empty() {
                "create it, or give --config-dir".to_owned()
            } else {
                format!("create it, or use one of: {}", names.join(", "))
            };
            Err(ConfigError::Missing { file, next })
        }
        Err(source) => Err(ConfigError::Unreadable { file, source }),
    }
}

/// Names of all resources that have a file, in alphabetical order, whether their files are right or
/// wrong.
///
/// # Errors
/// The directory cannot be read, or holds no `.toml` file.
pub fn all_names(directory: &Path) -> Result<Vec<String>, ConfigError> {
    let names = names(directory)?;
    if names.is_empty() {
        return Err(ConfigError::NothingConfigured { directory: directory.to_owned() });
    }
    Ok(names)
}

/// Checks that no other resource of `directory` has the device of `resource` on the host `node`. A
/// file that is wrong has none.
///
/// # Errors
/// Which resource has it.
pub fn check_device(directory: &Path, resource: &Resource, node: &str) -> Result<(), ConfigError> {
    let device_of = |resource: &Resource| {
        resource.nodes.iter().find(|one| one.name == node).and_then(|one| one.device)
    };
    let Some(device) = device_of(resource) else { return Ok(()) };
    let others = names(directory).unwrap_or_default().into_iter();
    let mut others = others.filter(|name| *name != resource.name);
    let same = others
        .find(|name| load(directory, name).is_ok_and(|other| device_of(&other) == Some(device)));
    match same {
        None => Ok(()),
        Some(other) => Err(ConfigError::DeviceTaken {
            file: resource.file.clone(),
            node: node.to_owned(),
            device: format!("/dev/nbd{device}"),
            other,
        }),
    }
}

fn names(directory: &Path) -> Result<Vec<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(stem.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::parse::tests::GOOD;
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn a_missing_resource_is_answered_with_those_that_exist() {
        let dir = ScratchDir::new("locate");
        fs::write(dir.path().join("r0.toml"), GOOD).unwrap();
        fs::write(dir.path().join("r0.secret"), "x").unwrap();
        let message = load(dir.path(), "r1").unwrap_err().to_string();
        assert!(message.ends_with("r1.toml; create it, or use one of: r0"), "{message}");
        assert_eq!(load(dir.path(), "r0").unwrap().name, "r0");
    }

    #[test]
    fn a_wrong_file_does_not_hide_the_others() {
        let dir = ScratchDir::new("locate-all");
        let error = all_names(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no resource is configured"), "{error}");
        fs::write(dir.path().join("r0.toml"), GOOD).unwrap();
        fs::write(dir.path().join("bad.toml"), "name = 3").unwrap();
        assert_eq!(all_names(dir.path()).unwrap(), ["bad", "r0"]);
    }

    #[test]
    fn two_resources_do_not_share_a_device_of_one_host() {
        let dir = ScratchDir::new("locate-device");
        let with = |name: &str, bob: u32, alice: u32| {
            let text = GOOD
                .replace("\"r0\"", &format!("\"{name}\""))
                .replace("[node.bob]", &format!("[node.bob]\ndevice = \"/dev/nbd{bob}\""))
                .replace("[node.alice]", &format!("[node.alice]\ndevice = \"/dev/nbd{alice}\""));
            fs::write(dir.path().join(format!("{name}.toml")), text).unwrap();
            load(dir.path(), name).unwrap()
        };
        fs::write(dir.path().join("broken.toml"), "name = 3").unwrap();
        with("r0", 0, 0);
        let r1 = with("r1", 1, 0);
        check_device(dir.path(), &r1, "bob").unwrap();
        let message = check_device(dir.path(), &r1, "alice").unwrap_err().to_string();
        assert!(message.contains("/dev/nbd0, which is that of the resource 'r0'"), "{message}");
    }

    #[test]
    fn a_name_does_not_lead_out_of_the_directory() {
        let dir = ScratchDir::new("locate-slash");
        let message = load(dir.path(), "../r0").unwrap_err().to_string();
        assert!(message.contains("give a resource's name"), "{message}");
    }
}
