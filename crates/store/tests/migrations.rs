//! Both databases have the same migrations.

use std::collections::BTreeSet;
use std::path::Path;

fn listing(backend: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../migrations")
        .join(backend);
    let mut names = BTreeSet::new();
    for migration in folder.read_dir().expect("a folder") {
        let migration = migration.expect("an entry");
        for file in migration.path().read_dir().expect("a folder") {
            let file = file.expect("a file").file_name();
            let folder = migration.file_name();
            names.insert(format!("{}/{}", folder.display(), file.display()));
        }
    }
    names
}

#[test]
fn both_databases_have_the_same_migrations() {
    let mysql = listing("mysql");
    assert_eq!(mysql, listing("sqlite"));
    assert!(!mysql.is_empty());
    for name in &mysql {
        let (folder, _) = name.split_once('/').expect("folder/file");
        for half in ["up.sql", "down.sql"] {
            assert!(
                mysql.contains(&format!("{folder}/{half}")),
                "{folder} has no {half}"
            );
        }
    }
}
