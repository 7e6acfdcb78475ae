//! The configurations of the HOWTOs, letter by letter: what each becomes.

use super::*;

fn seed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/tests/seeds").join(name)
}

/// Converts a seed and compares it with the file that is beside it.
fn golden(name: &str, toml: &str, resource: &str) -> Vec<String> {
    let file = seed(name);
    let imported = import(&file, &choice()).unwrap_or_else(|error| panic!("{}", said(&error)));
    let [one] = &imported.files[..] else { panic!("{} files", imported.files.len()) };
    assert_eq!(one.name, resource);
    let expected = fs::read_to_string(seed(toml)).expect("the expected file is there");
    assert_eq!(without_heading(&one.toml), expected);
    let directory = file.parent().expect("a seed has a directory");
    let notes = imported.notes.iter().map(|note| shortened(note.clone(), directory));
    notes.map(|note| note.to_string()).collect()
}

#[test]
fn the_postgres_howto_is_converted() {
    let notes = golden("postgres.conf", "postgres.toml", "postgres");
    let begins = [
        "postgres.conf:2: note: 'usage-count no' has no meaning here",
        "postgres.conf:5: note: 'rate 100M' is the cap of a resync",
        "postgres.conf:8: warning: no 'shared-secret', hence allow-insecure = true",
        "postgres.conf:16: note: /dev/drbd0 becomes /dev/nbd0",
        "postgres.conf:22: note: /dev/drbd0 becomes /dev/nbd0",
    ];
    assert_eq!(notes.len(), begins.len(), "{notes:#?}");
    for (note, begin) in notes.iter().zip(begins) {
        assert!(note.starts_with(begin), "{note}");
    }
    assert!(notes[3].contains("/dev/blkrep/by-res/postgres/0"), "{}", notes[3]);
}

#[test]
fn the_howto_with_includes_is_converted() {
    let notes = golden("drbd1/drbd.conf", "drbd1/r0.toml", "r0");
    let of_common = "drbd.d/global_common.conf:2: note: 'usage-count no'";
    assert!(notes.iter().any(|note| note.starts_with(of_common)), "{notes:#?}");
    let of_resource = "drbd.d/r0.res:3: note: /dev/drbd1 becomes /dev/nbd1";
    assert!(notes.iter().any(|note| note.starts_with(of_resource)), "{notes:#?}");
}

#[test]
fn the_fragments_of_the_heartbeat_howto_are_converted_once_they_are_mended() {
    let notes = golden("fragments-mended.conf", "fragments-mended.toml", "r0");
    assert!(!notes.iter().any(|note| note.contains("warning")), "{notes:#?}");
    let imported = import(&seed("fragments-mended.conf"), &choice()).unwrap();
    let (secret, place) = imported.files[0].secret.as_ref().unwrap();
    assert_eq!((secret.as_str(), place.line), ("some-shared-string", 13));
}

/// The one error about a seed.
fn complaint(name: &str) -> String {
    let error = import(&seed(name), &choice()).unwrap_err();
    let text = said(&error);
    let directory = format!("{}/", seed("").display());
    text.replace(directory.trim_end_matches('/'), "").trim_start_matches('/').to_owned()
}

#[test]
fn fragments_outside_of_a_resource_are_told_where_they_stand() {
    let text = complaint("fragments.conf");
    assert!(
        text.starts_with("fragments.conf:1: error: found 'syncer', expected 'global'"),
        "{text}"
    );
    assert!(text.ends_with("'syncer' stands inside 'resource NAME { }'"), "{text}");
}

#[test]
fn curly_quotes_are_named_with_what_was_expected() {
    assert_eq!(
        complaint("fragments-in-a-resource.conf"),
        "fragments-in-a-resource.conf:11: error: found the typographic quote '\u{201c}', expected \
         a plain '\"' on both sides, or no quotes"
    );
}

#[test]
fn the_verify_snippet_without_its_brace_is_told_so() {
    assert_eq!(
        complaint("verify-snippet.conf"),
        "verify-snippet.conf:2: error: found 'net', expected '{' after 'resource postgres'"
    );
}
