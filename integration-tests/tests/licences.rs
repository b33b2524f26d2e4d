//! Every crate that is compiled into the program or its tests may be used under a licence that we
//! accept.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What we accept; `deny.toml` says the same.
const ACCEPTED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

const OURS: &str = "MIT OR Apache-2.0";

/// Says whether an SPDX expression leaves a choice that we accept; an old `/` means `OR`.
fn is_accepted(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let accepted = any_of(&mut words);
    accepted && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> bool {
    let mut accepted = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        accepted |= all_of(words);
    }
    accepted
}

fn all_of(words: &mut Words<'_>) -> bool {
    let mut accepted = one(words);
    while words.next_if_eq(&"AND").is_some() {
        accepted &= one(words);
    }
    accepted
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => any_of(words) && words.next() == Some(")"),
        Some(licence) => {
            // An exception only takes conditions away.
            if words.next_if_eq(&"WITH").is_some() && words.next().is_none() {
                return false;
            }
            ACCEPTED.contains(&licence)
        }
        None => false,
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .output()
        .expect("it is installed where tests are built");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// All crates that this platform compiles with any features, without a look at the network.
fn packages() -> Vec<Value> {
    let version = run("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host line");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let metadata = ["metadata", "--format-version=1", "--locked", "--offline", "--all-features"];
    let json = run(&cargo, &[&metadata[..], &["--filter-platform", host]].concat());
    let metadata: Value = serde_json::from_str(&json).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

#[test]
fn every_crate_has_a_licence_that_we_accept() {
    let packages = packages();
    assert!(packages.len() > 100, "only {} crates were seen", packages.len());
    let refused: Vec<_> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(is_accepted))
        .map(|package| {
            format!("{} {}: {}", package["name"], package["version"], package["license"])
        })
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn our_own_crates_have_our_licence_and_its_text_is_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (file, words) in [("LICENSE-MIT", "MIT License"), ("LICENSE-APACHE", "Apache License")] {
        let text = std::fs::read_to_string(root.join(file)).expect(file);
        assert!(text.contains(words), "{file}");
    }
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        assert_eq!(package["license"], OURS, "{}", package["name"]);
    }
}

#[test]
fn deny_toml_accepts_the_same_licences() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
    let text = std::fs::read_to_string(path).expect("deny.toml");
    let (_, rest) = text.split_once("allow = [").expect("a list");
    let (list, _) = rest.split_once(']').expect("its end");
    let listed: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, ACCEPTED);
}

#[test]
fn an_expression_is_accepted_when_it_leaves_an_accepted_choice() {
    for expression in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR MIT",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "(MIT OR GPL-3.0) AND ISC",
        "GPL-3.0 AND MIT OR Zlib",
    ] {
        assert!(is_accepted(expression), "{expression}");
    }
    for expression in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "(MIT",
        "MIT)",
        "MIT WITH",
        "OR MIT",
        "MIT ISC",
    ] {
        assert!(!is_accepted(expression), "{expression}");
    }
}
