//! Mistakes in a drbd.conf: each is told with its file and line, what was found and what was
//! expected.

use super::*;

/// A file with a mistake, and how the only complaint begins.
const MISTAKES: &[(&str, &str)] = &[
    (
        "resource r0 {\n on alpha {\n  disk /dev/sdb;\n }\n",
        "drbd.conf:4: error: found the end of the file inside 'resource r0', whose '{' on line \
             1 has no '}'",
    ),
    (
        "resource r0 {\n on alpha\n  disk /dev/sdb;\n }\n}\n",
        "drbd.conf:3: error: found ';', expected '{' after 'on alpha disk /dev/sdb'",
    ),
    (
        "resource r0 {\n disk /dev/sdb\n device /dev/drbd0;\n}\n",
        "drbd.conf:2: error: found no ';' after '/dev/sdb', but 'device' on line 3; expected ';'",
    ),
    (
        "resource r0 {\n net {\n  timeout 60\n  ping-int 10;\n }\n}\n",
        "drbd.conf:3: error: found no ';' after '60', but 'ping-int' on line 4; expected ';'",
    ),
    ("resource r0 {\n net { timeout 60 }\n}\n", "drbd.conf:2: error: found '}', expected ';'"),
    (
        "resource r0 {\n net { shared-secret \"abc;\n }\n}\n",
        "drbd.conf:2: error: found the string \"abc;... without end, expected '\"' on the same \
             line",
    ),
    (
        "resource r0 {\n net { tiemout 60; }\n}\n",
        "drbd.conf:2: error: found 'tiemout', expected an option of 'net'; did you mean \
             'timeout'?",
    ),
    (
        "resource r0 {\n net { al-extents 60; }\n}\n",
        "drbd.conf:2: error: found 'al-extents', expected an option of 'net'; 'al-extents' is \
             one of 'disk'",
    ),
    (
        "resuorce r0 { }\n",
        "drbd.conf:1: error: found 'resuorce', expected 'global', 'common', 'resource', \
             'include' or 'skip'; did you mean 'resource'?",
    ),
    (
        "resource r0 {\n hanlders { }\n}\n",
        "drbd.conf:2: error: found 'hanlders' inside 'resource r0', expected a section like \
             'net', 'disk' or 'on HOST'; did you mean 'handlers'?",
    ),
    (
        "common {\n on alpha { }\n}\n",
        "drbd.conf:2: error: found 'on' inside 'common', expected a section like",
    ),
    (
        "resource r0 {\n on alpha { adress 1.2.3.4:7; }\n}\n",
        "drbd.conf:2: error: found 'adress' inside 'on alpha', expected one of",
    ),
    (
        "resource r0 {\n on alpha { address node1:7789; }\n}\n",
        "drbd.conf:2: error: found 'node1', expected an address like 192.168.0.91:7791",
    ),
    (
        "resource r0 {\n on alpha { address 1.2.3.4:77890; }\n}\n",
        "drbd.conf:2: error: found the port 77890, expected one from 1 to 65535",
    ),
    (
        "resource r0 {\n on alpha { device /dev/sdb; }\n}\n",
        "drbd.conf:2: error: found '/dev/sdb', expected a device like /dev/drbd0",
    ),
    (
        "resource r0 {\n disk { no-disk-flushes yes; }\n}\n",
        "drbd.conf:2: error: found 'yes', expected ';'",
    ),
    (
        "resource r0 {\n}\nresource r0 {\n}\n",
        "drbd.conf:3: error: found the resource 'r0' a second",
    ),
    ("}\n", "drbd.conf:1: error: found '}', expected 'global'"),
    ("skip {\n {\n", "drbd.conf:1: error: found the end of the file inside 'skip'"),
    ("global {\n usage-count = no;\n}\n", "drbd.conf:2: error: found '=', expected a blank"),
];

#[test]
fn each_mistake_is_told_with_its_line() {
    for (text, expected) in MISTAKES {
        let errors = refusals(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].starts_with(expected), "{text}\n{}\n{expected}", errors[0]);
    }
}

#[test]
fn a_value_that_blkrep_would_refuse_is_told_at_its_line_in_drbd_conf() {
    for (lines, expected) in [
        ("net {\n timeout 6o; }", "drbd.conf:3: error: found '6o' as the value of 'timeout'"),
        (
            "net {\n ko-count 1000; }",
            "drbd.conf:3: error: blkrep would refuse this in r0.toml: 'ko-count'",
        ),
        ("net {\n protocol D; }", "drbd.conf:3: error: found the protocol 'D', expected A, B or C"),
        (
            "net {\n timeout 110;\n ping-int 20; }",
            "drbd.conf:3: error: blkrep would refuse this in r0.toml: 'timeout' (11s) must be",
        ),
        (
            "disk {\n on-io-error panic; }",
            "drbd.conf:3: error: blkrep would refuse this in r0.toml: 'on-io-error' is \"panic\"",
        ),
        (
            "net {\n }\ndisk {\n fencing resource-and-stonith; }",
            "drbd.conf:5: error: blkrep would refuse this in r0.toml: fencing = \
             \"resource-and-stonith\" runs the handler 'fence-peer', and there is none",
        ),
        (
            "net {\n after-sb-0pri discard-node-charlie; }",
            "drbd.conf:3: error: blkrep would refuse this in r0.toml: 'after-sb-0pri'",
        ),
    ] {
        let errors = refusals(&resource(lines));
        assert_eq!(errors.len(), 1, "{lines}: {errors:?}");
        assert!(errors[0].starts_with(expected), "{lines}\n{}", errors[0]);
    }
}

#[test]
fn hosts_that_are_no_two_nodes_are_told() {
    let one = HOSTS.lines().next().unwrap();
    let errors = refusals(&format!("resource r0 {{\n{one}\n}}\n"));
    assert!(errors[0].starts_with("drbd.conf:1: error: resource r0 has 1 host sections"));
    let errors = refusals(&resource("").replacen("address 127.0.0.1:7791;", "", 1));
    assert!(errors[0].starts_with("drbd.conf:3: error: the host 'alpha' has no address"));
    let errors = refusals(&resource("").replacen("disk /dev/sdb;", "", 1));
    assert!(errors[0].contains("has no 'disk' on the host 'alpha'"), "{errors:?}");
    let errors = refusals(&resource("").replace("r0", "all"));
    assert!(errors[0].starts_with("drbd.conf:1: error: blkrep would refuse this"), "{errors:?}");
    let errors = refusals(&resource("").replace("7792", "7791"));
    assert!(errors[0].contains("both nodes have the address"), "{errors:?}");
}

#[test]
fn a_file_without_a_resource_is_no_success() {
    assert!(imported("global { }\n").unwrap_err().to_string().ends_with("hold no resource"));
    assert!(imported("").unwrap_err().to_string().ends_with("hold no resource"));
    let error = import(Path::new("/nonexistent/drbd.conf"), &choice()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/drbd.conf"), "{error}");
}

/// Files in a directory; the first one is read.
fn with_files(files: &[(&str, &str)]) -> Result<Imported, ImportError> {
    let dir = ScratchDir::new("import-includes");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let result = import(&dir.path().join(files[0].0), &choice());
    let short = |notes: Vec<Note>| notes.into_iter().map(|it| shortened(it, dir.path())).collect();
    match result {
        Ok(imported) => Ok(Imported { notes: short(imported.notes), ..imported }),
        Err(ImportError::Refused { notes }) => Err(ImportError::Refused { notes: short(notes) }),
        Err(error) => Err(error),
    }
}

#[test]
fn includes_are_relative_to_the_file_that_includes() {
    let inner = resource("net { bogus 1; }");
    let error = with_files(&[
        ("drbd.conf", "include \"d/*.conf\";\n"),
        ("d/one.conf", "include \"deep/r0.res\";\n"),
        ("d/deep/r0.res", &inner),
    ]);
    let text = said(&error.unwrap_err());
    assert!(text.starts_with("d/deep/r0.res:2: error: found 'bogus'"), "{text}");
    let inner = resource("");
    let imported = with_files(&[
        ("drbd.conf", "include \"d/*.conf\";\ninclude \"none/*.res\";\ninclude \"d/one.conf\";\n"),
        ("d/one.conf", &inner),
    ]);
    let notes = shown(&imported.unwrap().notes);
    assert!(notes.contains(&"drbd.conf:2: note: no file matches \"none/*.res\"".to_owned()));
    assert!(notes.iter().any(|note| note.starts_with("drbd.conf:3: note: d/one.conf was read")));
}

#[test]
fn files_that_include_themselves_or_cannot_be_read_are_told() {
    let error = with_files(&[
        ("drbd.conf", "\ninclude \"a.conf\";\n"),
        ("a.conf", "include \"b.conf\";\n"),
        ("b.conf", "\n\ninclude \"a.conf\";\n"),
    ]);
    let text = said(&error.unwrap_err());
    let expected = "b.conf:3: error: found an include of a.conf, which is being read: it includes \
                    itself";
    assert!(text.starts_with(expected), "{text}");
    let text = said(&with_files(&[("drbd.conf", "include \"drbd.conf\";\n")]).unwrap_err());
    assert!(text.starts_with("drbd.conf:1: error: found an include of drbd.conf"), "{text}");
    let text = said(&with_files(&[("drbd.conf", "\ninclude \"missing\";\n")]).unwrap_err());
    assert!(
        text.starts_with("drbd.conf:2: error: found an include of missing, expected"),
        "{text}"
    );
    let text = said(&with_files(&[("drbd.conf", "include \"d\";\n"), ("d/x", "")]).unwrap_err());
    assert!(text.contains("it is no regular file"), "{text}");
}

#[test]
fn text_that_is_no_utf_8_is_tolerated_in_comments_alone() {
    let dir = ScratchDir::new("import-latin1");
    let file = dir.path().join("drbd.conf");
    let mut bytes = b"# f\xfcr die Datenbank\n".to_vec();
    bytes.extend(resource("").bytes());
    fs::write(&file, &bytes).unwrap();
    import(&file, &choice()).unwrap();
    let secret = resource("net { shared-secret \"0123456789abcdef?\"; }");
    fs::write(&file, secret.replace('?', "\u{fc}")).unwrap();
    import(&file, &choice()).unwrap();
    let latin1: Vec<u8> = secret.bytes().map(|c| if c == b'?' { 0xfc } else { c }).collect();
    fs::write(&file, latin1).unwrap();
    let text = said(&import(&file, &choice()).unwrap_err());
    assert!(text.contains("no UTF-8"), "{text}");
}
