//! What the workspace promises about itself: which crate may know what, licences, migrations, the
//! size of files, no unwrap.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// What the build knows of this platform. Other platforms' crates were never downloaded, and the
/// test must work without a network.
fn metadata() -> Metadata {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let told = std::process::Command::new(rustc)
        .arg("-vV")
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let host = told
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let options = ["--offline", "--locked", "--filter-platform", host];
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(options.map(str::to_owned).to_vec())
        .exec()
        .unwrap()
}

/// Members that only tests and drills use.
const UNSHIPPED: &[&str] = &["tasker-testkit", "tasker-faults", "tasker-limits"];

fn is_shipped(package: &Package) -> bool {
    !UNSHIPPED.contains(&package.name.as_str())
}

/// What a member depends on in what is shipped.
fn shipped(package: &Package) -> BTreeSet<&str> {
    let normal = package
        .dependencies
        .iter()
        .filter(|d| d.kind != DependencyKind::Development);
    normal.map(|d| d.name.as_str()).collect()
}

#[test]
fn backends_have_one_home_each() {
    let metadata = metadata();
    for (dependency, homes) in [
        ("diesel", &["tasker-store"][..]),
        ("diesel-async", &["tasker-store"]),
        ("diesel_migrations", &["tasker-store"]),
        ("libsqlite3-sys", &["tasker-store"]),
        ("lapin", &["tasker-broker"]),
        ("actix-web", &["tasker-api"]),
        ("mysql_async", &["tasker-store"]),
        ("rustls", &["tasker-tls"]),
        ("tokio-rustls", &["tasker-broker", "tasker-webhook"]),
    ] {
        let users: Vec<_> = metadata
            .workspace_packages()
            .iter()
            .filter(|package| is_shipped(package) && shipped(package).contains(dependency))
            .map(|package| package.name.to_string())
            .collect();
        assert_eq!(users, homes, "{dependency}");
    }
}

/// Two would each bring its own cryptography, and rustls would not know which to take.
#[test]
fn there_is_one_implementation_of_cryptography() {
    let metadata = metadata();
    let has = |name: &str| metadata.packages.iter().any(|p| p.name.as_str() == name);
    assert!(has("ring"));
    for other in ["aws-lc-rs", "aws-lc-sys", "openssl", "native-tls"] {
        assert!(!has(other), "{other}");
    }
}

#[test]
fn arrows_point_one_way() {
    let core: &[&str] = &["tasker-core"];
    let core_and_tls: &[&str] = &["tasker-core", "tasker-tls"];
    let allowed = BTreeMap::from([
        ("tasker-core", &[][..]),
        ("tasker-tls", &[]),
        ("tasker-store", core_and_tls),
        ("tasker-broker", core_and_tls),
        ("tasker-api", core_and_tls),
        ("tasker-worker", core),
        ("tasker-bench", core),
        ("tasker-webhook", core),
        ("tasker-testkit", core),
        (
            "tasker",
            &[
                "tasker-api",
                "tasker-bench",
                "tasker-broker",
                "tasker-core",
                "tasker-store",
                "tasker-tls",
                "tasker-webhook",
                "tasker-worker",
            ],
        ),
        (
            "tasker-faults",
            &["tasker", "tasker-core", "tasker-testkit", "tasker-worker"],
        ),
        ("tasker-limits", &["tasker-testkit"]),
    ]);
    let metadata = metadata();
    let members: Vec<_> = metadata.workspace_packages();
    assert_eq!(
        members.len(),
        allowed.len(),
        "a new crate needs its arrows here"
    );
    for package in members {
        let allowed = allowed[package.name.as_str()];
        for dependency in shipped(package)
            .iter()
            .filter(|name| name.starts_with("tasker"))
        {
            assert!(
                allowed.contains(dependency),
                "{} → {dependency}",
                package.name
            );
        }
    }
}

const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // The collection of authorities that comes with the MySQL driver, and that we do not use.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether one may choose only permissive licences from an SPDX expression. Older crates write `/`
/// for OR. AND binds tighter than OR.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut at = 0;
    either(&words, &mut at) && at == words.len()
}

fn either(words: &[&str], at: &mut usize) -> bool {
    let mut fine = both(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        fine |= both(words, at);
    }
    fine
}

fn both(words: &[&str], at: &mut usize) -> bool {
    let mut fine = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        fine &= one(words, at);
    }
    fine
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let fine = either(words, at);
        *at += 1;
        return fine;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    PERMISSIVE.contains(&name.as_str())
}

#[test]
fn licence_expressions_are_understood() {
    for fine in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR (MIT AND ISC)",
        "Apache-2.0 WITH LLVM-exception OR X",
    ] {
        assert!(is_permissive(fine), "{fine}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR X) AND LGPL-2.1",
        "MIT WITH X",
        "MIT MIT",
    ] {
        assert!(!is_permissive(bad), "{bad}");
    }
}

#[test]
fn every_shipped_dependency_has_a_permissive_licence() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<&PackageId, _> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let members = metadata.workspace_packages();
    let shipped = members.iter().filter(|package| is_shipped(package));
    let mut open: Vec<&PackageId> = shipped.map(|package| &package.id).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let is_shipped = |dep: &&cargo_metadata::NodeDep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind != DependencyKind::Development)
            };
            open.extend(nodes[id].deps.iter().filter(is_shipped).map(|dep| &dep.pkg));
        }
    }
    assert!(seen.len() > 100, "only {} packages", seen.len());
    let mut refused = Vec::new();
    for package in metadata
        .packages
        .iter()
        .filter(|package| seen.contains(&package.id))
    {
        let licence = package.license.as_deref().unwrap_or_default();
        if !is_permissive(licence) {
            refused.push(format!("{} {}: {licence:?}", package.name, package.version));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let listing = |database: &str| {
        let mut files = BTreeSet::new();
        for entry in std::fs::read_dir(root().join("migrations").join(database)).unwrap() {
            let folder = entry.unwrap();
            for file in std::fs::read_dir(folder.path()).unwrap() {
                let file = file.unwrap().file_name();
                files.insert((folder.file_name(), file));
            }
        }
        files
    };
    assert!(!listing("mysql").is_empty());
    assert_eq!(listing("mysql"), listing("sqlite"));
}

/// Production files, with what is left of them without their tests.
fn production() -> Vec<(PathBuf, Vec<String>)> {
    let mut files = Vec::new();
    let mut open: Vec<_> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .collect();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let is_test = stem == "tests" || stem.ends_with("_tests");
            if path.is_dir() && !is_test {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, without_tests(&text)));
            }
        }
    }
    assert!(files.len() > 50, "only {} files", files.len());
    files
}

/// The lines before `#[cfg(test)] mod tests {`, which ends a file.
fn without_tests(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with("mod tests {"));
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

#[test]
fn no_production_file_is_longer_than_400_lines() {
    let long: Vec<_> = production()
        .into_iter()
        .filter(|(_, lines)| lines.len() > 400)
        .map(|(path, lines)| format!("{}: {}", path.display(), lines.len()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn production_code_does_not_unwrap() {
    let mut found = Vec::new();
    for (path, lines) in production() {
        // Tests and drills fail by panicking.
        let is_for_tests = |part: &str| UNSHIPPED.contains(&&*format!("tasker-{part}"));
        if path
            .components()
            .any(|part| part.as_os_str().to_str().is_some_and(is_for_tests))
        {
            continue;
        }
        for (i, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            if code.starts_with("//") {
                continue;
            }
            let is_safe = lines[i.saturating_sub(4)..=i]
                .iter()
                .any(|l| l.contains("Expect safety:"));
            if code.contains(".unwrap()") || (code.contains(".expect(") && !is_safe) {
                found.push(format!("{}:{}: {code}", path.display(), i + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_authentication_makes_scopes() {
    // The purge goes through all tasks; it works for no client.
    let allowed = [
        "core/src/account.rs",
        "api/src/http/caller.rs",
        "tasker/src/commands/purge/mod.rs",
    ];
    let mut makers = BTreeSet::new();
    for (path, lines) in production() {
        let path = path.strip_prefix(root().join("crates")).unwrap();
        let is_for_tests = UNSHIPPED
            .iter()
            .any(|name| path.starts_with(name.trim_start_matches("tasker-")));
        let makes = |line: &String| {
            ["ClientScope::own(", "ClientScope::all("]
                .iter()
                .any(|call| line.contains(call))
        };
        if !is_for_tests && lines.iter().any(makes) {
            makers.insert(path.display().to_string());
        }
    }
    let others: Vec<_> = makers
        .iter()
        .filter(|maker| !allowed.contains(&maker.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(makers.contains("api/src/http/caller.rs"), "{makers:?}");
}
